/** Coalesced touches: remembered per version, bounded in number, and written when their node drains. */
import { memoryEngine } from "anynode/memory";
import { Touches } from "../../lib/cache/touches.js";
import type { Key } from "../../lib/names.js";
import { aNode, loadedOf, stored } from "../support/a-node.js";
import { engineDouble } from "../support/engine-double.js";
import { manualClock } from "../support/manual-clock.js";
import { keyFor } from "../support/names.js";

async function aLoaded() {
  const clock = manualClock();
  const engine = memoryEngine({ clock });
  const node = aNode(engine, { clock });
  const loaded = await loadedOf(node, await stored(node));
  return { clock, engine, loaded };
}

test("what is remembered is shown for that version only, never earlier than what is stored, until it is forgotten", async () => {
  const { loaded } = await aLoaded();
  const { key, version, idleAt } = loaded;
  const touches = new Touches();
  touches.remember(loaded, idleAt + 500);
  expect(touches.idleAt(key, version, idleAt)).toBe(idleAt + 500);
  expect(touches.idleAt(key, version, idleAt + 900)).toBe(idleAt + 900);
  const other = { ...loaded, key: keyFor("other") };
  expect(touches.idleAt(other.key, version, idleAt)).toBe(idleAt);
  touches.forget(key);
  expect(touches.idleAt(key, version, idleAt)).toBe(idleAt);
});

test("no more than 50,000 are remembered: the oldest go first, so that passers-by cost no memory", async () => {
  const { loaded } = await aLoaded();
  const touches = new Touches();
  for (let i = 0; i < 60_000; i++) touches.remember({ ...loaded, key: keyFor(i) }, loaded.idleAt + 1);
  const known = (i: number) => touches.idleAt(keyFor(i), loaded.version, loaded.idleAt) > loaded.idleAt;
  expect([0, 9_999, 15_000, 59_999].map(known)).toEqual([false, false, true, true]);
});

test("one that comes again counts as young", async () => {
  const { loaded } = await aLoaded();
  const touches = new Touches();
  const at = (i: number) => ({ ...loaded, key: keyFor(i) });
  for (let i = 0; i < 50_000; i++) touches.remember(at(i), loaded.idleAt + 1);
  touches.remember(at(0), loaded.idleAt + 1);
  touches.remember(at(50_000), loaded.idleAt + 1);
  expect(touches.idleAt(keyFor(0), loaded.version, loaded.idleAt)).toBe(loaded.idleAt + 1);
  expect(touches.idleAt(keyFor(1), loaded.version, loaded.idleAt)).toBe(loaded.idleAt);
});

test("flush gives up after five seconds: forgetting a touch is allowed, holding up a process that ends isn't", async () => {
  const { clock, engine, loaded } = await aLoaded();
  const touches = new Touches();
  const double = engineDouble(engine, {
    async read() {
      await clock.advance(100);
      return { outcome: "gone", ended: false };
    },
  });
  for (let i = 0; i < 5_000; i++) touches.remember({ ...loaded, key: keyFor(i) }, loaded.idleAt);
  await touches.flush(double.engine, () => clock.now());
  expect(double.count("read")).toBeLessThan(200);
});

test("flush writes few at a time, each once, as of when it happened", async () => {
  const { clock, engine, loaded } = await aLoaded();
  const touches = new Touches();
  let [atOnce, most] = [0, 0];
  const written: Key[] = [];
  const double = engineDouble(engine, {
    read: async (_, known) => ({ outcome: "same", version: known ?? loaded.version, idleAt: loaded.idleAt }),
    async touch(key, _, { idleMs }) {
      most = Math.max(most, ++atOnce);
      await new Promise(setImmediate);
      atOnce--;
      written.push(key);
      return { outcome: "touched", idleAt: clock.now() + idleMs, now: clock.now() };
    },
  });
  for (let i = 0; i < 200; i++) touches.remember({ ...loaded, key: keyFor(i) }, loaded.idleAt + 1_000);
  await touches.flush(double.engine, () => clock.now());
  expect(new Set(written).size).toBe(200);
  expect(written).toHaveLength(200);
  expect(most).toBeLessThanOrEqual(32);
  await touches.flush(double.engine, () => clock.now());
  expect(written).toHaveLength(200);
});
