/** The contract of end and regenerate: an ended mark stands for its full time, and nothing revives the key until then. */
import assert from "node:assert/strict";
import { ENDED_MARK_MS, SHOWN_BYTES } from "../engines/engine.js";
import { got, holds, isGone, later, listed, newKey, otherThan, type Part, stored } from "./stage.js";

export function endsPart({ describe, test, timed }: Part): void {
  describe("an end", () => {
    test("ends a record once, and finds the mark afterwards", async ({ engine }) => {
      const [one, two] = [await engine(), await engine()];
      const key = newKey();
      await stored(one, key);
      const first = await two.end(key);
      assert.equal(first.outcome, "ended");
      assert.ok(first.now > 0 && Array.isArray(first.waitFor));
      for (const node of [one, two]) {
        await isGone(node, key, true);
        assert.equal((await node.end(key)).outcome, "marked");
      }
      assert.equal((await listed(one)).size, 0);
    });

    test("shows what it ended, if that is short", async ({ engine }) => {
      const [one, two] = [await engine(), await engine()];
      const [short, longest, longer] = [newKey(), newKey(), newKey()];
      await stored(one, short, "short");
      await stored(one, longest, "x".repeat(SHOWN_BYTES));
      await stored(one, longer, "x".repeat(SHOWN_BYTES + 1));
      assert.equal((await two.end(short)).was?.toString(), "short");
      assert.equal((await two.end(longest)).was?.length, SHOWN_BYTES);
      assert.equal((await two.end(longer)).was, undefined);
      assert.equal((await two.end(short)).was, undefined);
      assert.equal((await two.end(newKey())).was, undefined);
    });

    test("of a missing record leaves a mark too, so that a late create can't bring it into being", async ({ engine }) => {
      const one = await engine();
      const key = newKey();
      assert.equal((await one.end(key)).outcome, "missing");
      assert.equal((await got("gone", one.create(key, Buffer.from("late"), later))).ended, true);
      await isGone(one, key, true);
      assert.equal((await one.end(key)).outcome, "marked");
    });

    test("can't be undone by create, commit, touch or regenerate", async ({ engine }) => {
      const [one, two] = [await engine(), await engine()];
      const [key, to] = [newKey("tag"), newKey("tag")];
      const { version } = await stored(one, key);
      await two.end(key);
      const late = Buffer.from("late");
      for (const node of [one, two])
        for (const known of [version, otherThan(version)]) {
          assert.equal((await got("gone", node.read(key, known))).ended, true);
          assert.equal((await got("gone", node.create(key, late, later))).ended, true);
          assert.equal((await got("gone", node.commit(key, known, late, later))).ended, true);
          assert.equal((await got("gone", node.touch(key, known, later))).ended, true);
          assert.equal((await got("gone", node.regenerate(key, known, to, late, later))).ended, true);
        }
      await isGone(one, key, true);
      await isGone(one, to, false);
    });

    test("outlives the deadline of the record that it ended", async ({ engine, wait }) => {
      const one = await engine();
      const key = newKey();
      const { version } = await stored(one, key, "first", 60);
      await one.end(key);
      await wait(60);
      await isGone(one, key, true);
      assert.equal((await got("gone", one.touch(key, version, later))).ended, true);
    });

    timed("stays for the time of a mark; then the key is merely missing, and its version goes on growing", async (stage) => {
      const one = await stage.engine();
      const key = newKey();
      const { version } = await stored(one, key);
      await one.end(key);
      await stage.advance(ENDED_MARK_MS - 1);
      assert.equal((await got("gone", one.create(key, Buffer.from("late"), later))).ended, true);
      await stage.advance(1);
      await isGone(one, key, false);
      const again = await stored(one, key, "second");
      assert.ok(again.version > version);
    });

    timed("that is repeated has the mark for its full time again", async ({ engine, advance }) => {
      const one = await engine();
      const key = newKey();
      await one.end(key);
      await advance(ENDED_MARK_MS - 1_000);
      assert.equal((await one.end(key)).outcome, "marked");
      await advance(ENDED_MARK_MS - 1);
      await isGone(one, key, true);
      await advance(1);
      await isGone(one, key, false);
    });
  });

  describe("a regeneration", () => {
    test("ends the old record and stores the new one", async ({ engine }) => {
      const [one, two] = [await engine(), await engine()];
      const [from, to] = [newKey("tag"), newKey("tag")];
      const { version } = await stored(one, from);
      const moved = await got("committed", two.regenerate(from, version, to, Buffer.from("new"), later));
      assert.equal(moved.idleAt, moved.now + later.idleMs);
      assert.ok(moved.version >= moved.now && Array.isArray(moved.waitFor));
      await holds(one, to, "new", moved.version);
      await isGone(one, from, true);
      assert.equal((await one.end(from)).outcome, "marked");
      assert.deepEqual([...(await listed(one)).keys()], [to]);
      await got("committed", one.commit(to, moved.version, Buffer.from("newer"), later));
    });

    test("may leave another record under the old key, in a newer version and with a deadline of its own", async (stage) => {
      const [one, two] = [await stage.engine(), await stage.engine()];
      const [from, to] = [newKey("tag"), newKey("tag")];
      const { version, now } = await stored(one, from);
      const stays = { body: Buffer.from("moved"), idleMs: 400 };
      const absoluteAt = now + 2 * later.idleMs;
      const deadlines = { idleMs: later.idleMs, absoluteAt };
      const moved = await got("committed", two.regenerate(from, version, to, Buffer.from("new"), deadlines, undefined, stays));
      await holds(one, to, "new", moved.version);
      const left = await got("found", one.read(from));
      assert.equal(left.body.toString(), "moved");
      assert.ok(left.version > version, "what stays isn't the record that was there");
      assert.equal(left.idleAt, moved.now + stays.idleMs);
      const { current } = await got("conflict", one.commit(from, version, Buffer.from("late"), later));
      assert.equal(current.body.toString(), "moved");
      await stage.wait(stays.idleMs);
      await isGone(one, from, false);
      await holds(two, to, "new", moved.version);
    });

    test("leaves nothing under the old key for longer than the absolute deadline", async ({ engine }) => {
      const one = await engine();
      const [from, to] = [newKey("tag"), newKey("tag")];
      const { version, now } = await stored(one, from);
      const stays = { body: Buffer.from("moved"), idleMs: later.idleMs };
      const deadlines = { idleMs: later.idleMs, absoluteAt: now + later.idleMs / 2 };
      await got("committed", one.regenerate(from, version, to, Buffer.from("new"), deadlines, undefined, stays));
      assert.equal((await got("found", one.read(from))).idleAt, deadlines.absoluteAt);
    });

    test("of another version is a conflict and changes nothing", async ({ engine }) => {
      const one = await engine();
      const [from, to] = [newKey("tag"), newKey("tag")];
      const { version, idleAt } = await stored(one, from);
      const { current } = await got("conflict", one.regenerate(from, otherThan(version), to, Buffer.from("new"), later));
      assert.deepEqual([current.version, current.idleAt, current.body.toString()], [version, idleAt, "first"]);
      assert.deepEqual({ ...(await one.read(from, version)) }, { outcome: "same", version, idleAt });
      await isGone(one, to, false);
    });

    test("of a missing record is gone and changes nothing", async ({ engine }) => {
      const one = await engine();
      const { version } = await stored(one, newKey());
      const [from, to] = [newKey("tag"), newKey("tag")];
      assert.equal((await got("gone", one.regenerate(from, version, to, Buffer.from("new"), later))).ended, false);
      await isGone(one, from, false);
      await isGone(one, to, false);
      await stored(one, from, "still free");
    });
  });
}
