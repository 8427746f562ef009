/** G5: deadlines are never late, idle comes a tenth early at the most, and touches cost next to nothing. */
import { memoryEngine } from "anynode/memory";
import { AnynodeError } from "../../lib/errors.js";
import { makeSid } from "../../lib/session/id.js";
import { aNode, loadedOf, saveOf, stored } from "../support/a-node.js";
import { engineDouble } from "../support/engine-double.js";
import { manualClock } from "../support/manual-clock.js";

const HOUR = 3_600_000;
const MINUTE = 60_000;

function stage(options: { idleMs?: number; absoluteMs?: number } = {}) {
  const clock = manualClock();
  const memory = memoryEngine({ clock });
  const double = engineDouble(memory);
  const make = () => aNode(double.engine, { clock, idleMs: HOUR, ...options });
  return { clock, memory, double, make, node: make() };
}
const isThere = async (node: ReturnType<typeof aNode>, sid: string) => (await node.load(sid)) !== undefined;

test("a session that nobody asks for is there until its idle timeout, and not a millisecond longer", async () => {
  const { node, clock } = stage();
  const sid = await stored(node);
  await clock.advance(HOUR - 1);
  expect(await isThere(node, sid)).toBe(true);
  await clock.advance(1);
  expect(await isThere(node, sid)).toBe(false);
});

test.each([
  [HOUR, MINUTE],
  [100_000, 10_000],
  [1_000, 100],
])("idle %d ms: after a request it lasts that long, at most %d ms early, whenever the requests come", async (idleMs, earlyMs) => {
  for (const everyMs of [idleMs / 50, idleMs / 11, idleMs / 10, idleMs / 3]) {
    const { node, clock } = stage({ idleMs });
    const sid = await stored(node);
    for (let request = 0; request < 60; request++) {
      await clock.advance(everyMs);
      await node.touch(await loadedOf(node, sid));
    }
    await clock.advance(idleMs - earlyMs);
    expect(await isThere(node, sid)).toBe(true);
    await clock.advance(earlyMs);
    expect(await isThere(node, sid)).toBe(false);
  }
});

test("the absolute deadline ends a session however active it is: never late, on whatever node, and for list too", async () => {
  const { node, make, clock } = stage({ absoluteMs: 10_000 });
  const other = make();
  const sid = await stored(node);
  for (let second = 0; second < 9; second++) {
    await clock.advance(1_000);
    const loaded = await loadedOf(other, sid);
    await saveOf(node, loaded, { second });
    await node.touch(loaded);
  }
  await clock.advance(999);
  expect(await isThere(other, sid)).toBe(true);
  await clock.advance(1);
  expect(await isThere(other, sid)).toBe(false);
  for await (const _ of node.list()) throw new Error("listed");
});

test("100 requests within a minute cost one touch", async () => {
  const { node, clock, double } = stage();
  const sid = await stored(node);
  double.forget();
  for (let request = 0; request < 100; request++) {
    await clock.advance(MINUTE / 100);
    await node.touch(await loadedOf(node, sid));
  }
  expect(double.count("touch")).toBe(1);
  expect(double.count("commit")).toBe(0);
});

test("touches at the same time become one", async () => {
  const { node, clock, double } = stage();
  const loaded = await loadedOf(node, await stored(node));
  await clock.advance(HOUR / 2);
  double.forget();
  await Promise.all(Array.from({ length: 50 }, () => node.touch(loaded)));
  expect(double.count("touch")).toBe(1);
});

test("a touch of a newer version doesn't join one of an older version, which would change nothing", async () => {
  const { node, clock } = stage();
  const sid = await stored(node);
  const slow = await loadedOf(node, sid);
  await saveOf(node, slow, { a: 1 });
  const fresh = await loadedOf(node, sid);
  await clock.advance(HOUR / 2);
  const [, touched] = await Promise.all([node.touch(slow), node.touch(fresh)]);
  expect(touched).toMatchObject({ outcome: "committed", loaded: { version: fresh.version } });
  await clock.advance(HOUR / 2 + MINUTE);
  expect(await isThere(node, sid)).toBe(true);
});

test("a coalesced touch is shown by its node", async () => {
  const { node, make, clock } = stage();
  const sid = await stored(node);
  await clock.advance(30_000);
  await node.touch(await loadedOf(node, sid));
  expect(node.remainingMs(await loadedOf(node, sid))).toBe(HOUR);
  const other = make();
  expect(other.remainingMs(await loadedOf(other, sid))).toBe(HOUR - 30_000);
});

describe("drain writes coalesced touches", () => {
  test("as of when they happened: the session lives as long as its node promised, and no longer", async () => {
    const { node, make, clock } = stage();
    const other = make();
    const sid = await stored(node);
    await clock.advance(50_000);
    await node.touch(await loadedOf(node, sid));
    await clock.advance(HOUR / 2);
    await node.drain();
    await clock.advance(HOUR / 2 - 1);
    expect(await isThere(other, sid)).toBe(true);
    await clock.advance(1);
    expect(await isThere(other, sid)).toBe(false);
  });
  test("never takes back what another node has extended since", async () => {
    const { node, make, clock } = stage();
    const other = make();
    const sid = await stored(node);
    await clock.advance(50_000);
    await node.touch(await loadedOf(node, sid));
    await clock.advance(HOUR / 2);
    await other.touch(await loadedOf(other, sid));
    await node.drain();
    await clock.advance(HOUR - 1);
    expect(await isThere(other, sid)).toBe(true);
  });
  test("but none of a session that was written, ended or has expired since", async () => {
    const { node, clock, double } = stage();
    const [written, ended, brief] = [await stored(node), await stored(node), makeSid()];
    await node.replace(brief, new Map(), { idleMs: 10_000 });
    await clock.advance(900);
    for (const sid of [written, ended, brief]) await node.touch(await loadedOf(node, sid));
    await saveOf(node, await loadedOf(node, written), { a: 1 });
    await node.end(ended);
    await clock.advance(20_000);
    double.forget();
    await node.drain();
    expect(double.count("touch")).toBe(0);
    expect(await isThere(node, brief)).toBe(false);
  });
  test("at the first failure it stops: an engine that is down doesn't hold a goodbye up", async () => {
    const { node, clock, double } = stage();
    const sids = await Promise.all(Array.from({ length: 100 }, () => stored(node)));
    await clock.advance(1_000);
    for (const sid of sids) await node.touch(await loadedOf(node, sid));
    const down = () => Promise.reject(new AnynodeError("ENGINE_TIMEOUT", "down"));
    double.use({ touch: down, read: down });
    double.forget();
    await node.drain();
    expect(double.count("touch") + double.count("read")).toBeLessThan(100);
  });
});

test("a touch that comes after the end, or after the expiry, is dropped and told", async () => {
  const { node, clock } = stage();
  const dropped: unknown[] = [];
  node.on("write-dropped", (event) => dropped.push(event));
  const [ended, expired] = [await loadedOf(node, await stored(node)), await loadedOf(node, await stored(node))];
  for await (const listed of node.list()) if (listed.key === ended.key) await node.endListed(listed);
  await clock.advance(HOUR / 2);
  await clock.advance(100_000);
  expect(await node.touch(ended)).toMatchObject({ outcome: "gone" });
  await clock.advance(HOUR);
  expect(await node.touch(expired)).toEqual({ outcome: "gone", ended: false });
  await new Promise(setImmediate);
  expect(dropped).toHaveLength(2);
});

test("a cookie's own idle timeout holds from the save on", async () => {
  const { node, clock } = stage();
  const sid = await stored(node);
  await node.save(await loadedOf(node, sid), new Map(), { idleMs: 1_000 });
  await clock.advance(1_000);
  expect(await isThere(node, sid)).toBe(false);
});
