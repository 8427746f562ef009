/**
 * What one request costs the Redis server, by the server's own account: commands (MONITOR: INFO counts what a script calls inside
 * as well), changes and bytes (INFO). What the subject does by itself, its beats, is measured while idle and taken off.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import type { Route, Subject } from "./subject.js";

export interface RedisCost {
  readonly commandsPerRequest: number;
  /** Changes of the data set: sets, expiries, deletions. */
  readonly changesPerRequest: number;
  readonly bytesPerRequest: number;
}

const IDLE_MS = 1_500;

export async function redisCost(subject: Subject, route: Route, requests: number): Promise<RedisCost> {
  if (!subject.redis) throw new Error(`${subject.name} keeps nothing in Redis`);
  const client = new Redis(subject.redis.url);
  try {
    // By then no session's life is to be extended: that is a change now and then, however many requests come.
    await subject.slice("write", requests);
    await subject.slice(route, requests);
    const own = await difference(client, async () => {});
    const idle = await difference(client, () => sleep(IDLE_MS));
    const busy = await difference(client, () => subject.slice(route, requests));
    const perRequest = (name: "changes" | "bytes") => {
      const idlePerMs = (idle[name] - own[name]) / idle.ms;
      return (busy[name] - own[name] - idlePerMs * busy.ms) / requests;
    };
    return {
      commandsPerRequest: (await commands(client, subject, route, requests)) / requests,
      changesPerRequest: perRequest("changes"),
      bytesPerRequest: perRequest("bytes"),
    };
  } finally {
    client.disconnect();
  }
}

/** Commands that clients sent for the requests: those of a kind (name and script) that an idle subject sends too are its beats. */
async function commands(client: Redis, subject: Subject, route: Route, requests: number): Promise<number> {
  const kinds = new Map<string, number>();
  const watching = await client.monitor();
  watching.on("monitor", (_at: string, [name = "", script = ""]: string[], source: string) => {
    if (source === "lua") return;
    const kind = /^evalsha$/i.test(name) ? `evalsha ${script}` : name.toLowerCase();
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  });
  await sleep(IDLE_MS);
  const beats = new Set(kinds.keys());
  kinds.clear();
  await subject.slice(route, requests);
  // A round trip behind the last command: MONITOR has told of it by then.
  await sleep(100);
  watching.disconnect();
  return [...kinds].reduce((sum, [kind, count]) => sum + (beats.has(kind) ? 0 : count), 0);
}

async function difference(
  client: Redis,
  during: () => Promise<unknown>,
): Promise<{ changes: number; bytes: number; ms: number }> {
  const [before, startedAt] = [await counters(client), performance.now()];
  await during();
  const [ms, after] = [performance.now() - startedAt, await counters(client)];
  return { changes: after.changes - before.changes, bytes: after.bytes - before.bytes, ms };
}

async function counters(client: Redis): Promise<{ changes: number; bytes: number }> {
  const info = `${await client.info("stats")}${await client.info("persistence")}`;
  const figure = (name: string) => Number(new RegExp(`^${name}:(\\d+)`, "m").exec(info)?.[1]);
  return {
    changes: figure("rdb_changes_since_last_save"),
    bytes: figure("total_net_input_bytes") + figure("total_net_output_bytes"),
  };
}
