/** What is live of a session over a fleet of nodes in one process, on Redis and on LMDB, with real time: closed everywhere by an end. */
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lmdbEngine } from "anynode/lmdb";
import { memoryEngine } from "anynode/memory";
import { redisEngine } from "anynode/redis";
import type { Engine } from "../../lib/engines/engine.js";
import type { AnynodeOptions } from "../../lib/options.js";
import type { Hold } from "../../lib/registry/hold.js";
import type { Sessions } from "../../lib/sessions.js";
import { aNode, stored } from "../support/a-node.js";
import { engineDouble } from "../support/engine-double.js";
import { FakeSocket } from "../support/fake-socket.js";
import { faultyEngine, seeded } from "../support/faulty-engine.js";
import { manualClock } from "../support/manual-clock.js";
import { type RedisServer, startRedis } from "../support/redis.js";
import { until } from "../support/until.js";

const ROUNDS = process.env["ANYNODE_FULL"] === "1" ? 400 : 40;

let server: RedisServer;
let scratch: string;
beforeAll(async () => {
  server = await startRedis({ tcp: true });
  scratch = await mkdtemp(join(tmpdir(), "anynode-live-"));
});
afterAll(async () => {
  await server.stop();
  await rm(scratch, { recursive: true, force: true });
});

const after: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of after.splice(0).reverse()) await close();
});

type Options = Omit<AnynodeOptions, "engine">;
type Add = (options?: Options, dressed?: (engine: Engine) => Engine) => Promise<Sessions>;

/** Adds nodes to one fleet, each with an engine of its own. */
function fleetOn(newEngine: () => Engine, leased: boolean): Add {
  return async (options = {}, dressed = (engine) => engine) => {
    const engine = newEngine();
    const node = aNode(dressed(engine), options);
    after.push(() => engine.close());
    after.push(() => node.close());
    await node.ready();
    if (leased && options.reads !== "checked") await until("a run", () => node.reads.runs > 0);
    return node;
  };
}
function onRedis(url = server.url): Add {
  const prefix = `test-${randomBytes(6).toString("hex")}:`;
  return fleetOn(() => redisEngine({ url, prefix }), url === server.url);
}
function onLmdb(): Add {
  const dir = join(scratch, randomBytes(6).toString("hex"));
  return fleetOn(() => lmdbEngine({ dir }), false);
}

describe.each([
  { name: "redis", fleet: () => onRedis() },
  { name: "lmdb", fleet: onLmdb },
])("live connections on $name", ({ fleet }) => {
  test("are closed on all nodes when end() resolves, by whichever node it was called", async () => {
    const add = fleet();
    const nodes = [await add(), await add(), await add()] as const;
    for (const ender of nodes) {
      const sid = await stored(nodes[0]);
      const sockets = nodes.flatMap((node) => [1, 2].map(() => ({ node, socket: new FakeSocket() })));
      for (const { node, socket } of sockets) await node.attach(socket, sid);
      expect((await ender.registry.locate(sid)).map(({ number }) => number)).toEqual([0, 1, 2]);
      const startedAt = performance.now();
      expect(await ender.end(sid)).toMatchObject({ ended: true, closed: 6, pending: [], nodes: 3 });
      expect(performance.now() - startedAt).toBeLessThan(1_000);
      expect(sockets.map(({ socket }) => socket.closedWith)).toEqual(sockets.map(() => 4401));
      expect(await ender.end(sid)).toMatchObject({ ended: false, closed: 0, pending: [], nodes: 0 });
      expect(await ender.registry.locate(sid)).toEqual([]);
    }
  });

  test("RACE: holds, releases and ends at once: nothing is live after an end, and each dispose runs once at the most", async () => {
    const add = fleet();
    const nodes = [await add(), await add()] as const;
    const random = seeded(11);
    const pick = (below: number) => Math.floor(random() * below);
    for (let round = 0; round < ROUNDS; round++) {
      const sid = await stored(nodes[0]);
      const disposed: number[] = [];
      const granted = new Set<{ readonly over: boolean }>();
      let [count, released] = [0, 0];
      const visit = async () => {
        for (let left = 3; left > 0; left--) {
          const which = count++;
          const hold = await nodes[pick(2)]?.hold(sid, () => disposed.push(which));
          if (hold !== undefined) granted.add(hold);
          for (let turns = pick(4); turns > 0; turns--) await new Promise(setImmediate);
          if (hold === undefined || hold.over || pick(2) === 0) continue;
          hold.release();
          released += 1;
        }
      };
      const ending = async () => {
        for (let turns = pick(12); turns > 0; turns--) await new Promise(setImmediate);
        const result = await nodes[pick(2)]?.end(sid);
        expect([...granted].filter(({ over }) => !over)).toEqual([]);
        expect(result?.pending).toEqual([]);
      };
      await Promise.all([visit(), visit(), visit(), ending()]);
      expect(new Set(disposed).size).toBe(disposed.length);
      expect(disposed.length).toBe(count - released);
    }
  });

  test("a drained node's sockets are closed with 1001, and the session lives on", async () => {
    const add = fleet();
    const [a, b] = [await add(), await add()];
    const sid = await stored(a);
    const socket = new FakeSocket();
    await b.attach(socket, sid);
    await b.drain();
    expect(socket.closedWith).toBe(1001);
    expect(await a.end(sid)).toMatchObject({ ended: true, closed: 0, pending: [], nodes: 0 });
  });

  test("a session that expires takes what is live of it along; a touch on another node keeps both", async () => {
    const add = fleet();
    const [a, b] = [await add({ idleMs: 1_500 }), await add({ idleMs: 1_500 })];
    const sid = await stored(a);
    const socket = new FakeSocket();
    await b.attach(socket, sid);
    const startedAt = performance.now();
    while (performance.now() - startedAt < 2_500) {
      const loaded = await a.load(sid);
      if (loaded !== undefined) await a.touch(loaded);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(socket.closedWith).toBeUndefined();
    const touchedAt = performance.now();
    await until("it expires", () => socket.closedWith === 4401);
    expect(performance.now() - touchedAt).toBeLessThan(2_500);
  });
});

describe("G3: an end takes what is live along, whatever is delayed, reordered or lost", () => {
  test("once end() resolved nothing of it is served, and soon everything is closed, once", async () => {
    for (let seed = 1; seed <= 5 * ROUNDS; seed++) {
      const random = seeded(seed);
      const pick = (below: number) => Math.floor(random() * below);
      const clock = manualClock();
      const memory = memoryEngine({ clock });
      const lossy = () => aNode(faultyEngine(memory, random, { turns: 4, lost: 0.15 }), { clock });
      const [a, b] = [lossy(), lossy()];
      const witness = aNode(memory, { clock });
      await Promise.all([a, b, witness].map((node) => node.ready()));
      const any = () => [a, b, witness][pick(3)] ?? witness;
      const sid = await stored(witness);
      const told = new Map<number, string[]>();
      const granted: Hold[] = [];
      const visit = async (which: number) => {
        for (let turns = pick(20); turns > 0; turns--) await new Promise(setImmediate);
        const reasons: string[] = [];
        told.set(which, reasons);
        const hold = await any()
          .hold(sid, (reason) => reasons.push(reason))
          .catch(() => undefined);
        if (hold === undefined) return;
        if (pick(3) === 0) hold.release();
        else granted.push(hold);
      };
      const ending = async () => {
        for (let turns = pick(30); turns > 0; turns--) await new Promise(setImmediate);
        for (;;) {
          const ended = await any()
            .end(sid)
            .catch(() => undefined);
          if (ended !== undefined) break;
        }
        for (const hold of granted) expect(await hold.live().catch(() => false)).toBe(false);
      };
      const all = Promise.all([...Array.from({ length: 6 }, (_, which) => visit(which)), ending()]);
      let done = false;
      void all.finally(() => {
        done = true;
      });
      for (let step = 0; step < 500 && !done; step++) await clock.advance(20);
      await all.catch((cause) => {
        throw new Error(`seed ${seed}: ${cause}`, { cause });
      });
      for (let step = 0; step < 20; step++) await clock.advance(500);
      expect({ seed, open: granted.filter(({ over }) => !over).length }).toEqual({ seed, open: 0 });
      for (const reasons of told.values()) expect(reasons.length).toBeLessThanOrEqual(1);
      await Promise.all([a, b, witness].map((node) => node.close()));
    }
  }, 120_000);
});

describe("on redis", () => {
  test("a subscription that broke while a session ended: nothing is served after that, and its socket is closed", async () => {
    const add = onRedis();
    const [a, b] = [await add(), await add()];
    for (let round = 0; round < 3; round++) {
      await until("runs", () => b.reads.mode === "leased" && a.reads.mode === "leased");
      const sid = await stored(a);
      const socket = new FakeSocket();
      await b.attach(socket, sid);
      const killed = server.command("CLIENT", "KILL", "TYPE", "pubsub");
      const { closed, pending } = await a.end(sid);
      socket.receive("too late");
      await killed;
      expect(closed + pending.length).toBe(1);
      await until("it is closed", () => socket.closedWith === 4401, 5_000);
      expect(socket.heard).toEqual([]);
    }
  }, 60_000);

  test("a drop that is lost ends the run: the ended session's socket is closed by a look, and was reported as pending", async () => {
    const add = onRedis();
    const a = await add();
    let deaf = false;
    const b = await add(
      {},
      (engine) =>
        engineDouble(engine, {
          subscribe: (channel, onMessage) =>
            engine.subscribe(channel, (text) => {
              if (!(deaf && text.startsWith("drop"))) onMessage(text);
            }),
        }).engine,
    );
    const sid = await stored(a);
    const socket = new FakeSocket();
    await b.attach(socket, sid);
    deaf = true;
    const startedAt = performance.now();
    const result = await a.end(sid);
    expect(performance.now() - startedAt).toBeLessThan(2_500);
    expect(result).toMatchObject({ ended: true, closed: 0, pending: [b.registry.nodeId], nodes: 1 });
    await until("it is closed", () => socket.closedWith === 4401, 2_000);
    socket.receive("too late");
    expect(socket.heard).toEqual([]);
  });

  test("a node that never caches costs an end two messages too, and a message one look at the record", async () => {
    const add = onRedis();
    const double = { count: (_verb: "read" | "attach") => 0 };
    const checked = await add({ reads: "checked" }, (engine) => {
      const made = engineDouble(engine);
      double.count = made.count;
      return made.engine;
    });
    const a = await add({ reads: "checked" });
    const sid = await stored(a);
    const socket = new FakeSocket();
    await checked.attach(socket, sid);
    const before = double.count("read");
    socket.receive("1");
    await until("it is heard", () => socket.heard.length === 1);
    expect(double.count("read") - before).toBe(1);
    const startedAt = performance.now();
    expect(await a.end(sid)).toMatchObject({ ended: true, closed: 1, pending: [], nodes: 1 });
    expect(performance.now() - startedAt).toBeLessThan(500);
    expect(socket.closedWith).toBe(4401);
  });

  test("a leased node serves messages without asking", async () => {
    const add = onRedis();
    let asked = () => 0;
    const node = await add({}, (engine) => {
      const made = engineDouble(engine);
      asked = () => made.count("read") + made.count("attach") + made.count("fill");
      return made.engine;
    });
    const sid = await stored(node);
    const socket = new FakeSocket();
    await node.attach(socket, sid);
    const before = asked();
    for (let i = 0; i < 100; i++) socket.receive(String(i));
    expect(socket.heard).toHaveLength(100);
    expect(asked() - before).toBe(0);
  });

  test("without channels an end names the holder as pending, and what is live is closed within about a second", async () => {
    const prefix = `test-${randomBytes(6).toString("hex")}:`;
    await server.command("ACL", "SETUSER", "mute", "on", ">secret", "~*", "+@all", "resetchannels");
    const url = server.url.replace("redis://", "redis://mute:secret@");
    const add = fleetOn(() => redisEngine({ url, prefix }), false);
    const [a, b] = [await add(), await add()];
    await until("both ask", () => a.reads.mode === "checked" && b.reads.mode === "checked");
    const sid = await stored(a);
    const socket = new FakeSocket();
    await b.attach(socket, sid);
    const result = await a.end(sid);
    expect(result).toMatchObject({ closed: 0, pending: [b.registry.nodeId], nodes: 1 });
    await until("it is closed", () => socket.closedWith === 4401, 1_500);
  });
});
