/** Each interleaving of model/README.md's table that has to do with reading, on the code: without the rule that a test names, it serves what is old. */
import { isDone, twoNodes } from "../support/copies-stage.js";
import { settled } from "../support/held-wire.js";

describe("reads and fills", () => {
  test("a copy is served without asking, and is the node's own write as well as what it read", async () => {
    const { a, b } = await twoNodes();
    expect(await b.v()).toBe(1);
    const { asked } = b.sessions.reads;
    for (let i = 0; i < 10; i++) expect(await b.v()).toBe(1);
    await b.set(2);
    expect(await b.v()).toBe(2);
    expect(b.sessions.reads.asked).toBe(asked);
    expect(await a.v()).toBe(2);
  });

  test("RACE: TICKET: a fill's reply that comes after a drop isn't kept", async () => {
    const { a, b } = await twoNodes();
    const letGo = b.wire.holdReplies();
    const reading = b.v();
    await settled();
    await a.set(2);
    await letGo();
    expect(await reading).toBe(1);
    expect(await b.v()).toBe(2);
  });

  test("RACE: JOINING: a request that starts after a write doesn't share a fill from before it", async () => {
    const { a, b } = await twoNodes();
    const letGo = b.wire.holdReplies();
    const reading = b.v();
    await settled();
    expect(await isDone(b.v())).toBe(false);
    await a.set(2);
    const later = b.v();
    await letGo();
    expect([await reading, await later]).toEqual([1, 2]);
  });

  test("1,000 requests for a cold session share one fill", async () => {
    const { b } = await twoNodes();
    const { asked } = b.sessions.reads;
    expect(new Set(await Promise.all(Array.from({ length: 1_000 }, () => b.v())))).toEqual(new Set([1]));
    expect(b.sessions.reads.asked).toBe(asked + 1);
  });

  test("RACE: JOINING: nor one that the engine had no room to write down, of which nobody would have told", async () => {
    const { a, b, sid, medium } = await twoNodes();
    medium.server.full = true;
    const letGo = b.wire.holdReplies();
    const reading = b.v();
    await settled();
    await a.sessions.end(sid);
    const later = b.v();
    await letGo();
    expect([await reading, await later]).toEqual([1, undefined]);
  });

  test("what the engine had no room to write down isn't a copy", async () => {
    const { a, b, sid, medium } = await twoNodes();
    medium.server.full = true;
    const { asked } = b.sessions.reads;
    for (let i = 0; i < 3; i++) expect(await b.v()).toBe(1);
    expect(b.sessions.reads.asked).toBe(asked + 3);
    await a.sessions.end(sid);
    expect(await b.v()).toBeUndefined();
  });

  test("RACE: RUN_FOR_TICKET: what was asked outside of a run isn't copied, though a run begins before the reply", async () => {
    const { a, b, clock } = await twoNodes();
    b.wire.deaf = true;
    await clock.advance(2_600);
    const letGo = b.wire.holdReplies();
    const reading = b.v();
    await settled();
    b.wire.holdReplies();
    await a.set(2);
    b.wire.deaf = false;
    // Beats still run, and their echoes come.
    await clock.advance(1_000);
    await letGo();
    expect(await reading).toBe(1);
    expect(await b.v()).toBe(2);
  });
});

describe("the lease", () => {
  test("RACE: COUNT: a node that lost one message stops trusting with the next echo", async () => {
    const { a, b, clock } = await twoNodes();
    await b.v();
    b.wire.deaf = true;
    const setting = a.set(2);
    await settled();
    b.wire.deaf = false;
    expect(await b.v()).toBe(1);
    await clock.advance(600);
    expect(await b.v()).toBe(2);
    await clock.advance(3_000);
    await setting;
  });

  test("RACE: ECHO_RENEWS, WAIT_FOR_SILENT: a node that hears nothing trusts for a lease; the writer waits for that long, no longer", async () => {
    const { a, b, clock } = await twoNodes();
    await b.v();
    b.wire.deaf = true;
    const setting = a.set(2);
    let waited = 0;
    while (!(await isDone(setting))) {
      await clock.advance(50);
      waited += 50;
      if (waited > 2_500) throw new Error("too long");
    }
    expect(waited).toBeGreaterThanOrEqual(2_000);
    expect(await b.v()).toBe(2);
  });

  test("RACE: SENT_TIME: the lease counts from when the beat was sent, however late its echo comes", async () => {
    const { a, b, clock } = await twoNodes();
    const letGo = b.wire.holdMessages();
    await clock.advance(1_900);
    await letGo();
    expect(await b.v()).toBe(1);
    b.wire.deaf = true;
    const setting = a.set(2);
    while (!(await isDone(setting))) await clock.advance(20);
    expect(await b.v()).toBe(2);
  });

  test("RACE: WAIT: a write isn't complete while the drop is on its way", async () => {
    const { a, b } = await twoNodes();
    await b.v();
    const letGo = b.wire.holdMessages();
    const setting = a.set(2);
    expect(await isDone(setting)).toBe(false);
    await letGo();
    await setting;
    expect(await b.v()).toBe(2);
  });

  test("a write that nobody has a copy of waits for nobody, after a clean leave neither", async () => {
    const { a, b, clock } = await twoNodes();
    await a.set(2);
    await b.v();
    await b.sessions.drain();
    b.wire.deaf = true;
    await a.set(3);
    expect(await b.v()).toBe(3);
    expect(clock.timers()).toBeLessThan(10);
  });

  test("RACE: RUN_ENDS_FIRST: a node that leaves serves nothing more from its copies, and makes none", async () => {
    const { a, b } = await twoNodes();
    await b.v();
    await b.sessions.drain();
    b.wire.deaf = true;
    await a.set(2);
    expect(await b.v()).toBe(2);
    const { asked } = b.sessions.reads;
    await b.v();
    expect(b.sessions.reads.asked).toBe(asked + 1);
  });
});
