/** A client of the application's that follows a Sentinel: sessions are leased, live on after a failover, and a setting that allows two primaries is warned of. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { anynode } from "anynode";
import { redisEngine } from "anynode/redis";
import { Redis } from "ioredis";
import { makeSid } from "../../lib/session/id.js";
import { freePort, type RedisServer, redisBinary, startRedis } from "../support/redis.js";
import { until } from "../support/until.js";

let primary: RedisServer;
let replica: RedisServer;
let sentinel: ChildProcess;
let directory: string;
let port: number;
const closing: (() => unknown)[] = [];

beforeAll(async () => {
  primary = await startRedis({ tcp: true });
  replica = await startRedis({ tcp: true });
  await replica.command("REPLICAOF", "127.0.0.1", primary.port ?? 0);
  await until("the replica follows", async () =>
    /master_link_status:up/.test(String(await replica.command("INFO", "replication"))),
  );
  directory = await mkdtemp(join(tmpdir(), "anynode-sentinel-"));
  port = await freePort();
  const settings = [
    `port ${port}`,
    `dir ${directory}`,
    `sentinel monitor main 127.0.0.1 ${primary.port} 1`,
    "sentinel down-after-milliseconds main 500",
    "sentinel failover-timeout main 2000",
  ];
  await writeFile(join(directory, "sentinel.conf"), `${settings.join("\n")}\n`);
  sentinel = spawn(redisBinary(), [join(directory, "sentinel.conf"), "--sentinel"], { stdio: "ignore" });
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});
afterAll(async () => {
  sentinel.kill("SIGKILL");
  await once(sentinel, "exit");
  await replica.stop();
  await primary.stop();
  await rm(directory, { recursive: true, force: true });
});

async function node() {
  const client = new Redis({ sentinels: [{ host: "127.0.0.1", port }], name: "main", sentinelRetryStrategy: () => 50 });
  client.on("error", () => {});
  const engine = redisEngine({ client });
  const sessions = anynode({ engine, keyring: ["plain"] });
  closing.push(() => client.disconnect());
  closing.push(() => engine.close());
  closing.push(() => sessions.close());
  await sessions.ready();
  return sessions;
}

test("warns of a primary that would go on alone, reads from copies, and finds the session after a failover", async () => {
  const warned = jest.spyOn(process, "emitWarning").mockImplementation(() => {});
  closing.push(() => warned.mockRestore());
  const [a, b] = [await node(), await node()];
  await until("both trust copies", async () => a.reads.runs > 0 && b.reads.runs > 0);
  expect(warned).toHaveBeenCalledWith(expect.stringContaining("min-replicas-to-write is 0"), { code: "ANYNODE_SPLIT" });
  const sid = makeSid();
  await a.create(sid, new Map([["n", "1"]]));
  for (const one of [a, b]) expect((await one.load(sid))?.record.attributes.get("n")).toBe("1");
  expect(b.load(sid)).not.toBeInstanceOf(Promise);
  const { runs } = b.reads;
  await until(
    "the replica has it",
    async () => Number(await replica.command("DBSIZE")) >= Number(await primary.command("DBSIZE")),
  );
  await primary.kill();
  await until(
    "the replica was promoted",
    async () => /role:master/.test(String(await replica.command("INFO", "replication"))),
    20_000,
  );
  const updated = async () => {
    try {
      return (await b.update(sid, (attributes) => Object.assign(attributes, { n: 2 }))).outcome === "committed";
    } catch {
      return false;
    }
  };
  await until("writes go on", updated, 20_000);
  for (const one of [a, b]) expect((await one.load(sid))?.record.attributes.get("n")).toBe("2");
  await until("copies are trusted again", async () => b.reads.runs > runs, 20_000);
  expect(await b.end(sid)).toEqual({ ended: true });
  expect(await a.load(sid)).toBeUndefined();
}, 90_000);
