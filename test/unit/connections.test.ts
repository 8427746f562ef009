/** What is live of a session, on the memory engine, with a clock that the test moves: who closes what, when, why, and only once. */
import { memoryEngine } from "anynode/memory";
import { type Engine, REGISTRY_LEASE_MS } from "../../lib/engines/engine.js";
import { AnynodeError } from "../../lib/errors.js";
import type { AnynodeOptions } from "../../lib/options.js";
import { textsOf } from "../../lib/session/attributes.js";
import { makeSid } from "../../lib/session/id.js";
import type { Sessions } from "../../lib/sessions.js";
import { tellVisitor } from "../../lib/visitor.js";
import { aNode, loadedOf, saveOf, stored } from "../support/a-node.js";
import { engineDouble, Gate } from "../support/engine-double.js";
import { FakeSocket } from "../support/fake-socket.js";
import { type ManualClock, manualClock } from "../support/manual-clock.js";

const IDLE = 100_000;

/** Lets what is under way go on. */
async function turns(count = 20): Promise<void> {
  for (let left = count; left > 0; left--) await new Promise(setImmediate);
}

interface Fleet {
  readonly clock: ManualClock;
  readonly engine: Engine;
  readonly nodes: readonly [Sessions, Sessions, Sessions];
  add(options?: Omit<AnynodeOptions, "engine">, engine?: Engine): Promise<Sessions>;
}

async function fleet(): Promise<Fleet> {
  const clock = manualClock();
  const engine = memoryEngine({ clock });
  const add = async (options: Omit<AnynodeOptions, "engine"> = {}, own = engine) => {
    const node = aNode(own, { clock, idleMs: IDLE, ...options });
    await node.ready();
    return node;
  };
  return { clock, engine, add, nodes: [await add(), await add(), await add()] };
}

/** Moves the clock until the work has settled. */
async function moving<T>(clock: ManualClock, work: Promise<T>): Promise<T> {
  let settled = false;
  const done = work.finally(() => {
    settled = true;
  });
  for (let step = 0; step < 400 && !settled; step++) await clock.advance(10);
  return done;
}

const nothing = { ended: true, closed: 0, pending: [], nodes: 0 };

describe("an end", () => {
  test("closes what is live of its session on every node before it resolves, and says how much that was", async () => {
    const { nodes, clock } = await fleet();
    const [a, b, c] = nodes;
    const [sid, other] = [await stored(a), await stored(a)];
    const closed: string[] = [];
    const holds = [];
    for (const [name, node] of Object.entries({ a, b, c })) {
      for (const which of [1, 2]) holds.push(await node.hold(sid, (reason) => closed.push(`${name}${which} ${reason}`)));
    }
    const otherHold = await b.hold(other, () => closed.push("other"));
    holds.pop()?.release();
    const result = await moving(clock, a.end(sid));
    expect(result).toMatchObject({ ended: true, closed: 5, pending: [], nodes: 3 });
    expect(closed.sort()).toEqual(["a1 ended", "a2 ended", "b1 ended", "b2 ended", "c1 ended"]);
    expect(otherHold?.over).toBe(false);
    expect(await a.end(other)).toEqual({ ...nothing, closed: 1, nodes: 1 });
  });

  test("of a session of which nothing is live asks nobody", async () => {
    const { nodes, clock, engine } = await fleet();
    const double = engineDouble(engine);
    const node = aNode(double.engine, { clock });
    await node.ready();
    const sid = await stored(node);
    double.forget();
    expect(await node.end(sid)).toEqual(nothing);
    expect([double.count("publish"), double.count("subscribe"), double.count("nodes")]).toEqual([0, 0, 0]);
    expect(await nodes[0].end(sid)).toEqual({ ...nothing, ended: false });
  });

  test("by regenerate closes what was live of the old session", async () => {
    const { nodes, clock } = await fleet();
    const [a, b] = nodes;
    for (const next of [(sid: ReturnType<typeof makeSid>) => makeSid(sid), () => makeSid()]) {
      const sid = await stored(a, { n: 1 });
      const reasons: string[] = [];
      await b.hold(sid, (reason) => reasons.push(reason));
      const to = next(sid);
      const { outcome } = await moving(clock, a.regenerate(sid, await loadedOf(a, sid), to, textsOf({ n: 2 })));
      expect([outcome, ...reasons]).toEqual(["committed", "ended"]);
      expect(await a.registry.locate(to)).toEqual([]);
    }
  });

  test("names a holder that doesn't answer, after its copy lease; one that has no row any more is nobody", async () => {
    const { nodes, clock, engine, add } = await fleet();
    const [a] = nodes;
    const double = engineDouble(engine);
    const stuck = await add({}, double.engine);
    const sid = await stored(a);
    let closed = 0;
    await stuck.hold(sid, () => closed++);
    const again = await stored(a);
    await stuck.hold(again, () => closed++);
    // It hears, but can't be heard.
    double.use({ publish: async () => {} });
    const startedAt = clock.monotonic();
    expect(await moving(clock, a.end(sid))).toEqual({
      ended: true,
      closed: 0,
      pending: [stuck.registry.nodeId],
      nodes: 1,
    });
    expect(clock.monotonic() - startedAt).toBeLessThanOrEqual(2_500);
    expect(closed).toBe(1);
    double.use({ beat: () => Promise.reject(new AnynodeError("ENGINE_UNAVAILABLE", "gone")) });
    for (let at = 0; at < 3 * REGISTRY_LEASE_MS; at += 500) await clock.advance(500);
    expect((await a.registry.nodes()).map(({ nodeId }) => nodeId)).not.toContain(stuck.registry.nodeId);
    expect(await a.end(again)).toEqual(nothing);
  });

  test("that is repeated waits for those whom the first one told", async () => {
    const { nodes, clock } = await fleet();
    const [a, b, c] = nodes;
    const sid = await stored(a);
    let closed = 0;
    await b.hold(sid, () => closed++);
    const both = moving(clock, Promise.all([a.end(sid).then(() => closed), c.end(sid).then(() => closed)]));
    expect(await both).toEqual([1, 1]);
    expect(await c.end(sid)).toEqual({ ...nothing, ended: false });
  });

  test("counts what its holder closed because a look found the session over, before it was told", async () => {
    const { engine, add, nodes, clock } = await fleet();
    const gate = new Gate();
    const node = await add(
      {},
      engineDouble(engine, {
        async subscribe(channel, onMessage) {
          return engine.subscribe(channel, (text) => void gate.passed.then(() => onMessage(text)));
        },
      }).engine,
    );
    const sid = await stored(nodes[0]);
    const socket = new FakeSocket();
    await node.attach(socket, sid);
    const ending = nodes[0].end(sid);
    await turns();
    socket.receive("is anybody there?");
    expect(socket.closedWith).toBe(4401);
    gate.open();
    expect(await moving(clock, ending)).toMatchObject({ ended: true, closed: 1, pending: [], nodes: 1 });
  });

  test("whose outcome is unknown: what is live of it here is looked at at once", async () => {
    const { clock, engine, add } = await fleet();
    const double = engineDouble(engine);
    const node = await add({}, double.engine);
    const sid = await stored(node);
    const reasons: string[] = [];
    await node.hold(sid, (reason) => reasons.push(reason));
    double.use({
      async end(key) {
        await engine.end(key);
        throw new AnynodeError("ENGINE_TIMEOUT", "lost");
      },
    });
    await expect(node.end(sid)).rejects.toThrow("lost");
    await clock.advance(1);
    expect(reasons).toEqual(["ended"]);
  });
});

describe("holding on", () => {
  test("to a session that is over is refused, and said so once: ended, or never was", async () => {
    const { nodes } = await fleet();
    const [a, b] = nodes;
    const sid = await stored(a);
    await a.end(sid);
    const reasons: string[] = [];
    const dispose = (reason: string) => reasons.push(reason);
    for (const whose of [sid, makeSid(), "", {}, { sessionID: sid }]) expect(await b.hold(whose, dispose)).toBeUndefined();
    expect(reasons).toEqual(["ended", "expired", "expired", "expired", "ended"]);
  });

  test("to the session of a request, as its front end knows it", async () => {
    const { nodes } = await fleet();
    const [a, b] = nodes;
    const [first, second] = [await stored(a), await stored(a)];
    const request = {};
    let current = first;
    tellVisitor(request, () => current);
    const over: string[] = [];
    await b.hold(request, () => over.push("first"));
    current = second;
    await b.hold(request, () => over.push("second"));
    await b.hold({ sessionID: second }, () => over.push("third"));
    await b.end(second);
    expect(over).toEqual(["second", "third"]);
  });

  test("rejects when the engine doesn't answer, holds nothing then, and dispose isn't called", async () => {
    const { engine, add, nodes } = await fleet();
    const double = engineDouble(engine);
    const node = await add({}, double.engine);
    const sid = await stored(node);
    double.use({ attach: () => Promise.reject(new AnynodeError("ENGINE_UNAVAILABLE", "away")) });
    let disposed = 0;
    await expect(node.hold(sid, () => disposed++)).rejects.toThrow("away");
    double.use({});
    await nodes[0].end(sid);
    expect(disposed).toBe(0);
  });

  test("is written to the engine with the first and removed with the last; locate shows who it is", async () => {
    const { engine, nodes, clock } = await fleet();
    const [a, b] = nodes;
    const double = engineDouble(engine);
    const node = aNode(double.engine, { clock, name: "the holder", address: "http://here" });
    await node.ready();
    const sid = await stored(node);
    double.forget();
    const [one, two] = [await node.hold(sid, () => {}), await node.hold(sid, () => {})];
    expect([double.count("attach"), double.count("subscribe")]).toEqual([1, 1]);
    expect(await a.registry.locate(sid)).toMatchObject([
      { nodeId: node.registry.nodeId, number: 3, name: "the holder", address: "http://here", state: "live" },
    ]);
    await b.hold(sid, () => {});
    expect((await a.registry.locate(sid)).map(({ number }) => number)).toEqual([1, 3]);
    one?.release();
    one?.release();
    await turns();
    expect(double.count("detach")).toBe(0);
    two?.release();
    await turns();
    expect(double.count("detach")).toBe(1);
    expect((await a.registry.locate(sid)).map(({ number }) => number)).toEqual([1]);
    expect(await a.registry.locate("")).toEqual([]);
  });

  test("a detach that failed is sent again", async () => {
    const { engine, add, nodes, clock } = await fleet();
    const double = engineDouble(engine);
    const node = await add({}, double.engine);
    const sid = await stored(node);
    double.use({ detach: () => Promise.reject(new AnynodeError("ENGINE_UNAVAILABLE", "away")) });
    (await node.hold(sid, () => {}))?.release();
    await clock.advance(3_000);
    expect(await nodes[0].registry.locate(sid)).toHaveLength(1);
    double.use({});
    await clock.advance(1_000);
    expect(await nodes[0].registry.locate(sid)).toHaveLength(0);
  });

  test("a dispose that throws or rejects keeps nobody from being closed, and is told", async () => {
    const { nodes, clock } = await fleet();
    const [a, b] = nodes;
    const sid = await stored(a);
    const failures: unknown[] = [];
    b.on("dispose-failed", ({ error }) => failures.push(error));
    const closed: string[] = [];
    await b.hold(sid, () => {
      throw new Error("thrown");
    });
    await b.hold(sid, () => Promise.reject(new Error("rejected")));
    await b.hold(sid, () => closed.push("last"));
    expect(await moving(clock, a.end(sid))).toMatchObject({ closed: 3, pending: [] });
    expect(closed).toEqual(["last"]);
    expect(failures.map(String).sort()).toEqual(["Error: rejected", "Error: thrown"]);
  });

  test("its signal is aborted when the session ends, once it is asked for or before", async () => {
    const { nodes } = await fleet();
    const [a] = nodes;
    const sid = await stored(a);
    const hold = await a.hold(sid, () => {});
    const late = await a.hold(sid, () => {});
    const released = await a.hold(sid, () => {});
    const signal = hold?.signal;
    released?.release();
    expect(signal?.aborted).toBe(false);
    await a.end(sid);
    expect([signal?.aborted, late?.signal.aborted, hold?.over]).toEqual([true, true, true]);
    expect(signal?.reason).toMatchObject({ name: "AbortError" });
    expect(await hold?.live()).toBe(false);
  });
});

describe("RACE: each dispose runs once, and no hold outlives its session", () => {
  test("an end while an attach is under way", async () => {
    const { engine, add, nodes, clock } = await fleet();
    for (const order of ["written first", "ended first"]) {
      const [sent, gate] = [new Gate(), new Gate()];
      const double = engineDouble(engine);
      const node = await add({}, double.engine);
      const sid = await stored(nodes[0]);
      double.use({
        async attach(key, holder) {
          if (order === "written first") {
            const reply = await engine.attach(key, holder);
            sent.open();
            await gate.passed;
            return reply;
          }
          sent.open();
          await gate.passed;
          return engine.attach(key, holder);
        },
      });
      const reasons: string[] = [];
      const holding = node.hold(sid, (reason) => reasons.push(reason));
      await sent.passed;
      const result = await moving(clock, nodes[0].end(sid));
      expect(result.closed).toBe(order === "written first" ? 1 : 0);
      gate.open();
      expect(await holding).toBeUndefined();
      await turns();
      expect(reasons).toEqual(["ended"]);
    }
  });

  test("an end while a detach is under way: nobody is waited for in vain", async () => {
    const { engine, add, nodes, clock } = await fleet();
    const [sent, gate] = [new Gate(), new Gate()];
    const double = engineDouble(engine, {
      async detach(key, holder) {
        sent.open();
        await gate.passed;
        return engine.detach(key, holder);
      },
    });
    const node = await add({}, double.engine);
    const sid = await stored(nodes[0]);
    let disposed = 0;
    (await node.hold(sid, () => disposed++))?.release();
    await sent.passed;
    expect(await moving(clock, nodes[0].end(sid))).toEqual(nothing);
    gate.open();
    await turns();
    expect(disposed).toBe(0);
  });

  test("a new hold while the detach of the last one is under way, and reaches the engine late", async () => {
    const { engine, add, nodes, clock } = await fleet();
    const [sent, gate] = [new Gate(), new Gate()];
    const double = engineDouble(engine, {
      async detach(key, holder) {
        sent.open();
        await gate.passed;
        return engine.detach(key, holder);
      },
    });
    const node = await add({}, double.engine);
    const sid = await stored(nodes[0]);
    (await node.hold(sid, () => {}))?.release();
    await sent.passed;
    const reasons: string[] = [];
    await node.hold(sid, (reason) => reasons.push(reason));
    gate.open();
    await turns();
    expect(await moving(clock, nodes[0].end(sid))).toMatchObject({ closed: 1, pending: [], nodes: 1 });
    expect(reasons).toEqual(["ended"]);
  });

  test("an end on both nodes at once, a release in between", async () => {
    const { nodes, clock } = await fleet();
    const [a, b, c] = nodes;
    const sid = await stored(a);
    const calls: number[] = [];
    const holds = [];
    for (let i = 0; i < 10; i++) holds.push(await (i % 2 ? b : c).hold(sid, () => calls.push(i)));
    const ends = Promise.all([a.end(sid), b.end(sid)]);
    holds[4]?.release();
    await moving(clock, ends);
    expect(calls.sort((x, y) => x - y)).toEqual([0, 1, 2, 3, 5, 6, 7, 8, 9]);
  });

  test("a number that was given to another node: its answer isn't taken for the dead one's", async () => {
    const { engine, nodes, clock, add } = await fleet();
    const [a] = nodes;
    const sid = await stored(a);
    const dead = { ...a.registry.identity, nodeId: (await add()).registry.identity.nodeId, number: 1, epoch: 7, turn: 1 };
    const [listed] = await collect(a);
    if (listed === undefined) throw new Error("no session");
    await engine.attach(listed.key, dead);
    const result = await moving(clock, a.end(sid));
    // Its row stands under another number: whatever it holds it will close, but it hasn't said so.
    expect(result).toMatchObject({ ended: true, closed: 0, pending: [dead.nodeId], nodes: 1 });
  });

  test("a node that was fenced is a holder under its new name", async () => {
    const { engine, nodes, clock, add } = await fleet();
    const [a] = nodes;
    const double = engineDouble(engine);
    const node = await add({}, double.engine);
    const sid = await stored(a);
    const reasons: string[] = [];
    await node.hold(sid, (reason) => reasons.push(reason));
    const { epoch } = node.registry.identity;
    await engine.leave(node.registry.identity.nodeId, epoch); // as if it had been lost
    expect(await a.registry.locate(sid)).toEqual([]);
    await clock.advance(2_500);
    expect(node.registry.identity.epoch).toBeGreaterThan(epoch);
    expect((await a.registry.locate(sid)).map(({ nodeId }) => nodeId)).toEqual([node.registry.nodeId]);
    expect(await moving(clock, a.end(sid))).toMatchObject({ closed: 1, pending: [] });
    expect(reasons).toEqual(["ended"]);
  });
});

async function collect(node: Sessions) {
  const all = [];
  for await (const loaded of node.list()) all.push(loaded);
  return all;
}

describe("a deadline", () => {
  test("closes what is live at it, not before, and not if another node extended the session", async () => {
    const { nodes, clock } = await fleet();
    const [a, b] = nodes;
    const sid = await stored(a);
    const closed: [string, number][] = [];
    const startedAt = clock.monotonic();
    await b.hold(sid, (reason) => closed.push([reason, clock.monotonic() - startedAt]));
    await clock.advance(IDLE / 2);
    await saveOf(a, await loadedOf(a, sid), { n: 1 });
    await clock.advance(IDLE - 10);
    expect(closed).toEqual([]);
    await clock.advance(20);
    expect(closed).toHaveLength(1);
    expect(closed[0]?.[0]).toBe("expired");
    expect(closed[0]?.[1]).toBeLessThanOrEqual(1.5 * IDLE + 5);
  });

  test("of the whole session closes it too", async () => {
    const { clock, add } = await fleet();
    const node = await add({ absoluteMs: 5_000 });
    const sid = await stored(node);
    const reasons: string[] = [];
    await node.hold(sid, (reason) => reasons.push(reason));
    await clock.advance(4_990);
    expect(reasons).toEqual([]);
    await clock.advance(20);
    expect(reasons).toEqual(["expired"]);
  });

  test("isn't moved by a socket's traffic, unless keepAlive says so", async () => {
    const { nodes, clock } = await fleet();
    const [a, b] = nodes;
    const outcomes: (number | undefined)[] = [];
    for (const keepAlive of [false, true]) {
      const sid = await stored(a);
      const socket = new FakeSocket();
      await b.attach(socket, sid, { keepAlive });
      for (let i = 0; i < 15; i++) {
        await clock.advance(IDLE / 10);
        socket.receive("hello");
      }
      outcomes.push(socket.closedWith);
    }
    expect(outcomes).toEqual([4401, undefined]);
  });
});

describe("a socket", () => {
  test("hears its messages in order, those too that came before it was attached; none once its session ended", async () => {
    const { nodes, clock } = await fleet();
    const [a, b] = nodes;
    const sid = await stored(a);
    const socket = new FakeSocket();
    const attaching = b.attach(socket, sid);
    expect(socket.paused).toBe(true);
    socket.receive("1");
    socket.receive("2");
    expect(await attaching).toBeDefined();
    await turns();
    expect([socket.paused, ...socket.heard]).toEqual([false, "1", "2"]);
    socket.receive("3");
    expect(socket.heard).toEqual(["1", "2", "3"]);
    expect(await moving(clock, a.end(sid))).toMatchObject({ closed: 1 });
    socket.receive("4");
    expect([socket.closedWith, socket.paused, ...socket.heard]).toEqual([4401, false, "1", "2", "3"]);
    await clock.advance(2_000);
    expect(socket.terminated).toBe(true);
  });

  test("of an ended session hears nothing although its node wasn't told yet: the record is looked at with each message", async () => {
    const { nodes, engine, clock, add } = await fleet();
    const deaf = await add({}, engineDouble(engine, { subscribe: async () => ({ close: async () => {} }) }).engine);
    const sid = await stored(nodes[0]);
    const socket = new FakeSocket();
    await deaf.attach(socket, sid);
    const ending = nodes[0].end(sid);
    await turns();
    socket.receive("too late");
    expect([socket.closedWith, ...socket.heard]).toEqual([4401]);
    expect((await moving(clock, ending)).pending).toEqual([deaf.registry.nodeId]);
  });

  test("RACE: a look that was under way when a message came is no proof for that message", async () => {
    const { nodes, engine, clock, add } = await fleet();
    const gate = new Gate();
    const subscribe = async () => ({ close: async () => {} });
    const double = engineDouble(engine, { local: false, subscribe });
    const remote = await add({}, double.engine);
    const sid = await stored(nodes[0]);
    const socket = new FakeSocket();
    await remote.attach(socket, sid);
    double.use({
      local: false,
      subscribe,
      async read(key, version) {
        const reply = await engine.read(key, version);
        await gate.passed;
        return reply;
      },
    });
    socket.receive("before the end");
    await turns();
    await moving(clock, nodes[0].end(sid));
    socket.receive("after it");
    expect(socket.heard).toEqual([]);
    gate.open();
    await turns();
    expect([socket.closedWith, ...socket.heard]).toEqual([4401, "before the end"]);
  });

  test("that nobody may have is closed: without a session 4401, while the node drains 1001, without an engine 1013", async () => {
    const { nodes, engine, add } = await fleet();
    const double = engineDouble(engine);
    const node = await add({}, double.engine);
    const sid = await stored(node);
    const codes: (number | undefined)[] = [];
    const tried = async (whose: object | string) => {
      const socket = new FakeSocket();
      expect(await node.attach(socket, whose)).toBeUndefined();
      socket.receive("early");
      codes.push(socket.closedWith);
      expect(socket.heard).toEqual([]);
    };
    await tried({});
    double.use({ attach: () => Promise.reject(new AnynodeError("ENGINE_TIMEOUT", "late")) });
    await tried(sid);
    double.use({});
    await node.drain();
    await tried(sid);
    expect(codes).toEqual([4401, 1013, 1001]);
    expect(await nodes[0].load(sid)).toBeDefined();
  });

  test("that closed by itself holds nothing any more, also if it closed while it was being attached", async () => {
    const { nodes, clock } = await fleet();
    const [a, b] = nodes;
    const sid = await stored(a);
    const [early, later] = [new FakeSocket(), new FakeSocket()];
    const attaching = b.attach(early, sid);
    early.gone();
    await attaching;
    await b.attach(later, sid);
    later.gone();
    await turns();
    expect(await a.registry.locate(sid)).toEqual([]);
    expect(await moving(clock, a.end(sid))).toEqual(nothing);
    expect([early.closedWith, later.closedWith]).toEqual([undefined, undefined]);
  });

  test("when a node drains is asked to come back elsewhere, before the row is given up; its session lives on", async () => {
    const { nodes } = await fleet();
    const [a, b] = nodes;
    const sid = await stored(a);
    const socket = new FakeSocket();
    await b.attach(socket, sid);
    await b.drain();
    expect(socket.closedWith).toBe(1001);
    expect(await a.load(sid)).toBeDefined();
    expect(await a.end(sid)).toEqual(nothing);
  });
});

test("in an outage what is live stays open, and its messages wait; onOutage: close closes it", async () => {
  const { engine, add, nodes, clock } = await fleet();
  const double = engineDouble(engine);
  const node = await add({}, double.engine);
  const sid = await stored(nodes[0]);
  const [kept, strict] = [new FakeSocket(), new FakeSocket()];
  await node.attach(kept, sid);
  await node.attach(strict, sid, { onOutage: "close" });
  double.use({ read: () => Promise.reject(new AnynodeError("ENGINE_UNAVAILABLE", "away")) });
  kept.receive("while away");
  await clock.advance(3_000);
  expect([kept.closedWith, kept.paused, ...kept.heard]).toEqual([undefined, true]);
  expect(strict.closedWith).toBe(1013);
  kept.receive("and more");
  double.use({});
  await clock.advance(1_000);
  expect([kept.paused, ...kept.heard]).toEqual([false, "while away", "and more"]);
});
