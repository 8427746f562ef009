/** The contract of attach, detach and holders: whoever ends a session is given everybody who holds something live of it. */
import assert from "node:assert/strict";
import type { Engine, Holder } from "../engines/engine.js";
import type { Key } from "../names.js";
import { chanceOf, got, isGone, later, listed, newKey, newNodeId, type Part, stored } from "./stage.js";

function holder(number: number, epoch = 1_000 + number): Holder {
  return { nodeId: newNodeId(), number, epoch, turn: 1 };
}

/** Fails unless these are the holders, in whatever order. */
async function held(engine: Engine, key: Key, expected: readonly Holder[]): Promise<void> {
  assert.deepEqual(sorted(await engine.holders(key)), sorted(expected));
}
function sorted(holders: readonly Holder[]): Holder[] {
  return holders.map((one) => ({ ...one })).sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
}

export function holdersPart({ describe, test, timed }: Part): void {
  describe("holders", () => {
    test("are who attached and didn't detach, seen from everywhere", async ({ engine }) => {
      const [one, two] = [await engine(), await engine()];
      const key = newKey();
      const { version, idleAt } = await stored(one, key);
      const [a, b] = [holder(0), holder(62)];
      await held(two, key, []);
      const attached = await got("attached", one.attach(key, a));
      assert.deepEqual([attached.version, attached.idleAt], [version, idleAt]);
      assert.ok(attached.now > 0);
      await got("attached", two.attach(key, b));
      await got("attached", two.attach(key, b));
      for (const node of [one, two]) await held(node, key, [a, b]);
      await one.detach(key, a);
      await one.detach(key, a);
      await held(two, key, [b]);
      await two.detach(key, b);
      await held(one, key, []);
    });

    test("have one entry a node: the last one that it wrote, which only its own detach removes", async ({ engine }) => {
      const one = await engine();
      const key = newKey();
      await stored(one, key);
      const first = holder(3);
      const second = { ...first, turn: 2 };
      await one.attach(key, first);
      await one.attach(key, second);
      await one.detach(key, first);
      await held(one, key, [second]);
      const rejoined = { ...first, number: 4, epoch: first.epoch + 1 };
      await one.attach(key, rejoined);
      await one.detach(key, first);
      await held(one, key, [rejoined]);
    });

    test("can't attach to what ended or never was, and nothing is written then", async ({ engine }) => {
      const one = await engine();
      const [ended, missing] = [newKey(), newKey()];
      await stored(one, ended);
      await one.end(ended);
      assert.equal((await got("gone", one.attach(ended, holder(1)))).ended, true);
      assert.equal((await got("gone", one.attach(missing, holder(1)))).ended, false);
      await stored(one, missing);
      await held(one, missing, []);
      assert.deepEqual((await one.end(ended)).holders, []);
      await one.detach(ended, holder(1));
      await isGone(one, ended, true);
    });

    test("are given to the end, and to one that finds its mark, but for those that detached since", async ({ engine }) => {
      const [one, two] = [await engine(), await engine()];
      const key = newKey();
      await stored(one, key);
      const [a, b] = [holder(1), holder(40)];
      await one.attach(key, a);
      await two.attach(key, b);
      assert.deepEqual(sorted((await two.end(key)).holders), sorted([a, b]));
      await held(one, key, []);
      assert.deepEqual(sorted((await one.end(key)).holders), sorted([a, b]));
      await one.detach(key, a);
      assert.deepEqual(sorted((await one.end(key)).holders), [b]);
    });

    test("are given to the regeneration that ends their session; the new one has none", async ({ engine }) => {
      const one = await engine();
      const [from, to] = [newKey("tag"), newKey("tag")];
      const { version } = await stored(one, from);
      const a = holder(33);
      await one.attach(from, a);
      const done = await got("committed", one.regenerate(from, version, to, Buffer.from("new"), later));
      assert.deepEqual(sorted(done.holders), [a]);
      await held(one, from, []);
      await held(one, to, []);
      assert.deepEqual(sorted((await one.end(from)).holders), [a]);
      assert.deepEqual((await one.end(to)).holders, []);
    });

    test("live as long as the record: a commit and a touch extend them too", async ({ engine, wait }) => {
      const one = await engine();
      const [committed, touched] = [newKey(), newKey()];
      const a = holder(5);
      const versions = [
        (await stored(one, committed, "b", 250)).version,
        (await stored(one, touched, "b", 250)).version,
      ] as const;
      await one.attach(committed, a);
      await one.attach(touched, a);
      await got("committed", one.commit(committed, versions[0], Buffer.from("c"), later));
      await got("touched", one.touch(touched, versions[1], later));
      await wait(260);
      await held(one, committed, [a]);
      await held(one, touched, [a]);
    });

    test("are gone with the record, and don't come back with the next one", async ({ engine, wait }) => {
      const one = await engine();
      const key = newKey();
      await stored(one, key, "first", 60);
      await one.attach(key, holder(5));
      await wait(60);
      await held(one, key, []);
      assert.equal((await got("gone", one.attach(key, holder(6)))).ended, false);
      await stored(one, key, "second");
      await held(one, key, []);
      assert.deepEqual((await one.end(key)).holders, []);
    });

    timed("don't outlive the ended mark", async ({ engine, advance }) => {
      const one = await engine();
      const key = newKey();
      await stored(one, key);
      await one.attach(key, holder(5));
      await one.end(key);
      await advance(400_000);
      await stored(one, key);
      await held(one, key, []);
    });

    test("are no sessions: list() doesn't show them", async ({ engine }) => {
      const one = await engine();
      const key = newKey();
      await stored(one, key);
      for (let number = 0; number < 20; number++) await one.attach(key, holder(number));
      assert.deepEqual([...(await listed(one)).keys()], [key]);
      assert.equal((await one.holders(key)).length, 20);
    });

    test("RACE: of an attach and an end at once, either the attach is refused or the end is given the holder", async ({
      engine,
    }) => {
      const nodes = [await engine(), await engine()] as const;
      const chance = chanceOf(7);
      const outcomes = new Set<string>();
      for (let round = 0; round < 60; round++) {
        const key = newKey();
        await stored(nodes[0], key);
        const a = holder(chance(63));
        const later = async <T>(work: () => Promise<T>) => {
          for (let turns = chance(3); turns > 0; turns--) await new Promise(setImmediate);
          return work();
        };
        const [attached, ended] = await Promise.all([later(() => nodes[0].attach(key, a)), later(() => nodes[1].end(key))]);
        outcomes.add(attached.outcome);
        assert.deepEqual(
          ended.holders.map((one) => one.nodeId),
          attached.outcome === "attached" ? [a.nodeId] : [],
        );
      }
      assert.equal(outcomes.size, 2);
    });
  });
}
