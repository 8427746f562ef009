/** Each interleaving of model/README.md's table that has to do with writing, on the code: without the rule that a test names, it serves what is old. */
import { textsOf } from "../../lib/session/attributes.js";
import { copiesStage, givingUp, isDone, twoNodes } from "../support/copies-stage.js";
import { settled } from "../support/held-wire.js";

const unknown = { code: "ENGINE_TIMEOUT" };

/** A third node whose next write of that kind is given up, and runs later. */
async function withHasty(verb: "commit" | "end") {
  const stage = await twoNodes();
  const hasty = givingUp(verb);
  const c = await stage.node(hasty.front);
  await stage.clock.advance(3_000);
  return { ...stage, c, hasty };
}

test("RACE: NAMED_ACK: an answer to one write's drop doesn't end the waiting for the next one's", async () => {
  const { a, b, medium, clock } = await twoNodes();
  await b.v();
  // What b answers stays under way, though what it asks is answered.
  const letGo = a.wire.holdMessages();
  const first = a.set(2);
  await settled();
  expect(await b.v()).toBe(2);
  const hold = b.wire.holdMessages();
  const second = a.set(3);
  await settled();
  await letGo();
  expect([await isDone(first), await isDone(second)]).toEqual([true, false]);
  await hold();
  await second;
  expect(await b.v()).toBe(3);
  expect(medium.server.nodes().rows).toHaveLength(2);
  await clock.advance(1);
});

test("RACE: NAMED_ACK: of a commit and an end in the same millisecond, too", async () => {
  const { a, b, sid } = await twoNodes();
  await b.v();
  const letGo = a.wire.holdMessages();
  const setting = a.set(2);
  await settled();
  expect(await b.v()).toBe(2);
  const hold = b.wire.holdMessages();
  const ending = a.sessions.end(sid);
  await settled();
  await letGo();
  expect([await isDone(setting), await isDone(ending)]).toEqual([true, false]);
  await hold();
  await ending;
  expect(await b.v()).toBeUndefined();
});

test("RACE: TOLD: who writes while another's drops are under way waits for those who were told", async () => {
  const { a, b, c, hasty } = await withHasty("commit");
  await b.v();
  await c.v();
  const letGo = b.wire.holdMessages();
  hasty.arm();
  await expect(c.set(2)).rejects.toMatchObject(unknown);
  await hasty.run();
  const setting = a.set(3);
  expect(await isDone(setting)).toBe(false);
  expect(await b.v()).toBe(1);
  await letGo();
  await setting;
  expect(await b.v()).toBe(3);
});

test("RACE: TOLD_FOR_WRITER, OWN_COPY: a writer that doesn't know yet that it wrote is told by the next, and drops its older copy", async () => {
  const { a, b } = await twoNodes();
  await b.v();
  const letGo = b.wire.holdReplies();
  const hold = b.wire.holdMessages();
  const mine = b.set(2);
  await settled();
  expect(await b.v()).toBe(1);
  const setting = a.set(3);
  expect(await isDone(setting)).toBe(false);
  await hold();
  await setting;
  // Asks, since its copy is dropped.
  const later = b.v();
  await letGo();
  await mine;
  expect([await later, await b.v()]).toEqual([3, 3]);
});

test("RACE: OWN_COPY: a node that ended a session doesn't serve its copy, nor one that stored without keeping", async () => {
  const { a, b, sid, medium } = await twoNodes();
  await a.v();
  await b.v();
  await b.sessions.end(sid);
  expect([await a.v(), await b.v()]).toEqual([undefined, undefined]);
  expect(medium.server.values.size).toBe(1);
});

test("RACE: OWN_TICKET: a fill from before a node's own write isn't kept after it", async () => {
  const { b, sid } = await twoNodes();
  const letGo = b.wire.holdReplies();
  const reading = b.v();
  await settled();
  b.wire.pass();
  await b.sessions.replace(sid, textsOf({ v: 2 }));
  await letGo();
  expect([await reading, await b.v()]).toEqual([1, 2]);
});

test("RACE: TICKET_FOR_KEPT: what a node wrote isn't kept if it was told of a newer one before it heard", async () => {
  const { a, b } = await twoNodes();
  await b.v();
  const letGo = b.wire.holdReplies();
  const mine = b.set(2);
  await settled();
  await a.set(3);
  await letGo();
  await mine;
  expect(await b.v()).toBe(3);
});

test("RACE: BIT_FOR_WRITER: who keeps what it wrote is told of the next write", async () => {
  const { a, b } = await twoNodes();
  await b.set(2);
  expect(await b.v()).toBe(2);
  const letGo = b.wire.holdMessages();
  const setting = a.set(3);
  expect(await isDone(setting)).toBe(false);
  await letGo();
  await setting;
  expect(await b.v()).toBe(3);
});

test.each(["commit", "end"] as const)(
  "RACE: DROP_TO_WRITER: a late %s of a node that has filled a copy since tells that node itself",
  async (verb) => {
    const { a, c, clock, sid, hasty } = await withHasty(verb);
    await c.v();
    hasty.arm();
    await expect(verb === "end" ? c.sessions.end(sid) : c.set(2)).rejects.toMatchObject(unknown);
    expect(await c.v()).toBe(1);
    await hasty.run();
    await settled();
    // Long enough for the engine to forget whom it told.
    await clock.advance(3_000);
    const done = verb === "end" ? a.sessions.end(sid) : a.set(3);
    await clock.advance(2_500);
    await done;
    expect(await c.v()).toBe(verb === "end" ? undefined : 3);
  },
);

test("RACE: an own write without an answer for a second: its key is asked for, though the timer that gives it up is late", async () => {
  const { b, sid, clock } = await twoNodes();
  await b.v();
  const letGo = b.wire.holdReplies();
  const ending = b.sessions.end(sid);
  await clock.advance(990);
  expect(await b.v()).toBe(1);
  await clock.advance(20);
  const reading = b.v();
  await letGo();
  expect(await reading).toBeUndefined();
  await ending;
});

test("RACE: MARK, WAIT_AT_MARK: an end that finds the mark of one whose drops are under way waits for them", async () => {
  const { a, b, c, sid, hasty } = await withHasty("end");
  await b.v();
  const letGo = b.wire.holdMessages();
  hasty.arm();
  await expect(c.sessions.end(sid)).rejects.toMatchObject(unknown);
  await hasty.run();
  const ending = a.sessions.end(sid);
  expect(await isDone(ending)).toBe(false);
  await letGo();
  expect(await ending).toEqual({ ended: false });
  expect(await b.v()).toBeUndefined();
  expect(await a.sessions.create(sid, textsOf({ v: 9 }))).toMatchObject({ outcome: "gone" });
});

test.each(["end", "put"] as const)(
  "RACE: DROP_WHEN_MISSING: %s of a record that the engine lost tells everybody",
  async (verb) => {
    const { a, b, sid, medium } = await twoNodes();
    await b.v();
    for (const key of medium.server.values.keys()) medium.server.evict(key);
    const letGo = b.wire.holdMessages();
    const work = verb === "end" ? a.sessions.end(sid) : a.sessions.replace(sid, textsOf({ v: 2 }));
    expect(await isDone(work)).toBe(false);
    await letGo();
    await work;
    expect(await b.v()).toBe(verb === "end" ? undefined : 2);
  },
);

test("RACE: a record made anew with a lower version, after the engine's clock went back: copies of the old one are dropped", async () => {
  const { a, b, sid, medium, jump } = await twoNodes();
  await b.v();
  for (const key of medium.server.values.keys()) medium.server.evict(key);
  jump(-200_000);
  const work = a.sessions.replace(sid, textsOf({ v: 2 }));
  await settled();
  await work;
  expect(await b.v()).toBe(2);
});

test("RACE: DOUBT: after the engine's clock jumped over a lease, a writer waits a whole one, and tells whom it told", async () => {
  const { a, b, jump, clock } = await twoNodes();
  await b.v();
  await a.v();
  b.wire.deaf = true;
  jump(60_000);
  const setting = a.set(2);
  let waited = 0;
  for (; !(await isDone(setting)); waited += 50) await clock.advance(50);
  expect(waited).toBeGreaterThanOrEqual(2_000);
  expect(waited).toBeLessThanOrEqual(2_500);
  expect(await b.v()).toBe(2);
});

test("RACE: MARGIN: clocks that disagree unnoticed don't shorten a lease: the engine counts longer than nodes trust", async () => {
  const { a, b, jump, clock } = await twoNodes();
  await b.v();
  await a.v();
  b.wire.deaf = true;
  await clock.advance(1_000);
  jump(240);
  await clock.advance(740);
  const setting = a.set(2);
  while (!(await isDone(setting))) await clock.advance(10);
  expect(await b.v()).toBe(2);
});

test("a writer never waits longer than a lease, also for a node that died before the engine's clock went back", async () => {
  const { a, b, jump, clock } = await twoNodes();
  await b.v();
  b.wire.deaf = true;
  b.wire.holdCommands();
  await clock.advance(10);
  jump(-3_600_000);
  // Over the doubt that the jump casts on the clock.
  await clock.advance(6_000);
  const setting = a.set(2);
  let waited = 0;
  for (; !(await isDone(setting)); waited += 50) await clock.advance(50);
  expect(waited).toBeLessThanOrEqual(2_500);
});

test("nothing of a finished or failed write is remembered: neither timers nor what it waited for", async () => {
  const { a, b, c, clock, hasty } = await withHasty("commit");
  const before = clock.timers();
  for (let v = 2; v < 20; v++) {
    await b.v();
    await a.set(v);
  }
  hasty.arm();
  await expect(c.set(99)).rejects.toMatchObject(unknown);
  await clock.advance(3_000);
  expect(clock.timers()).toBe(before);
});

test("one node alone never waits and never hears a drop", async () => {
  const { nodes } = await copiesStage(1);
  const [only] = nodes;
  for (let v = 2; v < 10; v++) await only?.set(v);
  expect(only?.sessions.reads).toMatchObject({ drops: 0, acks: 0 });
});
