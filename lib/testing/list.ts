/** The contract of list: every live record, in batches, while others go on. */
import assert from "node:assert/strict";
import { got, holds, later, listed, newKey, newNodeId, type Part, stored } from "./stage.js";

const MANY = 1_500;

export function listPart({ describe, test }: Part): void {
  describe("a list", () => {
    test("of nothing is empty", async ({ engine }) => {
      assert.equal((await listed(await engine())).size, 0);
    });

    test("shows each live record as a read would, and neither the ended nor the expired", async ({ engine, wait }) => {
      const [one, two] = [await engine(), await engine()];
      const [live, ended, expired, from, to] = [newKey(), newKey(), newKey(), newKey("tag"), newKey("tag")];
      const made = await stored(one, live, "live");
      await stored(one, ended);
      await one.end(ended);
      await stored(one, expired, "first", 60);
      const old = await stored(one, from);
      await got("committed", one.regenerate(from, old.version, to, Buffer.from("moved"), later));
      // What a registry and a channel leave behind isn't a record either.
      await one.join(newNodeId(), 0, "{}");
      await one.publish("channel", "message");
      await wait(60);
      const records = await listed(two);
      assert.deepEqual([...records.keys()].sort(), [live, to].sort());
      const shown = records.get(live);
      assert.deepEqual([shown?.version, shown?.idleAt, shown?.body.toString()], [made.version, made.idleAt, "live"]);
    });

    test(`of ${MANY} records has them all, and can be left early`, async ({ engine }) => {
      const one = await engine();
      const keys = Array.from({ length: MANY }, () => newKey());
      await Promise.all(keys.map((key) => stored(one, key, key)));
      const records = await listed(one);
      assert.deepEqual([...records.keys()].sort(), keys.sort());
      for (const [key, { body }] of records) assert.equal(body.toString(), key);

      let seen = 0;
      for await (const { key } of one.list()) {
        assert.ok(records.has(key));
        if (++seen === 3) break;
      }
      assert.equal(seen, 3);
      assert.equal((await listed(one)).size, MANY);
    });

    test("RACE: goes on while records are created, committed and ended", async ({ engine }) => {
      const [one, two] = [await engine(), await engine()];
      const keys = Array.from({ length: 400 }, () => newKey());
      const versions = await Promise.all(keys.map(async (key) => (await stored(one, key)).version));
      const untouched = new Set(keys.slice(200));
      let at = 0;
      for await (const { key } of one.list()) {
        untouched.delete(key);
        const [changed, version] = [keys[at], versions[at]];
        if (at++ >= 200 || changed === undefined || version === undefined) continue;
        if (at % 2 === 0) await two.end(changed);
        else await got("committed", two.commit(changed, version, Buffer.from("second"), later));
        if (at % 10 === 0) await stored(two, newKey());
      }
      assert.equal(untouched.size, 0, "records that nobody changed weren't listed");
      const [first] = keys;
      if (first) await holds(one, first, "second");
    });
  });
}
