/** What a host's session object stores: what its request changed, one save after the other, never a conflict with itself. */
import { memoryEngine } from "anynode/memory";
import { AnynodeError } from "../../lib/errors.js";
import { textsOf } from "../../lib/session/attributes.js";
import { Origin } from "../../lib/web/origin.js";
import { aNode, loadedOf, saveOf, stored, valuesOf } from "../support/a-node.js";
import { engineDouble } from "../support/engine-double.js";
import { manualClock } from "../support/manual-clock.js";

async function stage(attributes: object) {
  const clock = manualClock();
  const memory = memoryEngine({ clock });
  const double = engineDouble(memory);
  const node = aNode(double.engine, { clock });
  const conflicts: unknown[] = [];
  node.on("conflict", (event) => conflicts.push(event));
  const sid = await stored(node, attributes);
  const loaded = await loadedOf(node, sid);
  const origin = new Origin(node, sid, loaded, loaded.record.attributes);
  const save = (wanted: object) => origin.save(textsOf(wanted), {});
  const elsewhere = async (set: Record<string, unknown>) => saveOf(node, await loadedOf(node, sid), set);
  return { clock, memory, double, node, sid, origin, save, elsewhere, conflicts, values: () => valuesOf(node, sid) };
}

test("G2: what another request stored between two saves of one object survives both, deletions included", async () => {
  const { save, elsewhere, values, conflicts } = await stage({ a: 1, theirs: 1, old: 1 });
  await elsewhere({ theirs: 2, fresh: 1, old: undefined });
  await save({ a: 2, theirs: 1, old: 1 });
  await elsewhere({ theirs: 3 });
  await save({ a: 3, theirs: 1, old: 1 });
  await save({ theirs: 1, old: 1 });
  expect(await values()).toEqual({ theirs: 3, fresh: 1 });
  expect(conflicts).toEqual([]);
});

test("saves that nobody awaited are stored in order and are no conflict with themselves", async () => {
  const { save, values, conflicts } = await stage({ n: 0 });
  await Promise.all([save({ n: 1 }), save({ n: 2, m: 1 }), save({ n: 3 })]);
  expect(await values()).toEqual({ n: 3 });
  expect(conflicts).toEqual([]);
});

test("a save that failed is part of the next one; one whose outcome was unknown may be repeated without a conflict", async () => {
  const { save, values, double, memory, conflicts } = await stage({ n: 0 });
  const lost = new AnynodeError("ENGINE_TIMEOUT", "lost");
  double.use({ commit: (...args) => memory.commit(...args).then(() => Promise.reject(lost)) });
  await expect(save({ n: 1 })).rejects.toBe(lost);
  double.use({});
  await save({ n: 1, m: 1 });
  expect(await values()).toEqual({ n: 1, m: 1 });
  expect(conflicts).toEqual([]);
});

test("an object of other make replaces the whole record, a touch before notwithstanding", async () => {
  const { node, sid, values } = await stage({ a: 1, b: 1 });
  const foreign = new Origin(node, sid);
  await foreign.touch({});
  await foreign.save(textsOf({ a: 1 }), {});
  expect(await values()).toEqual({ a: 1 });
});

test("G3: after the end neither a save nor a touch brings anything back", async () => {
  const { node, sid, save, origin } = await stage({ a: 1 });
  await node.end(sid);
  await save({ a: 2 });
  await save({ a: 3 });
  await origin.touch({ cookie: "{}" });
  const foreign = new Origin(node, sid);
  await foreign.touch({});
  await foreign.save(textsOf({ a: 4 }), {});
  expect(await node.load(sid)).toBeUndefined();
});
