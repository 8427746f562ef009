/**
 * The promises G1, G2, G3 and G5 over a fleet of nodes in one process, on one medium, through engines that delay, reorder and lose calls.
 * Each schedule is one seed; the seed of one that fails is in the message. ANYNODE_FULL=1 runs all 12,000 schedules, else a tenth.
 */
import { memoryEngine } from "anynode/memory";
import { textsOf } from "../../lib/session/attributes.js";
import { makeSid } from "../../lib/session/id.js";
import type { Sessions } from "../../lib/sessions.js";
import { aNode, loadedOf, parsed, saveOf, stored, valuesOf } from "../support/a-node.js";
import { type Faults, faultyEngine, seeded } from "../support/faulty-engine.js";
import { type ManualClock, manualClock } from "../support/manual-clock.js";

const SCHEDULES = process.env["ANYNODE_FULL"] === "1" ? 2_000 : 200;
const NODES = 3;
const sound = { turns: 4, lost: 0 };
const lossy = { turns: 4, lost: 0.15 };

interface Stage {
  readonly random: () => number;
  /** A node that nothing goes wrong for: it sees what is stored. */
  readonly witness: Sessions;
  readonly clock: ManualClock;
  any(): Sessions;
  /** A whole number below `most`. */
  pick(most: number): number;
  /** Lets others run for a while of its own choosing. */
  pause(): Promise<void>;
}

function schedules(promise: string, faults: Faults, run: (stage: Stage) => Promise<void>, idleMs = 3_600_000): void {
  test(promise, async () => {
    for (let seed = 1; seed <= SCHEDULES; seed++) {
      const random = seeded(seed);
      const clock = manualClock();
      const memory = memoryEngine({ clock });
      const nodes = Array.from({ length: NODES }, () => aNode(faultyEngine(memory, random, faults), { clock, idleMs }));
      const witness = aNode(memory, { clock, idleMs });
      await Promise.all([...nodes, witness].map((node) => node.ready()));
      const pick = (most: number) => Math.floor(random() * most);
      const pause = async () => {
        for (let turns = pick(6); turns > 0; turns--) await new Promise(setImmediate);
      };
      const any = () => nodes[pick(nodes.length)] ?? witness;
      try {
        await run({ random, witness, clock, any, pick, pause });
      } catch (cause) {
        throw new Error(`seed ${seed}: ${cause instanceof Error ? cause.message : cause}`, { cause });
      }
    }
  }, 120_000);
}

/** Until whatever is late has been executed. */
async function quiet(): Promise<void> {
  for (let turns = 20; turns > 0; turns--) await new Promise(setImmediate);
}

/** What came of a call that may have been lost: undefined = unknown. Any other failure is a failure of the test. */
async function unlessLost<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    const code: unknown = Reflect.get(Object(error), "code");
    if (code === "ENGINE_TIMEOUT" || code === "ENGINE_UNAVAILABLE") return undefined;
    throw error;
  }
}

describe("G1: what a completed save wrote is seen by every load that starts afterwards, on any node", () => {
  schedules("writers and readers on all nodes, calls delayed", sound, async ({ any, pick, pause, witness }) => {
    const sid = await stored(witness, { a: 0, b: 0 });
    const done = { a: 0, b: 0 };
    const writer = async (name: "a" | "b") => {
      for (let value = 1; value <= 3; value++) {
        await pause();
        const node = any();
        await saveOf(node, await loadedOf(node, sid), { [name]: value });
        done[name] = value;
      }
    };
    const reader = async () => {
      for (let look = 0; look < 4; look++) {
        await pause();
        const least = { ...done };
        const seen = await valuesOf(any(), sid);
        expect(Number(seen?.["a"])).toBeGreaterThanOrEqual(least.a);
        expect(Number(seen?.["b"])).toBeGreaterThanOrEqual(least.b);
      }
    };
    await Promise.all([writer("a"), writer("b"), ...Array.from({ length: 1 + pick(3) }, reader)]);
  });
});

describe("G2: no lost update", () => {
  schedules("concurrent requests that change different attributes all survive, a deletion included", sound, async (stage) => {
    const { any, pause, witness } = stage;
    const sid = await stored(witness, { keep: 1, old: 1 });
    const request = async (set: Record<string, unknown>) => {
      await pause();
      const node = any();
      const loaded = await loadedOf(node, sid);
      await pause();
      expect(await saveOf(node, loaded, set)).toMatchObject({ outcome: "committed" });
    };
    const sets = Array.from({ length: 7 }, (_, i) => ({ [`a${i}`]: i }));
    await Promise.all([request({ old: undefined }), ...sets.map(request)]);
    expect(await valuesOf(witness, sid)).toEqual(Object.assign({ keep: 1 }, ...sets));
  });

  schedules(
    "lost calls: acknowledged changes are there, unknown ones are there or not, nothing else is",
    lossy,
    async (stage) => {
      const { any, pause, witness } = stage;
      const sid = await stored(witness, { keep: 1 });
      const acknowledged = new Set(["keep"]);
      const tried = new Set(["keep"]);
      const request = async (name: string) => {
        for (let save = 0; save < 2; save++) {
          await pause();
          const node = any();
          const loaded = await unlessLost(loadedOf(node, sid));
          if (loaded === undefined) continue;
          await pause();
          tried.add(`${name}${save}`);
          if (await unlessLost(saveOf(node, loaded, { [`${name}${save}`]: 1 }))) acknowledged.add(`${name}${save}`);
        }
      };
      await Promise.all(["a", "b", "c", "d", "e"].map(request));
      await quiet();
      const there = Object.keys((await valuesOf(witness, sid)) ?? {});
      expect(there).toEqual(expect.arrayContaining([...acknowledged]));
      expect([...tried]).toEqual(expect.arrayContaining(there));
    },
  );

  schedules("update(): an acknowledged one counts exactly once, an unknown one at most once", lossy, async (stage) => {
    const { any, pause, witness } = stage;
    const sid = await stored(witness, { n: 0 });
    let [acknowledged, unknown] = [0, 0];
    const values: unknown[] = [];
    const visitor = async () => {
      for (let round = 0; round < 3; round++) {
        await pause();
        const done = await unlessLost(
          any().update(sid, (attributes) => {
            attributes["n"] = Number(attributes["n"]) + 1;
            return attributes["n"];
          }),
        );
        if (done === undefined) unknown++;
        else if (done.outcome === "committed") {
          acknowledged++;
          values.push(done.value);
        }
      }
    };
    await Promise.all(Array.from({ length: 5 }, visitor));
    await quiet();
    const n = Number((await valuesOf(witness, sid))?.["n"]);
    expect(n).toBeGreaterThanOrEqual(acknowledged);
    expect(n).toBeLessThanOrEqual(acknowledged + unknown);
    expect(new Set(values).size).toBe(values.length);
  });
});

describe("G3: the end is final", () => {
  schedules(
    "once end() resolved, no load finds the session and no save, touch, update or regenerate revives it",
    lossy,
    async (stage) => {
      const { any, pause, pick, witness, clock } = stage;
      const sid = await stored(witness, { a: 0 });
      let ended = false;
      const slow = async () => {
        for (let round = 1; round <= 3; round++) {
          const node = any();
          const early = !ended;
          const loaded = await unlessLost(Promise.resolve(node.load(sid)));
          if (!early) expect(loaded).toBeUndefined();
          if (loaded === undefined) continue;
          if (pick(3) === 0) await clock.advance(400_000);
          await pause();
          const late = ended;
          const next = makeSid(sid);
          const writes: (() => Promise<{ outcome: string }>)[] = [
            () => saveOf(node, loaded, { a: String(next) }),
            async () => node.save(loaded, new Map(), { cookie: JSON.stringify(next) }),
            () => node.update(sid, (attributes) => Object.assign(attributes, { n: String(next) })),
            () => node.regenerate(sid, loaded, next, textsOf({ stolen: 1 })),
          ];
          // Before the end a regenerate would rightly live on under another id.
          const write = writes[pick(late ? 5 : 3)];
          const outcome = await unlessLost<{ outcome: string }>(write?.() ?? Promise.resolve(node.touch(loaded)));
          if (late && write !== undefined && outcome !== undefined) expect(outcome.outcome).toBe("gone");
          expect(await witness.load(next)).toBeUndefined();
        }
      };
      const ending = async () => {
        await pause();
        await pause();
        while ((await unlessLost(any().end(sid))) === undefined) await pause();
        ended = true;
      };
      await Promise.all([ending(), slow(), slow(), slow()]);
      await quiet();
      expect(await witness.load(sid)).toBeUndefined();
      for (let look = 0; look < 3; look++) expect(await unlessLost(Promise.resolve(any().load(sid)))).toBeUndefined();
    },
  );

  schedules(
    "a regenerate and an end at the same time: either nothing is left, or the successor, never both or the old one",
    lossy,
    async (stage) => {
      const { any, pause, witness } = stage;
      const sid = await stored(witness, { a: 0 });
      const next = makeSid(sid);
      const loaded = await loadedOf(witness, sid);
      const [regenerated, ended] = await Promise.all([
        pause().then(() => unlessLost(any().regenerate(sid, loaded, next, loaded.record.attributes))),
        pause().then(() => unlessLost(any().end(sid))),
        pause().then(async () => unlessLost(saveOf(any(), loaded, { b: 1 }))),
      ]);
      await quiet();
      const successor = await witness.load(next);
      if (regenerated?.outcome === "committed") expect(successor).toBeDefined();
      if (regenerated?.outcome === "gone" || ended?.ended) expect(successor).toBeUndefined();
      if (ended !== undefined || regenerated !== undefined) expect(await witness.load(sid)).toBeUndefined();
    },
  );
});

describe("G5: deadlines", () => {
  const IDLE = 100_000;
  schedules(
    "idle is never late, and a tenth early at the most, whichever nodes the requests come to and however slow they are",
    sound,
    async ({ any, pick, clock, witness }) => {
      const sid = await stored(witness);
      let last = clock.now();
      for (let request = 0; request < 12; request++) {
        await clock.advance(pick(3) === 0 ? pick(IDLE) : pick(IDLE / 8));
        const node = any();
        const loaded = await node.load(sid);
        const silentMs = clock.now() - last;
        if (silentMs >= IDLE) expect(loaded).toBeUndefined();
        if (silentMs <= IDLE * 0.9) expect(loaded).toBeDefined();
        if (loaded === undefined) return;
        const outcome = pick(2) === 0 ? await node.touch(loaded) : await saveOf(node, loaded, { request });
        if (outcome.outcome === "committed") last = clock.now();
        if (pick(3) === 0) await any().drain();
      }
    },
    IDLE,
  );
});

test("the double loses requests and replies: with seeds as above, some of either", async () => {
  const memory = memoryEngine({ clock: manualClock() });
  const node = aNode(faultyEngine(memory, seeded(7), lossy), { clock: manualClock() });
  const witness = aNode(memory, { clock: manualClock() });
  let [requests, replies] = [0, 0];
  for (let round = 0; round < 200; round++) {
    const sid = makeSid();
    if ((await unlessLost(node.replace(sid, textsOf({ round })))) !== undefined) continue;
    const there = await witness.load(sid);
    if (there === undefined) requests++;
    else {
      expect(parsed(there.record.attributes)).toEqual({ round });
      replies++;
    }
  }
  expect(requests).toBeGreaterThan(3);
  expect(replies).toBeGreaterThan(3);
});
