/** The near cache stays inside its bounds and never mixes entries up; the engine decides what is current, so it can't serve what is stale. */

import { memoryEngine } from "anynode/memory";
import fc from "fast-check";
import { KeyCache } from "../../lib/cache/key-cache.js";
import { NearCache } from "../../lib/cache/near-cache.js";
import { isVersion, type Key, type Version } from "../../lib/names.js";
import { isSid, keyOf, makeSid } from "../../lib/session/id.js";
import type { Loaded, SessionRecord } from "../../lib/session/record.js";

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
const recordOf = (characters: number): SessionRecord => ({ header, attributes: new Map([["a", "x".repeat(characters)]]) });
const keyAt = (i: number): Key => {
  const sid = `id ${i}`;
  if (!isSid(sid)) throw new Error("sid");
  return keyOf(sid, "test");
};
const versionOf = (number: number): Version => {
  if (!isVersion(number)) throw new Error("version");
  return number;
};
const loadedAt = (key: Key, version: number, record: SessionRecord): Loaded => ({
  key,
  version: versionOf(version),
  idleAt: 1,
  record,
});

test("any schedule of put, get and drop gives what was put last under that key, or nothing", () => {
  const step = fc.record({
    verb: fc.constantFrom("put", "get", "drop"),
    key: fc.nat(5),
    version: fc.integer({ min: 1, max: 9 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const cache = new NearCache();
      const model = new Map<number, { version: number; record: SessionRecord }>();
      for (const { verb, key, version } of steps) {
        if (verb === "put") {
          const record = recordOf(version);
          cache.put(loadedAt(keyAt(key), version, record), 0);
          model.set(key, { version, record });
        } else if (verb === "drop") {
          cache.drop(keyAt(key));
          model.delete(key);
        }
        const [entry, known] = [cache.get(keyAt(key)), model.get(key)];
        expect(entry?.loaded.version).toBe(known?.version);
        expect(entry?.loaded.record).toBe(known?.record);
      }
      for (const key of model.keys()) cache.drop(keyAt(key));
      expect(cache.bytes).toBe(0);
    }),
  );
});

test("100,000 sessions passing through stay inside the bounds; the last ones stay, and what is used stays longest", () => {
  const cache = new NearCache();
  const used = keyAt(-1);
  cache.put(loadedAt(used, 1, recordOf(10)), 0);
  for (let i = 0; i < 100_000; i++) {
    cache.put(loadedAt(keyAt(i), 1, recordOf(1_000)), 0);
    if (i % 1_000 === 0) expect(cache.get(used)).toBeDefined();
    expect(cache.bytes).toBeLessThanOrEqual(33_554_432);
  }
  expect(cache.get(keyAt(99_999))).toBeDefined();
  expect(cache.get(keyAt(0))).toBeUndefined();
});

test("a record that would push out many others isn't kept", () => {
  const cache = new NearCache();
  cache.put(loadedAt(keyAt(1), 1, recordOf(10)), 0);
  cache.put(loadedAt(keyAt(2), 1, recordOf(10_000_000)), 0);
  expect(cache.get(keyAt(1))).toBeDefined();
  expect(cache.get(keyAt(2))).toBeUndefined();
});

test("the key cache gives the same keys as hashing does, however many ids pass through", () => {
  const keys = new KeyCache("test");
  const sids = Array.from({ length: 25_000 }, () => makeSid());
  for (const sid of [...sids, ...sids.slice(0, 100)]) expect(keys.keyOf(sid)).toBe(keyOf(sid, "test"));
});

test("the memory engine keeps no Buffer that it was given: a slice would hold a slab of 8 KB for as long as the record lives", async () => {
  const engine = memoryEngine();
  const body = Buffer.from("as it was");
  await engine.create(keyAt(1), body, { idleMs: 60_000, absoluteAt: 0 });
  body.fill("x");
  expect(await engine.read(keyAt(1))).toMatchObject({ outcome: "found", body: Buffer.from("as it was") });
  await engine.close();
});
