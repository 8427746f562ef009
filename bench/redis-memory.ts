/** Redis memory per session: incompressible payloads of 300–700 B, written through the application, weighed by the server. */
import { Redis } from "ioredis";
import type { Subject } from "./subject.js";

export interface RedisMemory {
  /** MEMORY USAGE of all keys that came with the sessions, per session. */
  readonly keyBytes: number;
  /** The same by used_memory, which also sees the tables of keys and of expiries. */
  readonly usedBytes: number;
}

export async function redisMemory(subject: Subject, sessions: number): Promise<RedisMemory> {
  if (!subject.redis) throw new Error(`${subject.name} keeps nothing in Redis`);
  const client = new Redis(subject.redis.url);
  try {
    const sizes = Array.from({ length: sessions }, (_, at) => 300 + Math.round((400 * at) / (sessions - 1)));
    const others = new Set(await keysOf(client));
    const usedBefore = await used(client);
    await subject.fill(sizes);
    const usedAfter = await used(client);
    const weights = await Promise.all(
      (await keysOf(client)).filter((key) => !others.has(key)).map((key) => client.memory("USAGE", key, "SAMPLES", 0)),
    );
    const keyBytes = weights.reduce<number>((sum, weight) => sum + Number(weight), 0) / sessions;
    return { keyBytes, usedBytes: (usedAfter - usedBefore) / sessions };
  } finally {
    client.disconnect();
  }
}

async function keysOf(client: Redis): Promise<string[]> {
  const keys = new Set<string>();
  for await (const batch of client.scanStream({ count: 1_000 })) for (const key of batch) keys.add(String(key));
  return [...keys];
}

async function used(client: Redis): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(await client.info("memory"))?.[1]);
}
