/** Verbs of several nodes on one key at the same time: all nodes see one order. */
import assert from "node:assert/strict";
import type { Engine } from "../engines/engine.js";
import type { Key, Version } from "../names.js";
import { got, holds, isGone, later, newKey, type Part, stored } from "./stage.js";

const ROUNDS = 30;

export function racesPart({ describe, test }: Part): void {
  describe("nodes on one key", () => {
    test("RACE: of parallel commits to one version exactly one wins, and the others are shown the winner", async (stage) => {
      const [first, second] = [await stage.engine(), await stage.engine()];
      const nodes = [first, second];
      const key = newKey();
      let { version } = await stored(first, key);
      for (let round = 0; round < ROUNDS; round++) {
        const winner = await race([first, second, first, second], key, version, `round ${round}`);
        ({ version } = winner);
        for (const node of nodes) await holds(node, key, winner.body, version);
      }
    });

    test("RACE: of parallel creates exactly one wins", async ({ engine }) => {
      const [first, second] = [await engine(), await engine()];
      const nodes = [first, second];
      for (let round = 0; round < ROUNDS; round++) {
        const key = newKey();
        const replies = await Promise.all(
          nodes.flatMap((node) => [0, 1].map(() => node.create(key, Buffer.from("first"), later))),
        );
        assert.deepEqual(replies.map(({ outcome }) => outcome).sort(), ["committed", "conflict", "conflict", "conflict"]);
      }
    });

    test("RACE: a counter incremented by compare-and-swap from several nodes loses nothing", async ({ engine }) => {
      const [first, second] = [await engine(), await engine()];
      const nodes = [first, second];
      const key = newKey();
      await stored(first, key, "0");
      const versions: Version[] = [];
      const workers = nodes
        .flatMap((node) => [node, node])
        .map(async (node) => {
          for (let count = 0; count < 15; count++) versions.push(await increment(node, key));
        });
      await Promise.all(workers);
      await holds(first, key, "60");
      assert.equal(new Set(versions).size, 60);
    });

    test("RACE: a completed commit is seen by every read that starts afterwards, on any node", async ({ engine }) => {
      const [first, second] = [await engine(), await engine()];
      const nodes = [first, second];
      const key = newKey();
      let { version } = await stored(first, key);
      for (let round = 0; round < 4 * ROUNDS; round++) {
        const writer = round % 2 === 0 ? first : second;
        const readingBefore = nodes.map((node) => node.read(key));
        const next = await got("committed", writer.commit(key, version, Buffer.from(String(round)), later));
        for (const node of nodes) assert.equal((await got("found", node.read(key, version))).version, next.version);
        await Promise.all(readingBefore);
        ({ version } = next);
      }
    });

    test("RACE: of parallel ends exactly one ended it", async ({ engine }) => {
      const [first, second] = [await engine(), await engine()];
      const nodes = [first, second];
      for (let round = 0; round < ROUNDS; round++) {
        const key = newKey();
        await stored(first, key);
        const replies = await Promise.all(nodes.flatMap((node) => [node.end(key), node.end(key)]));
        assert.deepEqual(replies.map(({ outcome }) => outcome).sort(), ["ended", "marked", "marked", "marked"]);
      }
    });

    test("RACE: commits, touches and creates never survive a parallel end", async ({ engine }) => {
      const [one, two] = [await engine(), await engine()];
      for (let round = 0; round < ROUNDS; round++) {
        const key = newKey();
        const { version } = await stored(one, key);
        const verbs = [
          () => one.commit(key, version, Buffer.from("late"), later),
          () => two.end(key),
          () => one.touch(key, version, later),
          () => two.create(key, Buffer.from("late"), later),
        ];
        const turned = verbs.map((_, at) => verbs[(at + round) % verbs.length]);
        const replies = await Promise.all(turned.map((verb) => verb?.()));
        assert.equal(replies.filter((reply) => reply?.outcome === "ended").length, 1);
        for (const node of [one, two]) await isGone(node, key, true);
      }
    });

    test("RACE: of parallel regenerations exactly one moves the record, and an end after it finds a mark", async (stage) => {
      const [first, second] = [await stage.engine(), await stage.engine()];
      const nodes = [first, second];
      for (let round = 0; round < ROUNDS; round++) {
        const from = newKey("tag");
        const { version } = await stored(first, from);
        const moves = await Promise.all(
          nodes.map(async (node) => {
            const to = newKey("tag");
            return { to, reply: await node.regenerate(from, version, to, Buffer.from("new"), later) };
          }),
        );
        assert.deepEqual(moves.map(({ reply }) => reply.outcome).sort(), ["committed", "gone"]);
        for (const { to, reply } of moves)
          if (reply.outcome === "committed") await holds(first, to, "new", reply.version);
          else await isGone(first, to, false);
        assert.equal((await first.end(from)).outcome, "marked");
      }
    });

    test("RACE: a regeneration and a parallel commit of one version: one of them wins", async ({ engine }) => {
      const [one, two] = [await engine(), await engine()];
      for (let round = 0; round < ROUNDS; round++) {
        const [from, to] = [newKey("tag"), newKey("tag")];
        const { version } = await stored(one, from);
        const regenerate = () => one.regenerate(from, version, to, Buffer.from("moved"), later);
        const commit = () => two.commit(from, version, Buffer.from("second"), later);
        const [a, b] = await Promise.all(round % 2 === 0 ? [regenerate(), commit()] : [commit(), regenerate()]);
        const [moved, changed] = round % 2 === 0 ? [a, b] : [b, a];
        if (moved?.outcome === "committed") {
          assert.equal((await got("gone", changed)).ended, true);
          await holds(two, to, "moved");
        } else {
          assert.equal((await got("conflict", moved)).current.body.toString(), "second");
          await got("committed", changed);
          await isGone(two, to, false);
        }
      }
    });
  });
}

/** Commits one body per node to one version, in parallel; checks that one wins and the others are shown it. Returns the winner. */
async function race(
  nodes: readonly Engine[],
  key: Key,
  expected: Version,
  text: string,
): Promise<{ version: Version; body: string }> {
  const replies = await Promise.all(
    nodes.map(async (node, at) => {
      const body = `${text}, ${at}`;
      return { body, reply: await node.commit(key, expected, Buffer.from(body), later) };
    }),
  );
  const [winner, ...others] = replies.flatMap(({ body, reply }) =>
    reply.outcome === "committed" ? [{ body, version: reply.version }] : [],
  );
  assert.ok(winner, "nobody won");
  assert.equal(others.length, 0, "more than one won");
  for (const { body, reply } of replies) {
    if (body === winner.body) continue;
    const { current } = await got("conflict", reply);
    assert.equal(current.body.toString(), winner.body);
    assert.equal(current.version, winner.version);
  }
  return winner;
}

async function increment(node: Engine, key: Key): Promise<Version> {
  for (;;) {
    const { version, body } = await got("found", node.read(key));
    const reply = await node.commit(key, version, Buffer.from(String(Number(body.toString()) + 1)), later);
    if (reply.outcome === "committed") return reply.version;
    await got("conflict", reply);
  }
}
