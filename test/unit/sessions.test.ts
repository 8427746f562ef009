/** Sessions on one node: what each verb promises, what it costs, and what it never tells. */
import { memoryEngine } from "anynode/memory";
import type { Engine } from "../../lib/engines/engine.js";
import type { Key } from "../../lib/names.js";
import { textsOf } from "../../lib/session/attributes.js";
import { isSid, keyOf, makeSid } from "../../lib/session/id.js";
import type { Sessions } from "../../lib/sessions.js";
import { aNode, loadedOf, saveOf, stored, valuesOf } from "../support/a-node.js";
import { engineDouble } from "../support/engine-double.js";
import { manualClock } from "../support/manual-clock.js";

function stage() {
  const clock = manualClock();
  const memory = memoryEngine({ clock });
  const double = engineDouble(memory);
  const node = aNode(double.engine, { clock });
  return { clock, memory, double, node };
}
function heard(node: Sessions, name: Parameters<Sessions["on"]>[0]): unknown[] {
  const events: unknown[] = [];
  node.on(name, (event) => events.push(event));
  return events;
}
const turn = () => new Promise(setImmediate);
const COMMANDS = ["read", "create", "commit", "touch", "end", "regenerate", "list"] as const;
const commands = (double: { count(verb: keyof Engine): number }) => COMMANDS.reduce((sum, verb) => sum + double.count(verb), 0);
const later = { idleMs: 60_000, absoluteAt: 0 };

test("what was stored is loaded; what never was is undefined", async () => {
  const { node } = stage();
  const sid = await stored(node, { user: { name: "Ann" } });
  expect(await valuesOf(node, sid)).toEqual({ user: { name: "Ann" } });
  expect(await node.load(makeSid())).toBeUndefined();
});

test("an id that isn't well-formed costs no engine command", async () => {
  const { node, double } = stage();
  await node.ready();
  for (const sid of ["", "x".repeat(1_000_000), "\ud800", "é".repeat(200)]) {
    expect(await node.load(sid)).toBeUndefined();
    expect(await node.update(sid, () => 1)).toEqual({ outcome: "gone" });
    await expect(node.end(sid)).rejects.toMatchObject({ code: "ID_MALFORMED", status: 400 });
    await expect(node.replace(sid, new Map())).rejects.toMatchObject({ code: "ID_MALFORMED" });
  }
  expect(commands(double)).toBe(0);
});

test("load rejects when the engine doesn't answer: never no session in place of a real one", async () => {
  const { node, double } = stage();
  const sid = await stored(node);
  const down = new Error("down");
  double.use({ read: () => Promise.reject(down) });
  await expect(node.load(sid)).rejects.toBe(down);
});

describe("save", () => {
  test("G2: stores what changed, beside what others changed meanwhile; deletions too", async () => {
    const { node } = stage();
    const sid = await stored(node, { a: 1, b: 1, c: 1 });
    const [one, other] = [await loadedOf(node, sid), await loadedOf(node, sid)];
    await saveOf(node, one, { a: 2, b: undefined });
    await saveOf(node, other, { c: 2, d: 2 });
    expect(await valuesOf(node, sid)).toEqual({ a: 2, c: 2, d: 2 });
  });
  test("of nothing is a touch: it costs nothing while the idle deadline hardly lags", async () => {
    const { node, double } = stage();
    const loaded = await loadedOf(node, await stored(node));
    double.forget();
    expect(await node.save(loaded, new Map())).toEqual({ outcome: "committed", loaded });
    expect(commands(double)).toBe(0);
  });
  test("tells by event which attributes two requests changed, once it is stored, and never a value", async () => {
    const { node } = stage();
    const events = heard(node, "conflict");
    const sid = await stored(node, { x: 0, y: 0 });
    const [one, other] = [await loadedOf(node, sid), await loadedOf(node, sid)];
    await saveOf(node, one, { x: "hunter1", y: 1 });
    await saveOf(node, other, { x: "hunter2", y: 1 });
    await turn();
    expect(events).toEqual([{ attributes: ["x"] }]);
  });
  test("CONFLICT under reject: nothing is stored, and the other one stays", async () => {
    const { clock, memory } = stage();
    const node = aNode(memory, { clock, conflict: "reject" });
    const sid = await stored(node, { x: 0 });
    const [one, other] = [await loadedOf(node, sid), await loadedOf(node, sid)];
    await saveOf(node, one, { x: 1 });
    await expect(saveOf(node, other, { x: 2, y: 2 })).rejects.toMatchObject({ code: "CONFLICT" });
    expect(await valuesOf(node, sid)).toEqual({ x: 1 });
  });
  test("cookie settings and idle timeout are header: they change without a conflict", async () => {
    const { node } = stage();
    const sid = await stored(node, { x: 0 });
    const [one, other] = [await loadedOf(node, sid), await loadedOf(node, sid)];
    await node.save(one, new Map(), { idleMs: 5_000, cookie: "{}" });
    await saveOf(node, other, { x: 1 });
    expect((await loadedOf(node, sid)).record.header).toMatchObject({ idleMs: 5_000, cookie: "{}" });
    await node.save(await loadedOf(node, sid), new Map(), { idleMs: "default" });
    expect((await loadedOf(node, sid)).record.header).toMatchObject({ idleMs: 86_400_000, cookie: "{}" });
  });
  test("over the size limit nothing is sent", async () => {
    const { clock, memory } = stage();
    const double = engineDouble(memory);
    const node = aNode(double.engine, { clock, maxBytes: 1_024 });
    const loaded = await loadedOf(node, await stored(node));
    double.forget();
    await expect(saveOf(node, loaded, { big: "x".repeat(2_000) })).rejects.toMatchObject({ code: "SESSION_TOO_LARGE" });
    expect(commands(double)).toBe(0);
  });
});

describe("G3: once end() has resolved", () => {
  test("no load finds the session, and no save, touch, update, replace or regenerate revives it; each drop is told", async () => {
    const { node, clock } = stage();
    const events = heard(node, "write-dropped");
    const sid = await stored(node, { a: 1 });
    const loaded = await loadedOf(node, sid);
    expect(await node.end(sid)).toMatchObject({ ended: true });
    await clock.advance(100_000);
    const gone = { outcome: "gone", ended: true };
    expect(await saveOf(node, loaded, { a: 2 })).toEqual(gone);
    expect(await node.touch(loaded)).toEqual(gone);
    expect(await node.replace(sid, textsOf({ a: 3 }))).toEqual(gone);
    expect(await node.regenerate(sid, loaded, makeSid(sid), textsOf({ a: 4 }))).toEqual(gone);
    expect(await node.update(sid, () => 1)).toEqual({ outcome: "gone" });
    expect(await node.load(sid)).toBeUndefined();
    await turn();
    expect(events).toEqual(Array.from({ length: 4 }, () => ({ ended: true })));
  });
  test("a request that loaded it and wakes up after the ended mark is gone changes nothing either", async () => {
    const { node, clock } = stage();
    const sid = await stored(node, { a: 1 });
    const loaded = await loadedOf(node, sid);
    await node.end(sid);
    await clock.advance(1_000_000);
    expect(await saveOf(node, loaded, { a: 2 })).toEqual({ outcome: "gone", ended: false });
    expect(await node.load(sid)).toBeUndefined();
  });
  test("LIMIT: a whole session stored under its id, five minutes later, is a new session", async () => {
    const { node, clock } = stage();
    const sid = await stored(node, { a: 1 });
    await node.end(sid);
    await clock.advance(299_999);
    expect(await node.replace(sid, textsOf({ b: 1 }))).toEqual({ outcome: "gone", ended: true });
    await clock.advance(1);
    expect(await node.replace(sid, textsOf({ b: 1 }))).toMatchObject({ outcome: "committed" });
    expect(await valuesOf(node, sid)).toEqual({ b: 1 });
  });
  test("it may be repeated, and ending what isn't there does no harm", async () => {
    const { node } = stage();
    const sid = await stored(node);
    expect(await node.end(sid)).toMatchObject({ ended: true });
    expect(await node.end(sid)).toMatchObject({ ended: false });
    expect(await node.end(makeSid())).toMatchObject({ ended: false });
  });
});

describe("update", () => {
  test("is an atomic read-modify-write: 200 at once count exactly 200", async () => {
    const { node, double } = stage();
    const sid = await stored(node, { n: 0 });
    double.forget();
    const add = (attributes: Record<string, unknown>) => {
      attributes["n"] = Number(attributes["n"]) + 1;
      return attributes["n"];
    };
    const outcomes = await Promise.all(Array.from({ length: 200 }, () => node.update(sid, add)));
    expect(await valuesOf(node, sid)).toEqual({ n: 200 });
    const values = outcomes.map((outcome) => (outcome.outcome === "committed" ? outcome.value : "gone"));
    expect(new Set(values).size).toBe(200);
    expect(double.count("commit")).toBeLessThanOrEqual(3);
  });
  test("that changes nothing stores nothing, and still gives its value", async () => {
    const { node, double } = stage();
    const sid = await stored(node, { n: 7 });
    double.forget();
    expect(await node.update(sid, ({ n }) => n)).toEqual({ outcome: "committed", value: 7 });
    expect(double.count("commit")).toBe(0);
  });
  test("gives back what the function throws, with nothing stored", async () => {
    const { node } = stage();
    const sid = await stored(node, { n: 7 });
    const fault = new Error("mine");
    const broken = (attributes: Record<string, unknown>) => {
      attributes["n"] = 8;
      throw fault;
    };
    await expect(node.update(sid, broken)).rejects.toBe(fault);
    expect(await valuesOf(node, sid)).toEqual({ n: 7 });
  });
  test("refuses an asynchronous function, whose own failure takes nobody down", async () => {
    const { node } = stage();
    const sid = await stored(node);
    const unhandled = jest.fn();
    process.on("unhandledRejection", unhandled);
    await expect(node.update(sid, () => Promise.reject(new Error("late")))).rejects.toMatchObject({ code: "OPTION_INVALID" });
    await turn();
    process.off("unhandledRejection", unhandled);
    expect(unhandled).not.toHaveBeenCalled();
  });
  test("sees its own attributes only: what a function keeps of them changes nothing later", async () => {
    const { node } = stage();
    const sid = await stored(node, { list: [1] });
    const kept = await node.update(sid, ({ list }) => list);
    if (kept.outcome === "committed" && Array.isArray(kept.value)) kept.value.push(2);
    expect(await valuesOf(node, sid)).toEqual({ list: [1] });
  });
});

describe("regenerate", () => {
  test("moves the session to the new id, the old one is over; created and absolute deadline stay", async () => {
    const { clock, memory } = stage();
    const node = aNode(memory, { clock, absoluteMs: 1_000_000 });
    const sid = await stored(node, { a: 1 });
    const loaded = await loadedOf(node, sid);
    await clock.advance(1_000);
    const next = makeSid(sid);
    expect(await node.regenerate(sid, loaded, next, textsOf({ b: 1 }))).toMatchObject({ outcome: "committed" });
    expect(await node.load(sid)).toBeUndefined();
    const moved = await loadedOf(node, next);
    expect(moved.record.header).toEqual(loaded.record.header);
    expect(await valuesOf(node, next)).toEqual({ b: 1 });
    expect(await saveOf(node, loaded, { late: 1 })).toEqual({ outcome: "gone", ended: true });
  });
  test("ends the version that somebody else stored meanwhile as well", async () => {
    const { node } = stage();
    const sid = await stored(node, { a: 1 });
    const loaded = await loadedOf(node, sid);
    await saveOf(node, loaded, { a: 2 });
    expect(await node.regenerate(sid, loaded, makeSid(sid), new Map())).toMatchObject({ outcome: "committed" });
    expect(await node.load(sid)).toBeUndefined();
  });
  test("of an id of foreign make is end, then insert; of one that ended meanwhile it stores nothing", async () => {
    const { node } = stage();
    const [from, to] = ["mine-1", "mine-2"];
    if (!isSid(from) || !isSid(to)) throw new TypeError();
    await node.replace(from, textsOf({ a: 1 }));
    const loaded = await loadedOf(node, from);
    expect(await node.regenerate(from, loaded, to, textsOf({ b: 1 }))).toMatchObject({ outcome: "committed" });
    expect(await node.load(from)).toBeUndefined();
    expect(await valuesOf(node, to)).toEqual({ b: 1 });
    const again = makeSid();
    expect(await node.regenerate(from, loaded, again, new Map())).toEqual({ outcome: "gone", ended: true });
    expect(await node.load(again)).toBeUndefined();
  });
});

describe("a record that this node can't read", () => {
  async function odd(body: (key: Key) => Buffer) {
    const { node, memory } = stage();
    const events = heard(node, "unreadable");
    const sid = makeSid();
    const key = keyOf(sid, memory.namespace);
    await memory.create(key, body(key), later);
    return { node, memory, sid, key, events };
  }
  test.each([
    ["damaged", Buffer.from([1, 0, ...Buffer.from("garbage")])],
    ["damaged", Buffer.alloc(0)],
    ["unknown", Buffer.from([77, 0, 1, 2, 3])],
  ])("%s: no session, told once, left as it is", async (why, body) => {
    const { node, memory, sid, key, events } = await odd(() => body);
    for (let i = 0; i < 3; i++) expect(await node.load(sid)).toBeUndefined();
    for await (const _ of node.list()) throw new Error("listed");
    await turn();
    expect(events).toEqual([{ why }]);
    expect(await memory.read(key)).toMatchObject({ outcome: "found", body });
    expect(await node.end(sid)).toMatchObject({ ended: true });
  });
  test("no error and no event carries an id or a key", async () => {
    const { node, sid, key, events } = await odd(() => Buffer.from("garbage"));
    await node.load(sid);
    const error: unknown = await node.replace(sid, new Map()).catch((error: unknown) => error);
    await turn();
    const told = JSON.stringify([events, String(error), error]);
    expect(told).toContain("RECORD_UNREADABLE");
    expect(told).not.toContain(sid);
    expect(told).not.toContain(key);
    expect(told).not.toContain(key.slice(6));
  });
});

test("list yields every live session, and each can be ended", async () => {
  const { node, clock } = stage();
  const sids = [await stored(node, { n: 1 }), await stored(node, { n: 2 })];
  await node.end(await stored(node));
  const brief = makeSid();
  await node.replace(brief, new Map(), { idleMs: 10 });
  await clock.advance(10);
  let count = 0;
  for await (const loaded of node.list()) {
    count++;
    expect(await node.endListed(loaded)).toMatchObject({ ended: true });
  }
  expect(count).toBe(2);
  for (const sid of sids) expect(await node.load(sid)).toBeUndefined();
});

test("LIMIT: regenerating drops what others stored meanwhile, since only the attributes it is given go on", async () => {
  const { node } = stage();
  const sid = await stored(node, { a: 1 });
  const loaded = await loadedOf(node, sid);
  await saveOf(node, await loadedOf(node, sid), { theirs: 1 });
  const next = makeSid(sid);
  await node.regenerate(sid, loaded, next, loaded.record.attributes);
  expect(await valuesOf(node, next)).toEqual({ a: 1 });
});

test("an id that the application uses again after expiry is another session: a request still at work on the old one stores nothing", async () => {
  const { node, clock } = stage();
  const sid = "the-same-every-time";
  await node.replace(sid, textsOf({ a: 1 }));
  const slow = await loadedOf(node, sid);
  await clock.advance(86_400_000);
  await node.replace(sid, textsOf({ fresh: 1 }));
  await saveOf(node, slow, { late: 1 });
  expect(await valuesOf(node, sid)).toEqual({ fresh: 1 });
});

test("G6: the engine holds no id", async () => {
  const { node, memory } = stage();
  const sid = await stored(node, { a: 1 });
  for await (const { key, body } of memory.list()) {
    expect(`${key}${body.toString("latin1")}`).not.toContain(sid.slice(5));
  }
});
