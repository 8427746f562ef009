/** The engines that the front ends are tested on. A medium is what nodes share: every `engine()` of it sees the same sessions. */
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lmdbEngine } from "anynode/lmdb";
import { memoryEngine } from "anynode/memory";
import { redisEngine } from "anynode/redis";
import type { Engine } from "../../lib/engines/engine.js";
import { type RedisServer, startRedis } from "./redis.js";

export interface Medium {
  engine(): Engine;
  /** All that is stored, keys and values, as text: where that is more than an engine lists. */
  dump?(): Promise<string>;
  /** Closes its engines and removes what they stored. */
  remove(): Promise<void>;
}

export interface MediumKind {
  readonly name: "memory" | "lmdb" | "redis";
  /** Once before and once after the media of this kind. */
  start(): Promise<void>;
  stop(): Promise<void>;
  medium(): Promise<Medium>;
}

export const MEDIA: readonly MediumKind[] = [
  {
    name: "memory",
    start: async () => {},
    stop: async () => {},
    async medium() {
      const engine = memoryEngine();
      return { engine: () => engine, remove: () => engine.close() };
    },
  },
  {
    name: "lmdb",
    start: async () => {},
    stop: async () => {},
    async medium() {
      const dir = await mkdtemp(join(tmpdir(), "anynode-lmdb-"));
      return closing(
        () => lmdbEngine({ dir }),
        () => rm(dir, { recursive: true, force: true }),
      );
    },
  },
  redisKind(),
];

function redisKind(): MediumKind {
  let server: RedisServer;
  return {
    name: "redis",
    async start() {
      server = await startRedis();
    },
    stop: () => server.stop(),
    async medium() {
      const prefix = `test-${randomBytes(9).toString("base64url")}:`;
      return { ...closing(() => redisEngine({ url: server.url, prefix })), dump: () => dumped(server, prefix) };
    },
  };
}

/** Every key with our prefix, by its type. */
async function dumped(server: RedisServer, prefix: string): Promise<string> {
  const names = await server.command("KEYS", `${prefix}*`);
  const texts: string[] = [];
  for (const name of Array.isArray(names) ? names.map(String) : []) {
    const type = String(await server.command("TYPE", name));
    const read: readonly string[] = type === "hash" ? ["HGETALL"] : type === "zset" ? ["ZRANGE", "0", "-1"] : ["GET"];
    const [verb = "", ...rest] = read;
    texts.push(name, String(await server.command(verb, name, ...rest)));
  }
  return texts.join("\n");
}

function closing(make: () => Engine, remove: () => Promise<void> = async () => {}): Medium {
  const engines: Engine[] = [];
  return {
    engine() {
      const engine = make();
      engines.push(engine);
      return engine;
    },
    async remove() {
      await Promise.all(engines.map((engine) => engine.close()));
      await remove();
    },
  };
}
