/**
 * The Redis engine when things go wrong with a real server: frozen, killed, replaced, demoted, full, forbidding. And which options it
 * refuses. What every engine must do is in test/contract.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { inspect } from "node:util";
import { type RedisEngineOptions, redisEngine } from "anynode/redis";
import { Redis } from "ioredis";
import { createClient, createClientPool, createCluster, createSentinel } from "redis";
import type { Engine } from "../../lib/engines/engine.js";
import type { AnynodeError } from "../../lib/errors.js";
import { isKey, isNodeId, isVersion, type Key, type NodeId, type Version } from "../../lib/names.js";
import { startProxy } from "../support/proxy.js";
import { type RedisServer, startRedis } from "../support/redis.js";

const { ANYNODE_FULL } = process.env;
const DEADLINE_MS = 400;
/** What the machine may add to a deadline when it is busy. */
const SLACK_MS = 1_000;
const BACK_MS = 2_000;
const IDLE = { idleMs: 60_000, absoluteAt: 0 };
const BODY = Buffer.from("a body");

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

/** What is to be closed after a test. */
const after: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of after.splice(0).reverse()) await close();
});

type Make = (options?: Partial<RedisEngineOptions>) => Promise<Engine>;
const prefix = () => `test-${randomBytes(6).toString("hex")}:`;

const byUrl: Make = async (options) =>
  closed(redisEngine({ url: server.url, prefix: prefix(), deadlineMs: DEADLINE_MS, ...options }));
const byUrlWithIoredis: Make = async (options) =>
  withoutPackages(["redis"], (make) => closed(make({ url: server.url, prefix: prefix(), deadlineMs: DEADLINE_MS, ...options })));
const givenNodeRedis: Make = async (options) => {
  const client = await nodeRedis();
  return closed(redisEngine({ client, prefix: prefix(), deadlineMs: DEADLINE_MS, ...options }));
};
const givenIoredis: Make = async (options) =>
  closed(redisEngine({ client: ioredis(), prefix: prefix(), deadlineMs: DEADLINE_MS, ...options }));

async function nodeRedis(options: Parameters<typeof createClient>[0] = {}) {
  const client = createClient({ socket: { path: server.socket, tls: false }, ...options });
  client.on("error", () => {});
  await client.connect();
  after.push(() => client.destroy());
  return client;
}

function ioredis(options: object = {}): Redis {
  const client = new Redis({ path: server.socket, ...options });
  client.on("error", () => {});
  after.push(() => client.disconnect());
  return client;
}

function closed(engine: Engine): Engine {
  after.push(() => engine.close());
  return engine;
}

/** As in an application where these packages aren't installed. */
function withoutPackages(names: readonly string[], work: (make: typeof redisEngine) => Engine): Engine {
  let engine: Engine | undefined;
  jest.isolateModules(() => {
    for (const name of names)
      jest.doMock(name, () => {
        throw Object.assign(new Error(`Cannot find module '${name}'`), { code: "MODULE_NOT_FOUND" });
      });
    try {
      const fresh: typeof import("anynode/redis") = require("anynode/redis");
      engine = work(fresh.redisEngine);
    } finally {
      for (const name of names) jest.dontMock(name);
    }
  });
  if (engine === undefined) throw new Error("no engine");
  return engine;
}

function newKey(): Key {
  const key = `{tag}${randomBytes(16).toString("base64url")}`;
  if (!isKey(key)) throw new Error("not a key");
  return key;
}
function newNodeId(): NodeId {
  const id = randomBytes(9).toString("base64url");
  if (!isNodeId(id)) throw new Error("not a node id");
  return id;
}

async function stored(engine: Engine, key: Key): Promise<Version> {
  const created = await engine.create(key, BODY, IDLE);
  if (created.outcome !== "committed") throw new Error(created.outcome);
  return created.version;
}

/** The code with which a verb failed, or "fine", and how long that took. */
async function codeOf(work: () => unknown): Promise<{ code: string; ms: number; error?: unknown }> {
  const from = performance.now();
  const since = () => performance.now() - from;
  try {
    await work();
    return { code: "fine", ms: since() };
  } catch (error) {
    return { code: isAnynodeError(error) ? error.code : `not ours: ${inspect(error)}`, ms: since(), error };
  }
}

/** Not instanceof: an engine from isolated modules has a class of its own. */
function isAnynodeError(error: unknown): error is AnynodeError {
  return error instanceof Error && error.name === "AnynodeError" && "code" in error;
}

/** Asks again and again until the verb works; how long that took. */
async function back(work: () => Promise<unknown>): Promise<number> {
  const from = performance.now();
  while (performance.now() - from < 10_000) {
    if ((await codeOf(work)).code === "fine") return performance.now() - from;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error("not back within 10 s");
}

async function stat(section: string, name: string): Promise<number> {
  const info = String(await server.command("INFO", section));
  return Number(new RegExp(`^${name}[:=](?:calls=)?(\\d+)`, "m").exec(info)?.[1] ?? 0);
}

describe.each([
  { name: "by URL, node-redis", make: byUrl, own: true },
  { name: "by URL, ioredis", make: byUrlWithIoredis, own: true },
  { name: "a given node-redis client", make: givenNodeRedis, own: false },
  { name: "a given ioredis client", make: givenIoredis, own: false },
])("the redis engine, $name", ({ make, own }) => {
  test("a frozen Redis: verbs end as unknown within the deadline, later ones as errors; it is back when Redis is", async () => {
    const engine = await make();
    const key = newKey();
    const version = await stored(engine, key);
    server.freeze();
    try {
      const answers = await Promise.all([
        codeOf(() => engine.read(key)),
        codeOf(() => engine.commit(key, version, BODY, IDLE)),
        codeOf(() => engine.end(newKey())),
      ]);
      for (const { code, ms } of answers) {
        expect(code).toBe("ENGINE_TIMEOUT");
        expect(ms).toBeLessThan(DEADLINE_MS + SLACK_MS);
      }
      const later = await codeOf(() => engine.read(key));
      expect(later.code).toMatch(/^ENGINE_(TIMEOUT|UNAVAILABLE)$/);
      expect(later.ms).toBeLessThan(DEADLINE_MS + SLACK_MS);
    } finally {
      server.thaw();
    }
    expect(await back(async () => engine.read(key))).toBeLessThan(BACK_MS);
  });

  test("a Redis killed and started again, empty: errors at once meanwhile, back within 2 s", async () => {
    const engine = await make();
    const key = newKey();
    const heard: string[] = [];
    await engine.subscribe("news", (message) => heard.push(message));
    await stored(engine, key);
    await server.kill();
    for (let i = 0; i < 5; i++) {
      const { code, ms } = await codeOf(() => engine.read(key));
      expect(code).toMatch(/^ENGINE_(TIMEOUT|UNAVAILABLE)$/);
      expect(ms).toBeLessThan(DEADLINE_MS + SLACK_MS);
    }
    await back(async () => {
      const { code } = await codeOf(() => engine.read(key));
      if (code !== "ENGINE_UNAVAILABLE") throw new Error(code);
    });
    const late = newKey();
    expect((await codeOf(() => stored(engine, late))).code).toBe("ENGINE_UNAVAILABLE");
    await server.restart();
    // An application's client waits as long as it was told to.
    expect(await back(async () => engine.read(key))).toBeLessThan(own ? BACK_MS : 5_000);
    expect(await engine.read(key)).toEqual({ outcome: "gone", ended: false });
    // What failed as not sent isn't sent later, by whatever queue.
    expect(await engine.read(late)).toEqual({ outcome: "gone", ended: false });
    await stored(engine, key);
    await back(async () => {
      await engine.publish("news", "again");
      if (heard.length === 0) throw new Error("not heard yet");
    });
  });

  test("every connection killed by CLIENT KILL: back within 2 s, and no acknowledged write is lost or applied twice", async () => {
    const engine = await make();
    const key = newKey();
    let version = await stored(engine, key);
    let acknowledged = 0;
    for (let round = 0; round < 10; round++) {
      const killed = server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
      const commit = engine.commit(key, version, Buffer.from(String(round)), IDLE).catch(() => undefined);
      await killed;
      const outcome = await commit;
      let now: Awaited<ReturnType<Engine["read"]>> | undefined;
      expect(
        await back(async () => {
          now = await engine.read(key);
        }),
      ).toBeLessThan(own ? BACK_MS : 5_000);
      if (now?.outcome !== "found") throw new Error(now?.outcome);
      // A conflict would mean that our own commit was sent twice: nobody else writes.
      expect(outcome?.outcome ?? "unknown").toMatch(/^(committed|unknown)$/);
      if (outcome?.outcome === "committed") {
        acknowledged++;
        expect(now.version).toBe(outcome.version);
        expect(String(now.body)).toBe(String(round));
      }
      version = now.version;
    }
    expect(acknowledged).toBeGreaterThan(0);
  });

  test("SCRIPT FLUSH: nobody notices, and each script is loaded once", async () => {
    const engine = await make();
    const key = newKey();
    await stored(engine, key);
    await server.command("SCRIPT", "FLUSH");
    const before = await stat("commandstats", "cmdstat_script\\|load");
    await Promise.all(Array.from({ length: 20 }, () => stored(engine, newKey())));
    expect((await stat("commandstats", "cmdstat_script\\|load")) - before).toBe(1);
  });

  test("a demoted primary refuses writes, beats included; back when there is a primary again", async () => {
    const engine = await make();
    const key = newKey();
    const version = await stored(engine, key);
    const nodeId = newNodeId();
    const joined = await engine.join(nodeId, 0, "{}");
    if (joined.outcome !== "joined") throw new Error(joined.outcome);
    await server.command("REPLICAOF", "127.0.0.1", "1");
    try {
      expect((await codeOf(() => engine.beat(nodeId, joined.epoch, "{}"))).code).toBe("ENGINE_UNAVAILABLE");
      expect((await codeOf(() => engine.commit(key, version, BODY, IDLE))).code).toBe("ENGINE_UNAVAILABLE");
      expect((await codeOf(() => engine.beat(newNodeId(), 1, "{}"))).code).toBe("ENGINE_UNAVAILABLE");
    } finally {
      await server.command("REPLICAOF", "NO", "ONE");
    }
    expect(await back(() => engine.beat(nodeId, joined.epoch, "{}"))).toBeLessThan(BACK_MS);
    expect(await engine.read(key, version)).toMatchObject({ outcome: "same" });
  });

  test("at maxmemory: what stores is refused and changes nothing; read, touch, end and the registry work", async () => {
    const engine = await make();
    const [key, other] = [newKey(), newKey()];
    const version = await stored(engine, key);
    await stored(engine, other);
    await engine.list()[Symbol.asyncIterator]().next();
    await server.command("CONFIG", "SET", "maxmemory", "1");
    try {
      expect((await codeOf(() => engine.create(newKey(), BODY, IDLE))).code).toBe("ENGINE_FULL");
      expect((await codeOf(() => engine.commit(key, version, Buffer.from("b"), IDLE))).code).toBe("ENGINE_FULL");
      expect((await codeOf(() => engine.regenerate(key, version, newKey(), BODY, IDLE))).code).toBe("ENGINE_FULL");
      expect(await engine.read(key)).toMatchObject({ outcome: "found", version, body: BODY });
      expect(await engine.touch(key, version, { idleMs: 90_000, absoluteAt: 0 })).toMatchObject({ outcome: "touched" });
      expect(await engine.read(key)).toMatchObject({ outcome: "found", version, body: BODY });
      expect(await engine.end(other)).toMatchObject({ outcome: "ended" });
      expect(await engine.end(newKey())).toMatchObject({ outcome: "missing" });
      expect(await engine.read(other)).toEqual({ outcome: "gone", ended: true });
      const nodeId = newNodeId();
      const joined = await engine.join(nodeId, 0, "{}");
      if (joined.outcome !== "joined") throw new Error(joined.outcome);
      expect(await engine.beat(nodeId, joined.epoch, '{"more":1}')).toMatchObject({ outcome: "beaten" });
      await engine.leave(nodeId, joined.epoch);
    } finally {
      await server.command("CONFIG", "SET", "maxmemory", "0");
    }
  });

  test("Redis itself enforces the idle deadline: the key's TTL is the record's", async () => {
    const chosen = prefix();
    const engine = await make({ prefix: chosen });
    const key = newKey();
    const expiresAt = async (of: Key) => Number(await server.command("PEXPIRETIME", chosen + of)) + 1;
    const created = await engine.create(key, BODY, IDLE);
    if (created.outcome !== "committed") throw new Error(created.outcome);
    expect(created.idleAt).toBe(created.now + IDLE.idleMs);
    expect(await expiresAt(key)).toBe(created.idleAt);
    const committed = await engine.commit(key, created.version, BODY, { idleMs: 90_000, absoluteAt: created.now + 70_000 });
    if (committed.outcome !== "committed") throw new Error(committed.outcome);
    expect(committed.idleAt).toBe(created.now + 70_000);
    expect(await expiresAt(key)).toBe(committed.idleAt);
    const touched = await engine.touch(key, committed.version, IDLE);
    if (touched.outcome !== "touched") throw new Error(touched.outcome);
    expect(await expiresAt(key)).toBe(touched.idleAt);
    expect(await engine.read(key, committed.version)).toEqual({
      outcome: "same",
      version: committed.version,
      idleAt: touched.idleAt,
    });
    const ended = await engine.end(key);
    expect(await expiresAt(key)).toBe(ended.now + 300_000);
  });

  test("a deadline that has come leaves nothing behind, by commit or by touch", async () => {
    const chosen = prefix();
    const engine = await make({ prefix: chosen });
    for (const idleMs of [0, -5]) {
      const [one, two] = [newKey(), newKey()];
      expect(await engine.commit(one, await stored(engine, one), BODY, { idleMs, absoluteAt: 0 })).toMatchObject({
        outcome: "committed",
      });
      expect(await engine.touch(two, await stored(engine, two), { idleMs: 5, absoluteAt: 1 })).toMatchObject({
        outcome: "touched",
      });
      expect(await server.command("EXISTS", chosen + one, chosen + two)).toBe(0);
    }
  });

  test("another's value under our key is told, and left as it is", async () => {
    const chosen = prefix();
    const engine = await make({ prefix: chosen });
    const [text, list] = [newKey(), newKey()];
    await server.command("SET", chosen + text, "not ours");
    await server.command("RPUSH", chosen + list, "not ours");
    const version = await stored(engine, newKey());
    for (const key of [text, list]) {
      expect((await codeOf(() => engine.read(key))).code).toBe("RECORD_UNREADABLE");
      expect((await codeOf(() => engine.read(key, version))).code).toBe("RECORD_UNREADABLE");
      expect((await codeOf(() => engine.create(key, BODY, IDLE))).code).toBe("RECORD_UNREADABLE");
      expect((await codeOf(() => engine.commit(key, version, BODY, IDLE))).code).toBe("RECORD_UNREADABLE");
      expect((await codeOf(() => engine.touch(key, version, IDLE))).code).toBe("RECORD_UNREADABLE");
    }
    expect(await server.command("GET", chosen + text)).toBe("not ours");
    expect(await server.command("LLEN", chosen + list)).toBe(1);
  });

  test("a body doesn't hold on to the network buffer that it came in", async () => {
    const engine = await make();
    const key = newKey();
    await stored(engine, key);
    const found = await engine.read(key);
    if (found.outcome !== "found") throw new Error(found.outcome);
    expect(found.body.buffer.byteLength).toBeLessThanOrEqual(8_192);
  });

  test("no key, payload or argument leaves in an error, cause included", async () => {
    const engine = await make();
    const key = newKey();
    const secret = "the-payload-of-a-visitor";
    await engine.open();
    const errors: unknown[] = [];
    const collect = async (work: () => unknown) => errors.push((await codeOf(work)).error);
    await server.command("ACL", "SETUSER", "default", "-evalsha", "-get");
    await collect(() => engine.create(key, Buffer.from(secret), IDLE));
    await collect(() => engine.read(key));
    await server.command("ACL", "SETUSER", "default", "+@all");
    await server.command("CONFIG", "SET", "maxmemory", "1");
    await collect(() => engine.create(key, Buffer.from(secret), IDLE));
    await server.command("CONFIG", "SET", "maxmemory", "0");
    server.freeze();
    const frozen = collect(() => engine.create(key, Buffer.from(secret), IDLE));
    await frozen;
    const killed = collect(() => engine.create(key, Buffer.from(secret), IDLE));
    await server.restart();
    await killed;
    expect(errors).toHaveLength(5);
    for (const error of errors) {
      expect(isAnynodeError(error)).toBe(true);
      const everything = inspect(error, { depth: 10, showHidden: true });
      expect(everything).not.toContain(key);
      expect(everything).not.toContain(secret);
      expect(everything).not.toContain(Buffer.from(secret).toString("hex").slice(0, 20));
    }
    await back(async () => engine.read(key));
  });
});

describe.each([
  { name: "node-redis", make: byUrl },
  { name: "ioredis", make: byUrlWithIoredis },
])("a connection of our own, $name", ({ make }) => {
  test("that fell silent without breaking is given up for a new one, subscriptions too", async () => {
    const proxy = await startProxy(server.socket);
    after.push(() => proxy.stop());
    const engine = await make({ url: proxy.url });
    const key = newKey();
    await stored(engine, key);
    const heard: string[] = [];
    await engine.subscribe("news", (message) => heard.push(message));
    proxy.silence();
    const { code, ms } = await codeOf(() => engine.read(key));
    expect(code).toBe("ENGINE_TIMEOUT");
    expect(ms).toBeLessThan(DEADLINE_MS + SLACK_MS);
    expect(await back(async () => engine.read(key))).toBeLessThan(BACK_MS);
    // Nothing tells that the other connection fell silent, but who asks anything of it.
    expect((await codeOf(() => engine.subscribe("more", () => {}))).code).toBe("ENGINE_TIMEOUT");
    await back(async () => {
      await engine.publish("news", "again");
      if (heard.length === 0) throw new Error("not heard yet");
    });
  });

  test("to a demoted primary is given up for one to whatever is there now", async () => {
    const promoted = await startRedis();
    after.push(() => promoted.stop());
    const proxy = await startProxy(server.socket);
    after.push(() => proxy.stop());
    const engine = await make({ url: proxy.url });
    await stored(engine, newKey());
    await server.command("REPLICAOF", "127.0.0.1", "1");
    after.push(() => server.command("REPLICAOF", "NO", "ONE"));
    proxy.leadTo(promoted.socket);
    expect((await codeOf(() => stored(engine, newKey()))).code).toBe("ENGINE_UNAVAILABLE");
    expect(await back(() => stored(engine, newKey()))).toBeLessThan(BACK_MS);
    expect(proxy.connections).toBeLessThan(6);
  });
});

describe("the redis engine and permissions", () => {
  test("a user who may neither INFO nor use channels: sessions work, the channel says why it doesn't", async () => {
    const chosen = prefix();
    await server.command(
      "ACL",
      "SETUSER",
      "weak",
      "on",
      ">hush",
      `~${chosen}*`,
      "resetchannels",
      "+@all",
      "-info",
      "-@dangerous",
    );
    const engine = await byUrl({ url: server.url.replace("unix://", "unix://weak:hush@localhost"), prefix: chosen });
    await engine.open();
    const key = newKey();
    const version = await stored(engine, key);
    expect(await engine.read(key, version)).toMatchObject({ outcome: "same" });
    expect(await engine.join(newNodeId(), 0, "{}")).toMatchObject({ outcome: "joined" });
    for (const work of [() => engine.publish("news", "x"), () => engine.subscribe("news", () => {})]) {
      const { code, error } = await codeOf(work);
      expect(code).toBe("ENGINE_UNAVAILABLE");
      expect(String(error)).toContain("ACL");
    }
  });

  test.each([
    { name: "node-redis", make: byUrl },
    { name: "ioredis", make: byUrlWithIoredis },
  ])("a wrong password is named as such and never shown ($name)", async ({ make }) => {
    const engine = await make({ url: server.url.replace("unix://", "unix://default:sesame-open@localhost") });
    await server.command("CONFIG", "SET", "requirepass", "right");
    after.push(() => server.restart());
    const { code, error } = await codeOf(() => engine.open());
    expect(code).toBe("ENGINE_UNAVAILABLE");
    expect(String(error)).toContain("the password");
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain("sesame");
    const { error: none } = await codeOf(async () => (await make()).open());
    expect(String(none)).toContain("asks for a password");
  });
});

describe("a given client", () => {
  test("is never closed nor subscribed on, and keeps no listener of ours", async () => {
    const one = await nodeRedis();
    const two = ioredis();
    const listeners = (client: NodeJS.EventEmitter) => client.eventNames().map((name) => [name, client.listenerCount(name)]);
    await two.ping();
    for (const client of [one, two]) {
      const before = listeners(client);
      const engine = redisEngine({ client, prefix: prefix() });
      const subscription = await engine.subscribe("news", () => {});
      await stored(engine, newKey());
      await subscription.close();
      await engine.close();
      expect(listeners(client)).toEqual(before);
    }
    expect([await one.ping(), await two.ping()]).toEqual(["PONG", "PONG"]);
    expect(one.isPubSubActive).toBe(false);
    expect(two.mode).toBe("normal");
  });

  test.each([
    ["node-redis, RESP2", () => nodeRedis({ RESP: 2 })],
    ["node-redis, RESP3", () => nodeRedis({ RESP: 3 })],
    [
      "node-redis, everything mapped to strings",
      () => nodeRedis({ commandOptions: { typeMapping: { 58: String, 36: Buffer, 42: Array } } }),
    ],
    ["ioredis, RESP2", async () => ioredis({ protocol: 2 })],
    ["ioredis, RESP3", async () => ioredis({ protocol: 3 })],
    ["ioredis, numbers as strings", async () => ioredis({ stringNumbers: true })],
    ["ioredis, still connecting and lazy", async () => ioredis({ lazyConnect: true })],
  ])("may be set up otherwise: %s", async (_name, client) => {
    const engine = closed(redisEngine({ client: await client(), prefix: prefix() }));
    const key = newKey();
    const version = await stored(engine, key);
    expect(isVersion(version)).toBe(true);
    expect(await engine.read(key)).toMatchObject({ outcome: "found", version, body: BODY });
    expect(await engine.commit(key, version, BODY, IDLE)).toMatchObject({ outcome: "committed", now: expect.any(Number) });
    const joined = await engine.join(newNodeId(), 0, "{}");
    expect(joined).toMatchObject({ outcome: "joined", number: 0, revision: expect.any(Number) });
    const heard = new Promise<string>(
      (resolve) => void engine.subscribe("news", resolve).then(() => engine.publish("news", "ü")),
    );
    expect(await heard).toBe("ü");
    const listed: Key[] = [];
    for await (const record of engine.list()) listed.push(record.key);
    expect(listed).toEqual([key]);
  });

  test.each([
    ["pool", () => createClientPool({ socket: { path: server.socket, tls: false } }, {}), "node-redis pool"],
    ["node-redis Cluster", () => createCluster({ rootNodes: [{ url: "redis://127.0.0.1:1" }] }), "Cluster"],
    ["ioredis Cluster", () => new Redis.Cluster([{ port: 1 }], { lazyConnect: true }), "Cluster"],
    ["node-redis Sentinel", () => createSentinel({ name: "x", sentinelRootNodes: [{ host: "127.0.0.1", port: 1 }] }), "Sentinel"],
    ["keyPrefix of ioredis", () => ioredis({ keyPrefix: "app:", lazyConnect: true }), "keyPrefix"],
    ["keyPrefix of node-redis", () => createClient({ keyPrefix: "app:" }), "keyPrefix"],
    ["automatic pipelines", () => ioredis({ enableAutoPipelining: true, lazyConnect: true }), "enableAutoPipelining"],
    ["node-redis 4", () => ({ sendCommand() {}, isReady: true, duplicate() {}, options: {} }), "node-redis 4"],
    ["ioredis 4", () => ({ callBuffer() {}, status: "ready", options: { dropBufferSupport: false } }), "ioredis 4"],
    ["something else", () => ({ get() {}, set() {} }), "none that anynode knows"],
    ["a string", () => "redis://localhost", "a string"],
  ])("is refused with the cure: %s", (_name, client, what) => {
    // @ts-expect-error: what the types forbid
    const make = () => redisEngine({ client: client() });
    expect(make).toThrow(what);
    expect(make).toThrow("redis://host:6379");
  });

  test.each([
    ["node-redis", (url: string) => nodeRedis({ url, socket: {} })],
    ["ioredis, which sends it again", async (url: string) => new Redis(url)],
  ])("a commit whose reply was lost is unknown, never a conflict with itself (%s)", async (_name, connect) => {
    const proxy = await startProxy(server.socket);
    after.push(() => proxy.stop());
    const client = await connect(proxy.url);
    client.on("error", () => {});
    after.push(() => (client instanceof Redis ? client.disconnect() : undefined));
    const chosen = prefix();
    const engine = closed(redisEngine({ client, prefix: chosen, deadlineMs: 3_000 }));
    const key = newKey();
    // The first commit teaches the server the script: the one that counts is a single command.
    const first = await engine.commit(key, await stored(engine, key), BODY, IDLE);
    if (first.outcome !== "committed") throw new Error(first.outcome);
    const { version } = first;
    const direct = await byUrl({ prefix: chosen });
    proxy.loseReplies();
    const commit = codeOf(() => engine.commit(key, version, BODY, IDLE));
    await back(async () => {
      if ((await direct.read(key, version)).outcome === "same") throw new Error("not committed yet");
    });
    proxy.cut();
    expect(await commit).toMatchObject({ code: "ENGINE_TIMEOUT" });
    expect(await back(async () => engine.read(key))).toBeLessThan(5_000);
  });

  test("of node-redis that isn't connected is refused with the cure by open()", async () => {
    const engine = redisEngine({ client: createClient({ socket: { path: server.socket, tls: false } }) });
    const { code, error } = await codeOf(() => engine.open());
    expect(code).toBe("ENGINE_UNSUPPORTED");
    expect(String(error)).toContain("await client.connect()");
  });
});

describe("options", () => {
  test.each(["", "a*", "a?", "[a", "a]", "a\\", "a^", "{a", "a}", "a b", "a\n", "a\0", "a\u200b", "x".repeat(65)])(
    "the prefix %j is refused",
    (wrong) => {
      expect(() => redisEngine({ prefix: wrong })).toThrow(/prefix.*must be 1 to 64 printable characters.*Use something like/);
    },
  );

  test.each([
    "http://u:sesame@h",
    "redis://u:sesame@h/x",
    "redis://u:ses#ame@h:bad",
    "not a url sesame",
    "redis+unix://u:sesame@elsewhere/socket",
    "redis://u:sesame%zz@h",
  ])("the URL %j is refused, and not shown", (url) => {
    const make = () => redisEngine({ url });
    expect(make).toThrow(/The Redis URL .*Use redis:/);
    expect(make).not.toThrow(/sesame|ame@/);
  });

  test("a deadline out of bounds is refused", () => {
    for (const deadlineMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 60_001])
      expect(() => redisEngine({ deadlineMs })).toThrow(/deadlineMs is .* must be 1 to 60000/);
  });

  test("a URL without a client package names what to install", () => {
    expect(() => withoutPackages(["redis", "ioredis"], (make) => make({ url: "redis://localhost" }))).toThrow(
      "npm install redis",
    );
  });

  test.each([
    { name: "node-redis", make: byUrl },
    { name: "ioredis", make: byUrlWithIoredis },
  ])("nobody there: open() says so, may be called again, and connects once somebody is ($name)", async ({ make }) => {
    const own = await startRedis({ tcp: true });
    after.push(() => own.stop());
    await own.kill();
    const engine = await make({ url: own.url });
    for (let i = 0; i < 3; i++) {
      const { code, error } = await codeOf(() => engine.open());
      expect(code).toBe("ENGINE_UNAVAILABLE");
      expect(String(error)).toContain("ECONNREFUSED");
    }
    await own.restart();
    await engine.open();
    await engine.close();
    expect((await codeOf(() => engine.open())).code).toBe("CLOSED");
  });

  test("LIMIT: list() may yield a record twice, but never another application's", async () => {
    const chosen = prefix();
    const engine = await byUrl({ prefix: chosen });
    const keys = new Set<string>();
    for (let i = 0; i < 250; i++) {
      const key = newKey();
      await stored(engine, key);
      keys.add(key);
    }
    await server.command("SET", `${chosen}{tag}short`, "x");
    await server.command("SET", `other-${chosen}${newKey()}`, "x");
    const seen = new Set<string>();
    for await (const record of engine.list()) seen.add(record.key);
    expect(seen).toEqual(keys);
  });
});

describe("a process whose Redis is frozen, cut off, demoted, killed and started again", () => {
  test("meets no error but AnynodeErrors, no unhandled rejection, and ends by itself once closed", async () => {
    const own = await startRedis();
    after.push(() => own.stop());
    const child = spawn(process.execPath, ["--import", "tsx", join(__dirname, "../support/redis-survivor.ts"), own.url]);
    after.push(() => child.kill("SIGKILL"));
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (data) => {
        output += data;
      });
    await once(child.stdout, "data");
    const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
    for (let round = 0; round < (ANYNODE_FULL === "1" ? 20 : 2); round++) {
      own.freeze();
      await pause(500);
      own.thaw();
      await pause(100);
      await own.command("CLIENT", "KILL", "TYPE", "normal");
      await own.command("CLIENT", "KILL", "TYPE", "pubsub");
      await pause(100);
      await own.command("REPLICAOF", "127.0.0.1", "1");
      await pause(100);
      await own.command("REPLICAOF", "NO", "ONE");
      await own.kill();
      await pause(300);
      await own.restart();
      await pause(600);
    }
    child.stdin.end();
    const [status] = await once(child, "exit");
    expect({ status, output }).toEqual({ status: 0, output: expect.stringMatching(/^up\n\{.*\}\n$/) });
    const outcomes: Record<string, number> = JSON.parse(output.slice(3));
    expect(Object.keys(outcomes).sort()).toEqual(["ENGINE_TIMEOUT", "ENGINE_UNAVAILABLE", "fenced", "gone", "heard"]);
  });
});
