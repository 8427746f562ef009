/** The contract of join, beat, leave and nodes: numbers, epochs, fencing, revisions; reaping and grace where time can pass. */
import assert from "node:assert/strict";
import { type Engine, MAX_NODES, REGISTRY_LEASE_MS } from "../engines/engine.js";
import type { NodeId } from "../names.js";
import { got, newNodeId, type Part, type Stage } from "./stage.js";

const BEAT_MS = REGISTRY_LEASE_MS / 10;
const ABOUT = '{"name":"\u{1f600} \\"a\\"\\n\\u0000","address":"http://10.0.0.5:3000"}';

export function registryPart({ describe, test, timed, leased }: Part): void {
  describe("the registry", () => {
    test("is empty at first, and knows nobody", async ({ engine }) => {
      const one = await engine();
      assert.deepEqual([...(await one.nodes()).rows], []);
      await got("fenced", one.beat(newNodeId(), 1, "{}"));
      await one.leave(newNodeId(), 1);
      assert.deepEqual([...(await one.nodes()).rows], []);
    });

    test("shows every node the rows of all, in order of their numbers", async ({ engine }) => {
      const [one, two] = [await engine(), await engine()];
      const ids = Array.from({ length: 12 }, newNodeId);
      for (const [at, id] of ids.entries()) await got("joined", (at % 2 ? one : two).join(id, 0, ABOUT));
      const [first, second] = [await one.nodes(), await two.nodes()];
      assert.deepEqual(first, second);
      assert.deepEqual(first.rows.map(({ nodeId }) => nodeId).sort(), [...ids].sort());
      const numbers = first.rows.map(({ number }) => number);
      assert.deepEqual(
        numbers,
        [...numbers].sort((a, b) => a - b),
      );
      for (const row of first.rows) assert.deepEqual([row.left, row.about], [false, ABOUT]);
    });

    test("RACE: gives parallel joins numbers and epochs of their own", async ({ engine }) => {
      const nodes = [await engine(), await engine()];
      const joins = await Promise.all(
        nodes.flatMap((node) => [0, 1, 2, 3].map(() => got("joined", node.join(newNodeId(), 0, "{}")))),
      );
      assert.equal(new Set(joins.map(({ number }) => number)).size, 8);
      assert.equal(new Set(joins.map(({ epoch }) => epoch)).size, 8);
    });

    test("gives epochs that grow: after the last of all and after the clock", async ({ engine }) => {
      const one = await engine();
      let last = 0;
      for (let count = 0; count < 20; count++) {
        const { epoch, now } = await got("joined", one.join(newNodeId(), 0, "{}"));
        assert.equal(epoch, Math.max(last, now) + 1);
        last = epoch;
      }
    });

    test("tells joins, beats and whoever asks up to when everything is over, if it can; that never goes back", async (stage) => {
      const [one, two] = [await stage.engine(), await stage.engine()];
      if (one.endedBefore === undefined || two.endedBefore === undefined) return;
      const id = newNodeId();
      const { epoch, now, endedBefore } = await got("joined", one.join(id, 0, "{}"));
      assert.equal(endedBefore, 0);
      assert.equal(await two.endedBefore(false), 0);
      const first = await two.endedBefore(true);
      assert.ok(first >= now, "it is older than what went before");
      assert.equal(await one.endedBefore(false), first);
      assert.equal((await got("beaten", one.beat(id, epoch, "{}"))).endedBefore, first);
      assert.equal((await got("joined", one.join(newNodeId(), 0, "{}"))).endedBefore, first);
      await stage.wait(5);
      const second = await one.endedBefore(true);
      assert.ok(second > first);
      assert.equal(await two.endedBefore(false), second);
    });

    test(`has numbers for ${MAX_NODES} nodes, and is full then`, async ({ engine }) => {
      const one = await engine();
      const numbers = new Set<number>();
      for (let count = 0; count < MAX_NODES; count++) numbers.add((await got("joined", one.join(newNodeId(), 0, "{}"))).number);
      assert.deepEqual(
        [...numbers].sort((a, b) => a - b),
        Array.from({ length: MAX_NODES }, (_, number) => number),
      );
      const { revision } = await one.nodes();
      await got("full", one.join(newNodeId(), 0, "{}"));
      assert.equal((await one.nodes()).rows.length, MAX_NODES);
      assert.equal((await one.nodes()).revision, revision);
    });

    test("lets a node join again with its last epoch, under a later one, in one row", async ({ engine }) => {
      const [one, two] = [await engine(), await engine()];
      const id = newNodeId();
      const first = await got("joined", one.join(id, 0, "{}"));
      await got("joined", two.join(newNodeId(), 0, "{}"));
      const again = await got("joined", one.join(id, first.epoch, '{"again":true}'));
      assert.ok(again.epoch > first.epoch);
      const row = await rowOf(two, id);
      assert.deepEqual(
        { ...row },
        { nodeId: id, number: again.number, epoch: again.epoch, left: false, about: '{"again":true}' },
      );
      assert.equal((await one.nodes()).rows.length, 2);
      await got("fenced", one.beat(id, first.epoch, "{}"));
      await got("beaten", one.beat(id, again.epoch, '{"again":true}'));
    });

    test("refuses the clone of a node: its id is taken", async ({ engine }) => {
      const [one, two] = [await engine(), await engine()];
      const id = newNodeId();
      const { epoch } = await got("joined", one.join(id, 0, "{}"));
      const before = await one.nodes();
      for (const wrong of [0, epoch - 1, epoch + 1]) await got("taken", two.join(id, wrong, '{"clone":true}'));
      assert.deepEqual(await one.nodes(), before);
      await got("beaten", one.beat(id, epoch, "{}"));
    });

    test("fences a beat of another epoch, and leaves the row to its node", async ({ engine }) => {
      const one = await engine();
      const id = newNodeId();
      const { epoch, now } = await got("joined", one.join(id, 0, "{}"));
      const before = await one.nodes();
      for (const wrong of [epoch - 1, epoch + 1, 0]) {
        const fenced = await got("fenced", one.beat(id, wrong, '{"stale":true}'));
        assert.ok(fenced.now >= now);
        await one.leave(id, wrong);
      }
      assert.deepEqual(await one.nodes(), before);
    });

    test("tells by its revision whether any row came, changed or went", async ({ engine }) => {
      const [one, two] = [await engine(), await engine()];
      const [id, other] = [newNodeId(), newNodeId()];
      const revisionAt = async (node: Engine) => (await node.nodes()).revision;
      const joined = await got("joined", one.join(id, 0, "{}"));
      assert.equal(await revisionAt(two), joined.revision);
      const calm = await got("beaten", one.beat(id, joined.epoch, "{}"));
      assert.equal(calm.revision, joined.revision);
      assert.equal((await got("beaten", one.beat(id, joined.epoch, "{}"))).revision, joined.revision);

      const came = await got("joined", two.join(other, 0, "{}"));
      assert.ok(came.revision > calm.revision);
      assert.equal((await got("beaten", one.beat(id, joined.epoch, "{}"))).revision, came.revision);
      const changed = await got("beaten", one.beat(id, joined.epoch, ABOUT));
      assert.ok(changed.revision > came.revision);
      assert.equal((await rowOf(two, id))?.about, ABOUT);
      assert.equal((await got("beaten", one.beat(id, joined.epoch, ABOUT))).revision, changed.revision);

      await two.leave(other, came.epoch);
      const left = await revisionAt(one);
      assert.ok(left > changed.revision);
      await two.leave(other, came.epoch);
      assert.equal(await revisionAt(one), left);
      assert.equal((await got("beaten", one.beat(id, joined.epoch, ABOUT))).revision, left);
    });

    test("keeps the row of a node that left, so that the others can tell; its beats are fenced; it may join again", async (stage) => {
      const [one, two] = [await stage.engine(), await stage.engine()];
      const id = newNodeId();
      const { epoch, number } = await got("joined", one.join(id, 0, ABOUT));
      await one.leave(id, epoch);
      assert.deepEqual({ ...(await rowOf(two, id)) }, { nodeId: id, number, epoch, left: true, about: ABOUT });
      await got("fenced", one.beat(id, epoch, ABOUT));
      const again = await got("joined", one.join(id, epoch, ABOUT));
      assert.ok(again.epoch > epoch);
      assert.equal((await rowOf(two, id))?.left, false);
    });

    leased("keeps a node that beats, and any beat removes one that doesn't, not before its lease is over", async (stage) => {
      const { node, id, epoch, silent } = await pair(stage);
      const revisions = [(await node.nodes()).revision];
      for (let passedMs = BEAT_MS; passedMs < REGISTRY_LEASE_MS - BEAT_MS; passedMs += BEAT_MS) {
        await stage.wait(BEAT_MS);
        revisions.push((await got("beaten", node.beat(id, epoch, "{}"))).revision);
      }
      assert.ok(await rowOf(node, silent.id), "removed before its lease was over");
      assert.equal(new Set(revisions).size, 1);
      // A registry that had never been beaten may begin with a grace, so two leases are the bound.
      await beatUntilGone(stage, node, id, epoch, silent.id, 2 * REGISTRY_LEASE_MS);
      assert.ok((await node.nodes()).revision > (revisions[0] ?? 0));
      await got("fenced", node.beat(silent.id, silent.epoch, "{}"));
      assert.equal((await rowOf(node, id))?.epoch, epoch);
      const again = await got("joined", node.join(silent.id, silent.epoch, "{}"));
      assert.ok(again.epoch > silent.epoch);
    });

    leased("removes the row of a node that left after one lease", async (stage) => {
      const { node, id, epoch, silent } = await pair(stage);
      await node.leave(silent.id, silent.epoch);
      await beatUntilGone(stage, node, id, epoch, silent.id, 2 * REGISTRY_LEASE_MS + BEAT_MS);
    });

    leased("removes nobody for one lease after an outage of half a lease: the grace", async (stage) => {
      const { node, id, epoch, silent } = await pair(stage);
      await got("beaten", node.beat(id, epoch, "{}"));
      await stage.wait(0.9 * REGISTRY_LEASE_MS);
      assert.equal((await got("beaten", node.beat(id, epoch, "{}"))).grace, true);
      for (let passedMs = BEAT_MS; passedMs < REGISTRY_LEASE_MS - BEAT_MS; passedMs += BEAT_MS) {
        await stage.wait(BEAT_MS);
        assert.equal((await got("beaten", node.beat(id, epoch, "{}"))).grace, true);
        assert.ok(await rowOf(node, silent.id), "removed during the grace");
      }
      await beatUntilGone(stage, node, id, epoch, silent.id, 3 * BEAT_MS);
      assert.equal((await got("beaten", node.beat(id, epoch, "{}"))).grace, false);
    });

    timed("gives a grace when the clock goes back, and epochs that grow all the same", async (stage) => {
      const { node, id, epoch, silent } = await pair(stage);
      await got("beaten", node.beat(id, epoch, "{}"));
      await stage.advance(-3_600_000);
      assert.equal((await got("beaten", node.beat(id, epoch, "{}"))).grace, true);
      assert.ok(await rowOf(node, silent.id));
      assert.ok((await got("joined", node.join(newNodeId(), 0, "{}"))).epoch > Math.max(epoch, silent.epoch));
    });

    timed("frees the numbers of the removed", async (stage) => {
      const node = await stage.engine();
      const ids: { id: NodeId; epoch: number; number: number }[] = [];
      for (let count = 0; count < MAX_NODES; count++) {
        const id = newNodeId();
        ids.push({ id, ...(await got("joined", node.join(id, 0, "{}"))) });
      }
      const [lost, ...others] = ids;
      assert.ok(lost);
      for (let passedMs = 0; passedMs <= 2 * REGISTRY_LEASE_MS; passedMs += 2 * BEAT_MS) {
        await stage.advance(2 * BEAT_MS);
        for (const { id, epoch } of others) await got("beaten", node.beat(id, epoch, "{}"));
      }
      assert.equal((await got("joined", node.join(newNodeId(), 0, "{}"))).number, lost.number);
    });
  });
}

async function rowOf(node: Engine, id: NodeId) {
  return (await node.nodes()).rows.find(({ nodeId }) => nodeId === id);
}

/** A node that a test lets beat, and one that stays silent after its join. */
async function pair(stage: Stage) {
  const node = await stage.engine();
  const [id, silentId] = [newNodeId(), newNodeId()];
  const { epoch } = await got("joined", node.join(id, 0, "{}"));
  const silent = { id: silentId, epoch: (await got("joined", node.join(silentId, 0, "{}"))).epoch };
  return { node, id, epoch, silent };
}

async function beatUntilGone(stage: Stage, node: Engine, id: NodeId, epoch: number, silent: NodeId, boundMs: number) {
  for (let passedMs = 0; passedMs <= boundMs; passedMs += BEAT_MS) {
    await stage.wait(BEAT_MS);
    await got("beaten", node.beat(id, epoch, "{}"));
    if (!(await rowOf(node, silent))) return;
  }
  assert.fail(`the row of a silent node is still there ${boundMs} ms later`);
}
