/** rotate(): for a while the old id leads to the session, to read, write and end it; regenerate() and login() leave nobody behind. */
import { memoryEngine } from "anynode/memory";
import { textsOf } from "../../lib/session/attributes.js";
import { makeSid } from "../../lib/session/id.js";
import { aNode, loadedOf, saveOf, stored, valuesOf } from "../support/a-node.js";
import { engineDouble } from "../support/engine-double.js";
import { manualClock } from "../support/manual-clock.js";

const GRACE_MS = 10_000;

async function rotated(attributes: object = { a: 1 }) {
  const clock = manualClock();
  const memory = memoryEngine({ clock });
  const double = engineDouble(memory);
  const [node, other] = [aNode(double.engine, { clock }), aNode(memory, { clock })];
  const old = await stored(node, attributes);
  const before = await loadedOf(node, old);
  const sid = makeSid(old);
  const outcome = await node.rotate(old, before, sid, GRACE_MS);
  if (outcome.outcome !== "committed") throw new Error(outcome.outcome);
  return { clock, double, node, other, old, before, sid, loaded: outcome.loaded };
}

test("both ids lead to one session until the grace is over; then only the new one does", async () => {
  const { node, other, clock, old, sid } = await rotated();
  for (const each of [node, other]) {
    for (const id of [old, sid]) expect(await valuesOf(each, id)).toEqual({ a: 1 });
    expect(each.isCurrent(old, await loadedOf(each, old))).toBe(false);
    expect(each.isCurrent(sid, await loadedOf(each, sid))).toBe(true);
  }
  await clock.advance(GRACE_MS - 1);
  expect(await valuesOf(other, old)).toEqual({ a: 1 });
  await clock.advance(1);
  expect(await valuesOf(other, old)).toBeUndefined();
  expect(await valuesOf(other, sid)).toEqual({ a: 1 });
});

test("what was loaded by the old id is saved, touched and updated where the session is", async () => {
  const { node, other, old, sid } = await rotated();
  const byOld = await loadedOf(other, old);
  await saveOf(node, await loadedOf(node, sid), { b: 1 });
  await saveOf(other, byOld, { a: 2 });
  expect(await valuesOf(node, sid)).toEqual({ a: 2, b: 1 });
  expect(await other.touch(byOld)).toMatchObject({ outcome: "committed" });
  expect(await node.update(old, (attributes) => Reflect.set(attributes, "c", 1))).toMatchObject({ outcome: "committed" });
  expect(await valuesOf(other, sid)).toEqual({ a: 2, b: 1, c: 1 });
});

test("G2: a request that had loaded the session before it moved loses nothing", async () => {
  const { other, before, sid } = await rotated({ a: 1, b: 1 });
  expect(await saveOf(other, before, { a: 2, b: undefined })).toMatchObject({ outcome: "committed" });
  expect(await valuesOf(other, sid)).toEqual({ a: 2 });
});

test.each(["old", "new"] as const)("G3: ended by its %s id, it is over under both", async (which) => {
  const { node, other, old, sid, before, loaded } = await rotated();
  expect(await other.end(which === "old" ? old : sid)).toMatchObject({ ended: true });
  for (const id of [old, sid]) expect(await node.load(id)).toBeUndefined();
  for (const late of [before, loaded]) {
    expect(await saveOf(node, late, { a: 9 })).toEqual({ outcome: "gone", ended: true });
  }
  for (const id of [old, sid]) expect(await other.load(id)).toBeUndefined();
});

test("several times in a row, every id leads to the session for its own grace", async () => {
  const { node, other, clock, old, sid } = await rotated();
  await clock.advance(4_000);
  const third = makeSid(sid);
  await other.rotate(sid, await loadedOf(other, sid), third, GRACE_MS);
  for (const id of [old, sid, third]) expect(await valuesOf(node, id)).toEqual({ a: 1 });
  await saveOf(node, await loadedOf(node, old), { a: 2 });
  expect(await valuesOf(other, third)).toEqual({ a: 2 });
  await clock.advance(GRACE_MS - 4_000);
  expect(await valuesOf(node, old)).toBeUndefined();
  expect(await valuesOf(node, sid)).toEqual({ a: 2 });
  await node.end(sid);
  expect(await valuesOf(node, third)).toBeUndefined();
});

test("a sign-in of a request that came by the old id ends both ids", async () => {
  const { node, other, old, sid, before } = await rotated();
  for (const loaded of [await loadedOf(other, old), before]) {
    const fresh = makeSid(old);
    const outcome = await other.login(old, loaded, fresh, { user: "ann", attributes: loaded.record.attributes });
    if (loaded === before) expect(outcome.outcome).toBe("gone");
    else {
      expect(outcome.outcome).toBe("committed");
      expect(await valuesOf(node, fresh)).toEqual({ a: 1 });
    }
    for (const id of [old, sid]) expect(await node.load(id)).toBeUndefined();
  }
});

test("a sign-in of a request that had loaded the session before it moved leaves nothing of it behind", async () => {
  const { node, other, old, sid, before } = await rotated();
  const fresh = makeSid(old);
  const outcome = await other.login(old, before, fresh, { user: "ann", attributes: before.record.attributes });
  expect(outcome.outcome).toBe("committed");
  for (const id of [old, sid]) expect(await node.load(id)).toBeUndefined();
});

test("regenerate() has no grace", async () => {
  const { node, other, sid, loaded } = await rotated();
  const next = makeSid(sid);
  await node.regenerate(sid, loaded, next, textsOf({ a: 1 }));
  expect(await other.load(sid)).toBeUndefined();
  expect(await valuesOf(other, next)).toEqual({ a: 1 });
});

test("an id of foreign make has no grace: end, then insert", async () => {
  const clock = manualClock();
  const node = aNode(memoryEngine({ clock }), { clock });
  const first = await stored(node, { a: 1 });
  const [from, to] = [makeSid(), makeSid()];
  await node.replace(from, textsOf({ a: 1 }));
  await node.rotate(from, await loadedOf(node, from), to, GRACE_MS);
  expect(await node.load(from)).toBeUndefined();
  expect(await valuesOf(node, to)).toEqual({ a: 1 });
  expect(await valuesOf(node, first)).toEqual({ a: 1 });
});

test("the absolute deadline doesn't move, and the old id leads nowhere beyond it", async () => {
  const clock = manualClock();
  const node = aNode(memoryEngine({ clock }), { clock, absoluteMs: 5_000 });
  const old = await stored(node);
  await clock.advance(4_000);
  const sid = makeSid(old);
  await node.rotate(old, await loadedOf(node, old), sid, GRACE_MS);
  await clock.advance(1_000);
  for (const id of [old, sid]) expect(await node.load(id)).toBeUndefined();
});
