/** The contract of idle and absolute deadlines and of touch: enforced on every verb, at once, on the engine's clock. */
import assert from "node:assert/strict";
import { got, holds, isGone, later, listed, newKey, otherThan, type Part, stored } from "./stage.js";

const SHORT_MS = 60;

export function deadlinesPart({ describe, test, timed }: Part): void {
  describe("a deadline", () => {
    test("that has come makes the record missing on every verb at once", async ({ engine, wait }) => {
      const one = await engine();
      const keys = { read: newKey(), create: newKey(), commit: newKey(), touch: newKey(), end: newKey() };
      const [from, to] = [newKey("tag"), newKey("tag")];
      const made = { from: await stored(one, from, "old", SHORT_MS) };
      const { version } = made.from;
      const readable = await stored(one, keys.read, "old", SHORT_MS);
      const replaced = await stored(one, keys.create, "old", SHORT_MS);
      const committed = await stored(one, keys.commit, "old", SHORT_MS);
      const touched = await stored(one, keys.touch, "old", SHORT_MS);
      await stored(one, keys.end, "old", SHORT_MS);
      await wait(SHORT_MS);

      assert.equal((await listed(one)).size, 0);
      await isGone(one, keys.read, false);
      assert.equal((await got("gone", one.read(keys.read, readable.version))).ended, false);
      assert.equal((await got("gone", one.commit(keys.commit, committed.version, Buffer.from("x"), later))).ended, false);
      assert.equal((await got("gone", one.touch(keys.touch, touched.version, later))).ended, false);
      assert.equal((await got("gone", one.regenerate(from, version, to, Buffer.from("x"), later))).ended, false);
      await isGone(one, to, false);
      const again = await stored(one, keys.create, "new");
      assert.ok(again.version > replaced.version);
      await holds(one, keys.create, "new", again.version);
      assert.equal((await one.end(keys.end)).outcome, "missing");
      for (const key of [keys.commit, keys.touch, from]) await isGone(one, key, false);
    });

    timed("holds to the millisecond", async ({ engine, advance }) => {
      const one = await engine();
      const key = newKey();
      await stored(one, key, "first", 1_000);
      await advance(999);
      await holds(one, key, "first");
      assert.equal((await listed(one)).size, 1);
      await advance(1);
      await isGone(one, key, false);
      assert.equal((await listed(one)).size, 0);
    });

    test("is set anew by a commit, further or nearer", async ({ engine, wait }) => {
      const one = await engine();
      const [longer, shorter] = [newKey(), newKey()];
      const short = { idleMs: SHORT_MS, absoluteAt: 0 };
      const first = await stored(one, longer, "first", SHORT_MS);
      const second = await stored(one, shorter);
      await got("committed", one.commit(shorter, second.version, Buffer.from("second"), short));
      await got("committed", one.commit(longer, first.version, Buffer.from("second"), later));
      await wait(SHORT_MS);
      await holds(one, longer, "second");
      await isGone(one, shorter, false);
    });

    test("is never after the absolute one, by create, commit, touch and regenerate", async ({ engine, wait }) => {
      const one = await engine();
      const probe = await stored(one, newKey());
      const [key, to] = [newKey("tag"), newKey("tag")];
      const capped = { idleMs: later.idleMs, absoluteAt: probe.now + 500 };
      const made = await got("committed", one.create(key, Buffer.from("a"), capped));
      const next = await got("committed", one.commit(key, made.version, Buffer.from("b"), capped));
      const touched = await got("touched", one.touch(key, next.version, capped));
      assert.equal((await got("found", one.read(key))).idleAt, capped.absoluteAt);
      const moved = await got("committed", one.regenerate(key, next.version, to, Buffer.from("c"), capped));
      for (const { idleAt } of [made, next, touched, moved]) assert.equal(idleAt, capped.absoluteAt);
      await wait(500);
      await isGone(one, to, false);
    });

    test("that lies in the past leaves nothing to be found", async ({ engine }) => {
      const one = await engine();
      const probe = await stored(one, newKey());
      const past = { idleMs: later.idleMs, absoluteAt: probe.now - 1_000 };
      const [created, committed, touched] = [newKey(), newKey(), newKey()];
      await one.create(created, Buffer.from("x"), past);
      await one.commit(committed, (await stored(one, committed)).version, Buffer.from("x"), past);
      await one.touch(touched, (await stored(one, touched)).version, past);
      for (const key of [created, committed, touched]) await isGone(one, key, false);
    });

    timed("of a year and more is kept", async ({ engine, advance }) => {
      const one = await engine();
      const key = newKey();
      const yearMs = 366 * 86_400_000;
      const { idleAt, now } = await stored(one, key, "first", yearMs);
      assert.equal(idleAt, now + yearMs);
      await advance(yearMs - 1);
      await holds(one, key, "first");
    });
  });

  describe("a touch", () => {
    test("extends the idle deadline and nothing else, and never shortens it", async ({ engine, wait }) => {
      const [one, two] = [await engine(), await engine()];
      const [longer, shorter] = [newKey(), newKey()];
      const { version } = await stored(one, longer, "first", SHORT_MS);
      const touched = await got("touched", two.touch(longer, version, later));
      assert.equal(touched.idleAt, touched.now + later.idleMs);
      const { version: other, idleAt } = await stored(one, shorter);
      const kept = await got("touched", two.touch(shorter, other, { idleMs: SHORT_MS, absoluteAt: 0 }));
      assert.equal(kept.idleAt, idleAt);
      await wait(SHORT_MS);
      await holds(one, longer, "first", version);
      assert.deepEqual({ ...(await one.read(longer, version)) }, { outcome: "same", version, idleAt: touched.idleAt });
      await holds(one, shorter, "first", other);
    });

    test("of another version changes nothing: moved", async ({ engine }) => {
      const one = await engine();
      const key = newKey();
      const { version, idleAt } = await stored(one, key);
      assert.deepEqual({ ...(await one.touch(key, otherThan(version), { idleMs: 1, absoluteAt: 0 })) }, { outcome: "moved" });
      assert.deepEqual({ ...(await one.read(key, version)) }, { outcome: "same", version, idleAt });
    });

    test("of a missing record is gone and stores nothing", async ({ engine }) => {
      const one = await engine();
      const { version } = await stored(one, newKey());
      const key = newKey();
      assert.equal((await got("gone", one.touch(key, version, later))).ended, false);
      await isGone(one, key, false);
    });
  });
}
