/** Nodes that were paused, fenced, or joined anew, and clocks that jumped: who may answer, be told, and trust its idea of time. */
import type { Engine } from "../../lib/engines/engine.js";
import { textsOf } from "../../lib/session/attributes.js";
import { makeSid } from "../../lib/session/id.js";
import { copiesStage, isDone, twoNodes } from "../support/copies-stage.js";
import { engineDouble } from "../support/engine-double.js";
import { settled } from "../support/held-wire.js";

/** What a third node sends with its writes, seen on their way. */
async function withWitness() {
  const stage = await copiesStage(2);
  const witness: Parameters<Engine["end"]>[1][] = [];
  const end = (engine: Engine): Engine["end"] => {
    return (key, by) => {
      witness.push(by);
      return engine.end(key, by);
    };
  };
  const c = await stage.node((engine) => engineDouble(engine, { end: end(engine) }).engine);
  const ends = async () => {
    await c.sessions.end(makeSid());
    return witness.at(-1);
  };
  return { ...stage, c, ends };
}

test("a node that just joined can't vouch for the engine's clock; one that joined again, nor for who is there; each for a lease", async () => {
  const { c, ends, clock, medium } = await withWitness();
  const first = ends();
  await clock.advance(2_400);
  expect(await first).toMatchObject({ doubt: "clock" });
  const calm = ends();
  await clock.advance(10);
  expect(await calm).toMatchObject({ doubt: "none", number: c.sessions.registry.number });
  const row = medium.server.nodes().rows.find(({ nodeId }) => nodeId === c.sessions.registry.nodeId);
  if (row === undefined) throw new Error("no row");
  medium.server.leave(row.nodeId, row.epoch);
  await clock.advance(600);
  const again = ends();
  await clock.advance(2_500);
  expect(await again).toMatchObject({ doubt: "nodes" });
  const late = ends();
  await clock.advance(10);
  expect(await late).toMatchObject({ doubt: "none" });
});

test("a node that sees the engine's clock jump ends its run, and is in doubt for a lease", async () => {
  const { c, ends, clock, jump } = await withWitness();
  await clock.advance(3_000);
  const { runs } = c.sessions.reads;
  jump(5_000);
  await clock.advance(1_100);
  expect(c.sessions.reads.runs).toBe(runs + 1);
  const doubting = ends();
  await clock.advance(2_600);
  expect(await doubting).toMatchObject({ doubt: "clock" });
});

test("a node without a beat for five seconds writes as nobody, and answers nobody: its number may be another's", async () => {
  const { c, ends, clock, nodes, sid } = await withWitness();
  await clock.advance(3_000);
  await c.v();
  const holding = c.wire.holdReplies();
  await clock.advance(5_100);
  c.wire.pass();
  const { acks } = c.sessions.reads;
  const ending = nodes[0]?.sessions.end(sid);
  await settled();
  await clock.advance(2_500);
  await ending;
  expect(c.sessions.reads.acks).toBe(acks);
  const mine = ends();
  await clock.advance(2_500);
  expect(await mine).toMatchObject({ number: -1, doubt: "nodes" });
  await holding();
});

test("an echo and an answer of another epoch are for whoever had the number before", async () => {
  const { a, b, medium, clock, sid } = await twoNodes();
  await b.v();
  const channel = (node: typeof a) => `node-${node.sessions.registry.number}`;
  const before = a.sessions.reads.runs;
  medium.publish(channel(a), "echo 1 12345 999 1");
  const hold = b.wire.holdMessages();
  const ending = a.sessions.end(sid);
  for (let serial = 1; serial < 30; serial++) medium.publish(channel(a), `acks ${b.sessions.registry.number} 12345 ${serial}`);
  expect(await isDone(ending)).toBe(false);
  await hold();
  await ending;
  await clock.advance(600);
  expect(a.sessions.reads.runs).toBe(before);
});

test("at its deadline a copy is read again, so that what another node extended is seen, and what expired isn't served", async () => {
  const { a, b, clock } = await twoNodes();
  const sid = makeSid();
  await a.sessions.create(sid, textsOf({}), { idleMs: 1_000 });
  const loaded = await b.sessions.load(sid);
  if (loaded === undefined) throw new Error("not there");
  await clock.advance(600);
  await a.sessions.touch(loaded);
  await clock.advance(500);
  const { asked } = b.sessions.reads;
  expect(await b.sessions.load(sid)).toBeDefined();
  expect(b.sessions.reads.asked).toBe(asked + 1);
  await clock.advance(600);
  expect(await b.sessions.load(sid)).toBeUndefined();
});

test("RACE: a fill isn't shared either while an own write has had no answer for a second", async () => {
  const { b, sid, clock } = await twoNodes();
  const hold = b.wire.holdReplies();
  const reading = b.v();
  const ending = b.sessions.end(sid);
  await clock.advance(1_010);
  b.wire.pass();
  expect(await b.v()).toBeUndefined();
  await hold();
  await Promise.all([reading, ending]);
});

test("keys that two nodes write in turn, unread, are soon copied by neither", async () => {
  const { a, b, sid } = await twoNodes();
  for (let v = 2; v < 9; v++) await (v % 2 === 0 ? a : b).sessions.replace(sid, textsOf({ v }));
  const { asked } = b.sessions.reads;
  for (let i = 0; i < 3; i++) expect(await b.v()).toBe(8);
  expect(b.sessions.reads.asked).toBe(asked + 3);
});

describe("LIMIT: under which conditions the promises hold (docs/guarantees.md)", () => {
  test("an ended mark that the engine evicts answers nothing any more: a late write may make the session anew", async () => {
    const { a, b, sid, medium } = await twoNodes();
    await a.sessions.end(sid);
    for (const key of medium.server.values.keys()) medium.server.evict(key);
    await b.sessions.replace(sid, textsOf({ v: 2 }));
    expect(await a.v()).toBe(2);
  });

  test("everything is lost, and a node that was never there before ends what it doesn't find: others serve it until their next echo", async () => {
    const { b, sid, medium, node, clock } = await twoNodes();
    await b.v();
    medium.server.loseAll();
    const c = await node();
    const ending = c.sessions.end(sid);
    await settled();
    expect([await isDone(ending), await b.v()]).toEqual([true, 1]);
    await clock.advance(600);
    expect(await b.v()).toBeUndefined();
  });

  test("an id that the application makes again at once, and calls new, is nobody's business: copies of the old session stay", async () => {
    const { a, b, sid, medium } = await twoNodes();
    await b.v();
    for (const key of medium.server.values.keys()) medium.server.evict(key);
    await a.sessions.create(sid, textsOf({ v: 2 }));
    expect(await b.v()).toBe(1);
  });

  test("who writes past the library, without a number, is told to others all the same; its own answers it can't hear", async () => {
    const { b, medium, sid, clock } = await twoNodes();
    await b.v();
    const [key] = medium.server.values.keys();
    if (key === undefined) throw new Error("no record");
    expect((await medium.engine().end(key)).waitFor).toHaveLength(2);
    await clock.advance(1);
    expect(await b.sessions.load(sid)).toBeUndefined();
  });
});
