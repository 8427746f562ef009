/** Commits: concurrent ones of a node become one, a conflict is merged and tried again, and an unknown outcome is never repeated. */
import { memoryEngine } from "anynode/memory";
import { Copies } from "../../lib/cache/copies.js";
import { EngineClock } from "../../lib/clock.js";
import { Commits, type Wish } from "../../lib/commits.js";
import type { Engine } from "../../lib/engines/engine.js";
import { AnynodeError } from "../../lib/errors.js";
import { Codec } from "../../lib/session/codec.js";
import { keyOf, makeSid } from "../../lib/session/id.js";
import { Keyring } from "../../lib/session/keyring.js";
import type { Loaded, SessionRecord } from "../../lib/session/record.js";
import { parsed } from "../support/a-node.js";
import { engineDouble, Gate } from "../support/engine-double.js";
import { manualClock } from "../support/manual-clock.js";

const codec = new Codec(4_096, "test", new Keyring([]));
const header = {
  createdAt: 1,
  absoluteAt: 0,
  idleMs: 60_000,
  user: "",
  authenticatedAt: 0,
  cookie: "",
  client: "",
  movedTo: "" as const,
};
const deadlines = { idleMs: 60_000, absoluteAt: 0 };
const timeout = new AnynodeError("ENGINE_TIMEOUT", "lost");

/** A wish that sets one attribute. */
function setting(name: string, value: unknown, mayCreate = false): Wish {
  return {
    mayCreate,
    apply: (current) => ({
      header,
      attributes: new Map([...(current?.attributes ?? []), [name, JSON.stringify(value)]]),
    }),
  };
}

async function stage(attributes: Record<string, unknown> | undefined = {}, idleMs = 60_000) {
  const deadlines = { idleMs, absoluteAt: 0 };
  const clock = manualClock();
  const memory = memoryEngine({ clock });
  const double = engineDouble(memory);
  const engineClock = new EngineClock(clock);
  const copies = new Copies(double.engine, clock, engineClock, "leased");
  const commits = new Commits(double.engine, clock, engineClock, copies, codec, 1_000);
  const key = keyOf(makeSid(), "test");
  const write = async (wanted: Record<string, unknown>): Promise<void> => {
    const record: SessionRecord = { header, attributes: new Map(Object.entries(wanted).map(([n, v]) => [n, JSON.stringify(v)])) };
    const body = codec.encode(record, key);
    const found = await memory.read(key);
    await (found.outcome === "found" ? memory.commit(key, found.version, body, deadlines) : memory.create(key, body, deadlines));
  };
  const load = async (): Promise<Loaded> => {
    const found = await memory.read(key);
    if (found.outcome !== "found") throw new Error(found.outcome);
    const decoded = codec.decode(found.body, key);
    if (decoded.outcome !== "record") throw new Error(decoded.outcome);
    return { key, version: found.version, idleAt: found.idleAt, record: decoded.record };
  };
  const values = async () => parsed((await load()).record.attributes);
  if (attributes !== undefined) await write(attributes);
  /** Holds the first commit up until the gate opens. */
  const held = (fault?: AnynodeError) => {
    const gate = new Gate();
    let first = true;
    const commit: Engine["commit"] = async (...args) => {
      if (first) {
        first = false;
        await gate.passed;
        if (fault !== undefined) throw fault;
      }
      return memory.commit(...args);
    };
    double.use({ commit });
    return gate;
  };
  return { clock, memory, double, commits, key, write, load, values, held };
}

test("100 concurrent commits cost two calls of the engine, and all of them are stored", async () => {
  const { commits, key, load, values, double } = await stage();
  const loaded = await load();
  const outcomes = await Promise.all(Array.from({ length: 100 }, (_, i) => commits.commit(key, loaded, setting(`a${i}`, i))));
  expect(new Set(outcomes.map(({ outcome }) => outcome))).toEqual(new Set(["committed"]));
  expect(Object.keys(await values())).toHaveLength(100);
  expect(double.count("commit")).toBe(2);
});

test("a wish for what is there already costs no call", async () => {
  const { commits, key, load, double } = await stage({ a: 1 });
  const loaded = await load();
  const outcome = await commits.commit(key, loaded, { mayCreate: false, apply: (current = loaded.record) => current });
  expect(outcome).toEqual({ outcome: "committed", loaded });
  expect(double.count("commit") + double.count("create")).toBe(0);
});

test("G2: a conflict is merged into what is there now, and tried again", async () => {
  const { commits, key, load, values, write, double } = await stage({ mine: 0 });
  const loaded = await load();
  await write({ mine: 0, theirs: 1 });
  const outcome = await commits.commit(key, loaded, setting("mine", 1));
  expect(outcome).toMatchObject({ outcome: "committed", loaded: { version: (await load()).version } });
  expect(await values()).toEqual({ mine: 1, theirs: 1 });
  expect(double.count("commit")).toBe(2);
});

test("jobs of one batch may come from different versions: the newest is what they are merged into", async () => {
  const { commits, key, load, values, write, held, double } = await stage({ a: 0 });
  const old = await load();
  const gate = held();
  const first = commits.commit(key, old, setting("b", 1));
  await write({ a: 0, theirs: 1 });
  const fresh = await load();
  const rest = [commits.commit(key, old, setting("c", 1)), commits.commit(key, fresh, setting("d", 1))];
  gate.open();
  await Promise.all([first, ...rest]);
  expect(await values()).toEqual({ a: 0, theirs: 1, b: 1, c: 1, d: 1 });
  expect(double.count("commit")).toBe(3);
});

test("after a batch that failed, the next one starts from what its own callers loaded", async () => {
  const { commits, key, load, values, write, held } = await stage({ a: 0 });
  const loaded = await load();
  const gate = held(new AnynodeError("ENGINE_UNAVAILABLE", "down"));
  const failed = expect(commits.commit(key, loaded, setting("b", 1))).rejects.toMatchObject({ code: "ENGINE_UNAVAILABLE" });
  const next = commits.commit(key, loaded, setting("c", 1));
  await write({ a: 0, theirs: 1 });
  gate.open();
  await failed;
  await next;
  expect(await values()).toEqual({ a: 0, theirs: 1, c: 1 });
});

test("G2: an unknown outcome is told to everybody whose change was in it, and never repeated", async () => {
  const { commits, key, load, values, memory, double } = await stage({ n: 0 });
  const loaded = await load();
  const gate = new Gate();
  let calls = 0;
  double.use({
    async commit(...args) {
      calls++;
      if (calls === 1) await gate.passed;
      const reply = await memory.commit(...args);
      if (calls === 2) throw timeout;
      return reply;
    },
  });
  const first = commits.commit(key, loaded, setting("first", 1));
  const batch = ["b", "c", "d"].map((name) => commits.commit(key, loaded, setting(name, 1)));
  const told = Promise.all(batch.map((job) => expect(job).rejects.toBe(timeout)));
  gate.open();
  await first;
  await told;
  expect(calls).toBe(2);
  expect(await values()).toEqual({ n: 0, first: 1, b: 1, c: 1, d: 1 });
});

test("G7: whoever waits behind a call that timed out isn't sent into a deadline of its own", async () => {
  const { commits, key, load, held, double } = await stage({ n: 0 });
  const loaded = await load();
  const gate = held(timeout);
  const told = Promise.all([
    expect(commits.commit(key, loaded, setting("a", 1))).rejects.toBe(timeout),
    expect(commits.commit(key, loaded, setting("b", 1))).rejects.toMatchObject({ code: "ENGINE_UNAVAILABLE", cause: timeout }),
  ]);
  gate.open();
  await told;
  expect(double.count("commit")).toBe(1);
  await expect(commits.commit(key, loaded, setting("later", 1))).resolves.toMatchObject({ outcome: "committed" });
});

describe("one caller's fault doesn't hurt the others of its batch", () => {
  async function besides(bad: Wish) {
    const { commits, key, load, values, held } = await stage();
    const loaded = await load();
    const gate = held();
    const first = commits.commit(key, loaded, setting("first", 1));
    const before = commits.commit(key, loaded, setting("before", 1));
    const fault = commits.commit(key, loaded, bad).then(
      () => undefined,
      (error: unknown) => error,
    );
    const after = commits.commit(key, loaded, setting("after", 1));
    gate.open();
    await Promise.all([first, before, after]);
    expect(Object.keys(await values())).toEqual(["first", "before", "after"]);
    return fault;
  }
  test("a wish that throws", async () => {
    const thrown = new Error("mine");
    const bad: Wish = {
      mayCreate: false,
      apply() {
        throw thrown;
      },
    };
    expect(await besides(bad)).toBe(thrown);
  });
  test("a change over the size limit", async () => {
    expect(await besides(setting("huge", "x".repeat(5_000)))).toMatchObject({ code: "SESSION_TOO_LARGE" });
  });
});

test("where each fits but not all together, those that fit are stored and the others told", async () => {
  const { commits, key, load, values, held } = await stage();
  const loaded = await load();
  const gate = held();
  const jobs = ["a", "b", "c", "d"].map((name) => commits.commit(key, loaded, setting(name, "x".repeat(1_500))));
  const settled = Promise.allSettled(jobs);
  gate.open();
  expect((await settled).map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected", "rejected"]);
  expect(Object.keys(await values())).toEqual(["a", "b"]);
});

describe("a session that is gone", () => {
  test("G3: ended: nobody stores anything, not even who may create", async () => {
    const { commits, key, load, memory, double } = await stage();
    const loaded = await load();
    await memory.end(key);
    double.forget();
    const outcomes = await Promise.all([
      commits.commit(key, loaded, setting("a", 1)),
      commits.commit(key, undefined, setting("b", 1, true)),
      commits.commit(key, loaded, setting("c", 1)),
    ]);
    for (const outcome of outcomes) expect(outcome).toEqual({ outcome: "gone", ended: true });
    expect(await memory.read(key)).toMatchObject({ outcome: "gone", ended: true });
  });
  test("expired: a change of it is dropped; only a whole session takes its place", async () => {
    const { commits, key, load, clock, values, memory } = await stage({ old: 1 });
    const loaded = await load();
    await clock.advance(60_000);
    expect(await commits.commit(key, loaded, setting("a", 1))).toEqual({ outcome: "gone", ended: false });
    expect((await memory.read(key)).outcome).toBe("gone");
    expect(await commits.commit(key, undefined, setting("whole", 1, true))).toMatchObject({ outcome: "committed" });
    expect(await values()).toEqual({ whole: 1 });
  });
  test("expired under a batch: who may create stores, who may not is told", async () => {
    const { commits, key, load, clock, values, held } = await stage({ old: 1 }, 500);
    const loaded = await load();
    const gate = held();
    const jobs = [
      commits.commit(key, loaded, setting("a", 1)),
      commits.commit(key, loaded, setting("b", 1)),
      commits.commit(key, undefined, { mayCreate: true, apply: () => ({ header, attributes: new Map([["whole", "1"]]) }) }),
    ];
    await clock.advance(500);
    gate.open();
    expect((await Promise.all(jobs)).map(({ outcome }) => outcome)).toEqual(["gone", "gone", "committed"]);
    expect(await values()).toEqual({ whole: 1 });
  });
});

test("who may create meets a record that is there: it is shown to it, and replaced in one compare-and-swap", async () => {
  const { commits, key, values, double } = await stage({ old: 1 });
  await commits.commit(key, undefined, setting("fresh", 1, true));
  expect(await values()).toEqual({ old: 1, fresh: 1 });
  expect([double.count("create"), double.count("commit")]).toEqual([1, 1]);
});

test("a record that this node can't read is not overwritten", async () => {
  const { commits, key, load, memory } = await stage();
  const loaded = await load();
  const odd = Buffer.from([9, 9, 9]);
  await memory.commit(key, loaded.version, odd, deadlines);
  await expect(commits.commit(key, loaded, setting("a", 1))).rejects.toMatchObject({ code: "RECORD_UNREADABLE" });
  await expect(commits.commit(key, undefined, setting("a", 1, true))).rejects.toMatchObject({ code: "RECORD_UNREADABLE" });
  expect(await memory.read(key)).toMatchObject({ body: odd });
});

test("others who commit again and again end in CONTENDED at the deadline, with nothing stored", async () => {
  const { commits, key, load, values, write, double, clock, memory } = await stage({ n: 0 });
  const loaded = await load();
  let rounds = 0;
  double.use({
    async commit(...args) {
      await write({ n: ++rounds });
      await clock.advance(100);
      return memory.commit(...args);
    },
  });
  await expect(commits.commit(key, loaded, setting("mine", 1))).rejects.toMatchObject({ code: "CONTENDED" });
  expect(rounds).toBe(10);
  expect(await values()).toEqual({ n: 10 });
});

test("RACE: another node's commit between each of our steps: neither loses anything", async () => {
  for (let at = 1; at <= 3; at++) {
    const { commits, key, load, values, write, double, memory } = await stage({ base: 1 });
    const loaded = await load();
    let calls = 0;
    double.use({
      async commit(...args) {
        if (++calls === at) await write({ ...(await values()), theirs: at });
        return memory.commit(...args);
      },
    });
    const first = commits.commit(key, loaded, setting("a", 1));
    const rest = [commits.commit(key, loaded, setting("b", 1)), commits.commit(key, loaded, setting("c", 1))];
    await Promise.all([first, ...rest]);
    if (calls >= at) expect(await values()).toEqual({ base: 1, theirs: at, a: 1, b: 1, c: 1 });
  }
});

test("a lane is forgotten once it is empty: the next commit is alone again", async () => {
  const { commits, key, load, double } = await stage();
  await commits.commit(key, await load(), setting("a", 1));
  await commits.commit(key, await load(), setting("b", 1));
  expect(double.count("commit")).toBe(2);
});
