/** The contract of read, create and commit: the register itself, its versions and its bytes. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { got, holds, isGone, later, newKey, otherThan, type Part, stored } from "./stage.js";

export function recordsPart({ describe, test, timed }: Part): void {
  describe("a record", () => {
    test("is missing until it is created", async ({ engine }) => {
      const one = await engine();
      await isGone(one, newKey(), false);
    });

    test("is found by every node as it was created", async ({ engine }) => {
      const [one, two] = [await engine(), await engine()];
      const key = newKey();
      const made = await got("committed", one.create(key, Buffer.from("first"), later));
      assert.ok(Number.isSafeInteger(made.version) && made.version >= made.now);
      assert.equal(made.idleAt, made.now + later.idleMs);
      assert.ok(Array.isArray(made.waitFor));
      for (const node of [one, two]) {
        const found = await got("found", node.read(key));
        assert.equal(found.version, made.version);
        assert.equal(found.idleAt, made.idleAt);
        assert.equal(found.body.toString(), "first");
      }
    });

    test("is the same to a node that knows its version, and found by one that knows another", async ({ engine }) => {
      const one = await engine();
      const key = newKey();
      const { version, idleAt } = await stored(one, key);
      assert.deepEqual({ ...(await one.read(key, version)) }, { outcome: "same", version, idleAt });
      const found = await got("found", one.read(key, otherThan(version)));
      assert.equal(found.body.toString(), "first");
      const replaced = await got("committed", one.commit(key, version, Buffer.from("second"), later));
      assert.equal((await got("found", one.read(key, version))).version, replaced.version);
    });

    test("created twice is a conflict that shows the first", async ({ engine }) => {
      const [one, two] = [await engine(), await engine()];
      const key = newKey();
      const made = await stored(one, key);
      const { current } = await got("conflict", two.create(key, Buffer.from("second"), later));
      assert.equal(current.outcome, "found");
      assert.equal(current.version, made.version);
      assert.equal(current.idleAt, made.idleAt);
      assert.equal(current.body.toString(), "first");
      await holds(one, key, "first", made.version);
    });

    test("is replaced by a commit that expects its version", async ({ engine }) => {
      const [one, two] = [await engine(), await engine()];
      const key = newKey();
      const made = await stored(one, key);
      const replaced = await got(
        "committed",
        two.commit(key, made.version, Buffer.from("second"), { idleMs: 400_000, absoluteAt: 0 }),
      );
      assert.ok(replaced.version > made.version && replaced.version >= replaced.now);
      assert.equal(replaced.idleAt, replaced.now + 400_000);
      await holds(one, key, "second", replaced.version);
      assert.equal((await got("found", one.read(key))).idleAt, replaced.idleAt);
    });

    test("of another version than expected is a conflict that shows it, and stores nothing", async ({ engine }) => {
      const one = await engine();
      const key = newKey();
      const made = await stored(one, key);
      const second = await got("committed", one.commit(key, made.version, Buffer.from("second"), later));
      for (const expected of [made.version, otherThan(made.version)]) {
        const { current } = await got("conflict", one.commit(key, expected, Buffer.from("third"), later));
        assert.equal(current.version, second.version);
        assert.equal(current.idleAt, second.idleAt);
        assert.equal(current.body.toString(), "second");
      }
      await holds(one, key, "second", second.version);
    });

    test("that is missing can't be committed: gone, nothing is stored", async ({ engine }) => {
      const one = await engine();
      const { version } = await stored(one, newKey());
      const key = newKey();
      assert.equal((await got("gone", one.commit(key, version, Buffer.from("late"), later))).ended, false);
      await isGone(one, key, false);
    });

    test("grows its version with every commit, however many come in one millisecond", async ({ engine }) => {
      const one = await engine();
      const key = newKey();
      let { version } = await stored(one, key);
      for (let count = 0; count < 50; count++) {
        const next = await got("committed", one.commit(key, version, Buffer.from(String(count)), later));
        assert.equal(next.version, Math.max(version + 1, next.now));
        version = next.version;
      }
    });

    timed("grows its version even while the clock goes back", async ({ engine, advance }) => {
      const one = await engine();
      const key = newKey();
      const { version } = await stored(one, key);
      await advance(-3_600_000);
      const next = await got("committed", one.commit(key, version, Buffer.from("second"), later));
      assert.equal(next.version, version + 1);
      assert.equal(next.idleAt, next.now + later.idleMs);
    });

    test("doesn't touch its neighbours, those of its own tag included", async ({ engine }) => {
      const one = await engine();
      const keys = [newKey("same"), newKey("same"), newKey()];
      for (const key of keys) await stored(one, key, key);
      const [ended, ...others] = keys;
      assert.ok(ended);
      await one.end(ended);
      for (const key of others) await holds(one, key, key);
    });
  });

  describe("a body", () => {
    const bodies = {
      "of no bytes": Buffer.alloc(0),
      "of every byte value": Buffer.from(Array.from({ length: 512 }, (_, index) => index % 256)),
      "that looks like text, numbers and separators": Buffer.from('0\r\n$-1\r\n|:;"\u2028\ud83d\ude00', "utf8"),
      "of 256 KiB": randomBytes(262_144),
    };
    for (const [name, body] of Object.entries(bodies))
      test(`${name} comes back unchanged from read, conflict and list, and is left as it was`, async ({ engine }) => {
        const [one, two] = [await engine(), await engine()];
        const key = newKey();
        const passed = Buffer.from(body);
        const made = await got("committed", one.create(key, passed, later));
        await holds(two, key, body);
        const next = await got("committed", one.commit(key, made.version, passed, later));
        const { current } = await got("conflict", two.commit(key, made.version, Buffer.from("x"), later));
        assert.ok(current.body.equals(body));
        for await (const record of two.list()) if (record.key === key) assert.ok(record.body.equals(body));
        await holds(one, key, body, next.version);
        assert.ok(passed.equals(body), "the engine changed a buffer that it was given");
      });

    test("that was returned stays as it is, whatever happens to the record afterwards", async ({ engine }) => {
      const one = await engine();
      const key = newKey();
      const body = randomBytes(3_000);
      const made = await got("committed", one.create(key, Buffer.from(body), later));
      const read = await got("found", one.read(key));
      const { current } = await got("conflict", one.create(key, Buffer.from("x"), later));
      const inList = [];
      for await (const record of one.list()) inList.push(record.body);

      let { version } = made;
      for (let count = 0; count < 30; count++) {
        ({ version } = await got("committed", one.commit(key, version, randomBytes(3_000), later)));
        await stored(one, newKey(), randomBytes(1_500).toString("hex"));
        await one.read(key);
      }
      await one.end(key);
      for (const kept of [read.body, current.body, ...inList]) assert.ok(kept.equals(body), "a returned body changed later");
    });
  });
}
