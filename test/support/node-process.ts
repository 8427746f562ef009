/** Nodes of the test application, each a process of its own. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Host } from "./app/hosts.js";
import { startChild } from "./child.js";
import { type RedisServer, startRedis } from "./redis.js";

export interface NodeProcess {
  readonly url: string;
  /** SIGSTOP: its connections stay open, nothing answers. */
  freeze(): void;
  thaw(): void;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
}

export async function startNode(
  host: Host["name"],
  engine: string,
  reads: "leased" | "checked" = "leased",
): Promise<NodeProcess> {
  const child = startChild("node.ts", [host, engine, reads]);
  return {
    url: await child.line(),
    freeze: () => void child.process.kill("SIGSTOP"),
    thaw: () => void child.process.kill("SIGCONT"),
    async kill() {
      child.process.kill("SIGKILL");
      await child.ended;
    },
  };
}

/** What the nodes of a fleet share. */
export interface Shared {
  readonly engine: string;
  readonly redis?: RedisServer;
  remove(): Promise<void>;
}

export const SHARED: readonly { readonly name: string; start(): Promise<Shared> }[] = [
  {
    name: "lmdb",
    async start() {
      const dir = await mkdtemp(join(tmpdir(), "anynode-lmdb-"));
      return { engine: `lmdb:${dir}`, remove: () => rm(dir, { recursive: true, force: true }) };
    },
  },
  {
    name: "redis",
    async start() {
      const redis = await startRedis({ args: ["--appendonly", "yes", "--appendfsync", "always"] });
      return { engine: redis.url, redis, remove: () => redis.stop() };
    },
  },
];

export function times(full: number): number {
  const { ANYNODE_FULL } = process.env;
  return ANYNODE_FULL === "1" ? full : Math.ceil(full / 10);
}

/** Runs `count` tasks, `atOnce` at a time; the first failure ends it. */
export async function parallel(count: number, atOnce: number, task: (i: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await task(next++);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}
