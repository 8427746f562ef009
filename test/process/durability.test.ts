/** `durability`: an end resolves once as many replicas have it as was asked for, and says so when they don't; with a real replica, stopped and continued. */
import { anynode } from "anynode";
import { type RedisEngineOptions, redisEngine } from "anynode/redis";
import { makeSid } from "../../lib/session/id.js";
import { type RedisServer, startRedis } from "../support/redis.js";
import { until } from "../support/until.js";

let primary: RedisServer;
let replica: RedisServer;
const closing: (() => Promise<void>)[] = [];
beforeAll(async () => {
  primary = await startRedis({ tcp: true });
  replica = await startRedis({ tcp: true });
  await replica.command("REPLICAOF", "127.0.0.1", primary.port ?? 0);
  await until("the replica follows", async () =>
    /master_link_status:up/.test(String(await replica.command("INFO", "replication"))),
  );
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});
afterAll(async () => {
  await replica.stop();
  await primary.stop();
});

async function node(options: Partial<RedisEngineOptions> = {}) {
  const engine = redisEngine({ url: primary.url, ...options });
  const sessions = anynode({ engine, keyring: ["plain"] });
  closing.push(() => engine.close());
  closing.push(() => sessions.close());
  await sessions.ready();
  const signedIn = async () => {
    const sid = makeSid();
    await sessions.create(sid, new Map([["a", "1"]]));
    return sid;
  };
  return { sessions, signedIn };
}

test("the replica has it: durable, on the replica too", async () => {
  const { sessions, signedIn } = await node({ durability: { replicas: 1, timeoutMs: 500 } });
  const sid = await signedIn();
  expect(await sessions.end(sid)).toMatchObject({ ended: true, durable: true });
  const keys = await replica.command("KEYS", "anynode:{????}*");
  const ends = await Promise.all((Array.isArray(keys) ? keys : []).map((key) => replica.command("GETRANGE", String(key), 0, 0)));
  expect(ends).toContain("E");
});

test("a replica that is stopped, or isn't there: the end stands, and says that it isn't durable", async () => {
  const { sessions, signedIn } = await node({ durability: { replicas: 1, timeoutMs: 200 } });
  const sid = await signedIn();
  replica.freeze();
  try {
    expect(await sessions.end(sid)).toMatchObject({ ended: true, durable: false });
  } finally {
    replica.thaw();
  }
  expect(await sessions.load(sid)).toBeUndefined();
  const two = await node({ durability: { replicas: 2, timeoutMs: 100 } });
  expect(await two.sessions.end(await two.signedIn())).toMatchObject({ ended: true, durable: false });
});

test("other verbs don't wait behind it, and nothing is asked by default", async () => {
  const { sessions, signedIn } = await node({ durability: { replicas: 2, timeoutMs: 900 } });
  const [sid, other] = [await signedIn(), await signedIn()];
  let done = false;
  const ending = sessions.end(sid).then((result) => {
    done = true;
    return result;
  });
  await sessions.update(other, (attributes) => Object.assign(attributes, { b: 1 }));
  expect(done).toBe(false);
  expect(await ending).toMatchObject({ ended: true, durable: false });
  const plain = await node();
  expect(await plain.sessions.end(await plain.signedIn())).toMatchObject({ ended: true });
});

test("what can't work is refused", () => {
  for (const durability of [
    { replicas: 0, timeoutMs: 100 },
    { replicas: 1, timeoutMs: 1_000 },
    { replicas: 1.5, timeoutMs: 1 },
  ]) {
    expect(() => redisEngine({ url: primary.url, durability })).toThrow(/durability is \{ replicas: .*deadlineMs \(1000\)/);
  }
});
