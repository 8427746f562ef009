/**
 * The contract of copies, for engines with `fill`: who has a copy is written down with the read, told of every write, and waited for.
 * Engines without it have nobody to tell: the same writes wait for no one.
 */
import assert from "node:assert/strict";
import {
  COPY_LEASE_MS,
  type Committed,
  type Ended,
  type Engine,
  LEASE_MARGIN_MS,
  NO_NODE,
  nodeChannel,
  type Writer,
} from "../engines/engine.js";
import type { Key, NodeId } from "../names.js";
import { got, isGone, later, newKey, newNodeId, type Part, type Stage, until } from "./stage.js";

const LEASE_MS = COPY_LEASE_MS + LEASE_MARGIN_MS;
const body = Buffer.from("next");

/** A node that has joined, trusts copies, and hears its channel. */
interface Member {
  readonly engine: Engine;
  readonly id: NodeId;
  readonly number: number;
  readonly epoch: number;
  readonly heard: string[];
  writes(more?: Partial<Writer>): Writer;
  /** Whether the engine has written down that this node has a copy; false of engines without copies. */
  fills(key: Key): Promise<boolean>;
  beats(serial?: number): Promise<void>;
}

export function copiesPart({ describe, test, timed }: Part): void {
  describe("a copy", () => {
    test("is written down with the read, found or the same, and told of the next write", async (stage) => {
      const [a, b, key] = [await member(stage), await member(stage), newKey()];
      const { version } = await made(a.engine, key);
      const first = await a.engine.fill?.(key, { number: a.number, epoch: a.epoch, generation: a.epoch });
      const again = await a.engine.fill?.(key, { number: a.number, epoch: a.epoch, generation: a.epoch }, version);
      if (first !== undefined && again !== undefined) {
        assert.deepEqual([first.counts, again.counts, again.read.outcome], [true, true, "same"]);
        assert.equal(first.read.outcome === "found" && first.read.body.toString(), "first");
      }
      const next = await got("committed", b.engine.commit(key, version, body, later, b.writes()));
      waitsFor(b, next, [a]);
      await hears(a, `drop ${key} ${next.version} ${b.number} ${b.epoch} 7 new`);
      assert.deepEqual(b.heard.filter(isDrop), []);
    });

    test("of a missing or ended session is none", async (stage) => {
      const [a, key] = [await member(stage), newKey()];
      const missing = await a.engine.fill?.(key, { number: a.number, epoch: a.epoch, generation: a.epoch });
      await a.engine.end(key);
      const ended = await a.engine.fill?.(key, { number: a.number, epoch: a.epoch, generation: a.epoch });
      if (missing !== undefined)
        assert.deepEqual([missing.counts, { ...missing.read }], [false, { outcome: "gone", ended: false }]);
      if (ended !== undefined) assert.deepEqual([ended.counts, { ...ended.read }], [false, { outcome: "gone", ended: true }]);
      await isGone(a.engine, key, true);
    });

    test("is a writer's own, too, if it means to keep what it writes; the writer isn't told of its own write", async (stage) => {
      const [a, b, key] = [await member(stage), await member(stage), newKey()];
      const first = await got("committed", a.engine.create(key, body, later, a.writes({ keep: true }), true));
      const own = await got("committed", a.engine.commit(key, first.version, body, later, a.writes({ keep: true })));
      waitsFor(a, own, []);
      const next = await got("committed", b.engine.commit(key, own.version, body, later, b.writes({ keep: false })));
      waitsFor(b, next, [a]);
      await hears(a, `drop ${key} ${next.version} ${b.number} ${b.epoch} 7 new`);
      assert.equal(a.heard.filter(isDrop).length, a.engine.fill === undefined ? 0 : 1);
    });

    test("that was told of is waited for by the next writer as well, for one lease; its own lease over, it is only told", async (stage) => {
      const [a, b, key, other] = [await member(stage), await member(stage), newKey(), newKey()];
      const { version } = await made(a.engine, key);
      await made(a.engine, other);
      for (const each of [key, other]) await a.fills(each);
      const first = await got("committed", b.engine.commit(key, version, body, later, b.writes()));
      const second = await got("committed", b.engine.commit(key, first.version, body, later, b.writes()));
      waitsFor(b, second, [a]);
      await stage.wait(LEASE_MS);
      const drops = a.heard.filter(isDrop).length;
      waitsFor(b, await b.engine.end(other, b.writes()), []);
      if (a.engine.fill !== undefined) await until("it was told", () => a.heard.filter(isDrop).length > drops);
      await a.beats();
      const third = await got("committed", b.engine.commit(key, second.version, body, later, b.writes()));
      waitsFor(b, third, []);
    });

    test("is told of the end, by an end that finds the mark too, and of a regeneration", async (stage) => {
      const [a, b, key, from, to] = [await member(stage), await member(stage), newKey(), newKey("tag"), newKey("tag")];
      await made(a.engine, key);
      const { version } = await made(a.engine, from);
      for (const each of [key, from]) await a.fills(each);
      waitsFor(b, await b.engine.end(key, b.writes()), [a]);
      waitsFor(b, await b.engine.end(key, b.writes({ serial: 8 })), [a]);
      const moved = await got("committed", b.engine.regenerate(from, version, to, body, later, b.writes({ serial: 9 })));
      waitsFor(b, moved, [a]);
      if (a.engine.fill !== undefined) {
        await until("all were heard", () => a.heard.filter(isDrop).length >= 3);
        assert.deepEqual(
          a.heard.filter(isDrop).map((text) => text.split(" ").slice(-2)),
          [7, 8, 9].map((serial) => [String(serial), "end"]),
        );
      }
    });

    test("of what the engine lost may be anybody's: who writes there tells all, but not under an id made just now", async (stage) => {
      const [a, b] = [await member(stage), await member(stage)];
      waitsFor(b, await b.engine.end(newKey(), b.writes()), [a]);
      waitsFor(b, await got("committed", b.engine.create(newKey(), body, later, b.writes())), [a]);
      waitsFor(b, await got("committed", b.engine.create(newKey(), body, later, b.writes(), true)), []);
    });

    test("of a node that left is nobody's", async (stage) => {
      const [a, b, key] = [await member(stage), await member(stage), newKey()];
      await made(a.engine, key);
      await a.fills(key);
      await a.engine.leave(a.id, a.epoch);
      waitsFor(b, await b.engine.end(key, b.writes()), []);
      waitsFor(b, await b.engine.end(newKey(), b.writes()), []);
    });
  });

  describe("a holder", () => {
    test("is told of the end of its session like one with a copy; the writer is, too, if it is one: it may have given the end up", async (stage) => {
      const [a, b, key] = [await member(stage), await member(stage), newKey()];
      await made(a.engine, key);
      for (const { engine, id, number, epoch } of [a, b]) {
        await got("attached", engine.attach(key, { nodeId: id, number, epoch, turn: 1 }));
      }
      const ended = await b.engine.end(key, b.writes());
      waitsFor(b, ended, [a]);
      for (const each of [a, b]) await hears(each, `drop ${key} ${ended.now} ${b.number} ${b.epoch} 7 end`);
      const drops = b.heard.filter(isDrop).length;
      await b.beats(2);
      if (b.engine.fill === undefined) return;
      await until("the echo came", () => b.heard.some((text) => text.startsWith("echo 2")));
      const counts = b.heard.filter((text) => !isDrop(text)).map((text) => Number(text.split(" ")[3]));
      assert.equal(Number(counts[1]) - Number(counts[0]), drops);
    });
  });

  describe("a writer in doubt", () => {
    test("of the engine's clock waits whole leases, also for those who were told long ago", async (stage) => {
      const [a, b, key] = [await member(stage), await member(stage), newKey()];
      const { version, now } = await made(a.engine, key);
      await a.fills(key);
      const first = await got("committed", b.engine.commit(key, version, body, later, b.writes()));
      await stage.wait(LEASE_MS);
      const second = await got("committed", b.engine.commit(key, first.version, body, later, b.writes({ doubt: "clock" })));
      waitsFor(b, second, [a], LEASE_MS);
      // Sent, it says, long before, or long after, the engine got it.
      const third = await got("committed", b.engine.commit(key, second.version, body, later, b.writes({ sentAt: now - 9_000 })));
      waitsFor(b, third, [a], LEASE_MS);
      const fourth = await got("committed", b.engine.commit(key, third.version, body, later, b.writes({ sentAt: now + 60_000 })));
      waitsFor(b, fourth, [a], LEASE_MS);
    });

    test("whom the engine doesn't know any more waits a whole lease for nobody, where nothing is", async (stage) => {
      const b = await member(stage);
      const stranger = b.writes({ number: 62 });
      const key = newKey();
      const { version } = await made(b.engine, key);
      const { waitFor } = await b.engine.end(newKey(), stranger);
      if (b.engine.fill === undefined) assert.deepEqual([...waitFor], []);
      else assert.deepEqual(waitFor[0], { number: -1, leftMs: LEASE_MS });
      // A record that is there says itself who may have a copy.
      waitsFor(b, await got("committed", b.engine.commit(key, version, body, later, stranger)), []);
    });

    test("of who is there is followed by others that wait for nobody, as long as the first one does", async (stage) => {
      const [a, b, key] = [await member(stage), await member(stage), newKey()];
      const { version } = await got("committed", b.engine.create(key, body, later, b.writes({ doubt: "nodes" })));
      for (const { waitFor } of [
        await got("committed", b.engine.commit(key, version, body, later, b.writes())),
        await b.engine.end(key, a.writes()),
        await b.engine.end(key, b.writes()),
      ]) {
        const stranger = waitFor.find(({ number }) => number === -1);
        assert.equal(stranger !== undefined, b.engine.fill !== undefined);
        if (stranger !== undefined) assert.ok(stranger.leftMs > 0 && stranger.leftMs <= LEASE_MS);
      }
    });

    test("that gave its write up, and has filled a copy since, is told of it like any other", async (stage) => {
      const [a, key] = [await member(stage), newKey()];
      const { version } = await made(a.engine, key);
      const late = a.writes({ keep: true });
      await a.engine.fill?.(key, { number: a.number, epoch: a.epoch, generation: a.epoch + 1 });
      const ran = await got("committed", a.engine.commit(key, version, body, later, late));
      waitsFor(a, ran, []);
      await hears(a, `drop ${key} ${ran.version} ${a.number} ${a.epoch} 7 new`);
    });
  });

  describe("a lease", () => {
    test("is proved by echoes on the node's own channel, which count the drops published there", async (stage) => {
      const [a, b, key] = [await member(stage), await member(stage), newKey()];
      if (a.engine.fill === undefined) return void assert.deepEqual(a.heard, []);
      await until("the first echo came", () => a.heard.length === 1);
      await made(b.engine, key);
      await a.fills(key);
      for (let round = 0; round < 3; round++) await b.engine.end(key, b.writes());
      await a.beats(2);
      await until("the second echo came", () => a.heard.length === 5);
      const [first, second] = a.heard.filter((text) => !isDrop(text)).map((text) => text.split(" "));
      assert.deepEqual([first?.[1], second?.[1], second?.[2]], ["1", "2", String(a.epoch)]);
      assert.equal(Number(second?.[3]) - Number(first?.[3]), 3);
    });

    timed("never seems longer than it is, after the clock went back", async ({ advance, ...stage }) => {
      const [a, b, key] = [await member(stage), await member(stage), newKey()];
      await made(a.engine, key);
      await a.fills(key);
      await advance(-3_600_000);
      waitsFor(b, await b.engine.end(key, b.writes()), [a], LEASE_MS);
    });
  });
}

/** A first record under a key made just now: of that nobody is told. */
function made(engine: Engine, key: Key): Promise<Committed> {
  return got("committed", engine.create(key, Buffer.from("first"), later, NO_NODE, true));
}

async function member(stage: Pick<Stage, "engine">): Promise<Member> {
  const [engine, id, heard] = [await stage.engine(), newNodeId(), [] as string[]];
  const { number, epoch } = await got("joined", engine.join(id, 0, "{}"));
  await engine.subscribe(nodeChannel(number), (message) => void heard.push(message));
  const beats = async (serial = 1) => void (await got("beaten", engine.beat(id, epoch, "{}", { serial, trusts: true })));
  await beats();
  return {
    engine,
    id,
    number,
    epoch,
    heard,
    beats,
    writes: (more = {}) => ({ ...NO_NODE, number, epoch, generation: epoch, serial: 7, ...more }),
    fills: async (key) => (await engine.fill?.(key, { number, epoch, generation: epoch }))?.counts === true,
  };
}

/** Fails unless the writer is to wait for exactly these, each for no longer than a lease; or for `leftMs`. */
function waitsFor(writer: Member, { waitFor }: Committed | Ended, whom: readonly Member[], leftMs?: number): void {
  const expected = writer.engine.fill === undefined ? [] : whom.map(({ number }) => number);
  assert.deepEqual(
    waitFor.map(({ number }) => number),
    expected,
  );
  for (const waiting of waitFor) {
    assert.ok(waiting.leftMs > 0 && waiting.leftMs <= LEASE_MS);
    if (leftMs !== undefined) assert.equal(waiting.leftMs, leftMs);
  }
}

async function hears({ engine, heard }: Member, message: string): Promise<void> {
  if (engine.fill !== undefined) await until(`it was heard: ${message}`, () => heard.includes(message));
}

function isDrop(message: string): boolean {
  return message.startsWith("drop ");
}
