/** What the session adds to a read-only request when Redis is a millisecond away: the median over a subject's less that of bare Express. */
import { type RedisServer, startRedis } from "../test/support/redis.js";
import { Connections } from "./connections.js";
import { Delay } from "./delay.js";
import { median } from "./ratio.js";
import { ServerProcess } from "./server-process.js";
import { isOnKoa, redisSubjects, type SubjectName } from "./subjects.js";

const EACH_WAY_MS = 1;
const PER_ROUND = 50;

export interface Latency {
  readonly subject: SubjectName;
  /** Milliseconds from request to answer, of one visitor at a time. */
  readonly medianMs: number;
  /** By that much more than bare Express. */
  readonly addedMs: number;
}

interface Measured {
  readonly name: SubjectName;
  readonly server: ServerProcess;
  readonly connections: Connections;
  readonly cookie: string;
  /** A Redis of its own: nodes that read in different ways would be of one fleet, and so read in one way. */
  readonly redis: RedisServer;
  readonly delay: Delay;
  readonly tookMs: number[];
}

export async function latencies(names: readonly SubjectName[], rounds: number): Promise<Latency[]> {
  const subjects = names.filter((name) => redisSubjects.includes(name) && !isOnKoa(name));
  if (subjects.length === 0) return [];
  const all: Measured[] = [];
  try {
    for (const name of ["bare", ...subjects] as const) all.push(await started(name));
    for (const one of all) await timed(one, 10 * PER_ROUND);
    for (const one of all) one.tookMs.length = 0;
    // In turn, so that what drifts meets all alike.
    for (let round = 0; round < rounds; round++) for (const one of all) await timed(one, PER_ROUND);
    const [bareMs = Number.NaN] = all.map(({ tookMs }) => median(tookMs));
    return all.slice(1).map(({ name, tookMs }) => ({
      subject: name,
      medianMs: median(tookMs),
      addedMs: median(tookMs) - bareMs,
    }));
  } finally {
    for (const { connections, server, delay, redis } of all) {
      connections.close();
      await server.stop();
      await delay.stop();
      await redis.stop();
    }
  }
}

async function started(name: SubjectName): Promise<Measured> {
  const redis = await startRedis({ tcp: true });
  const delay = await Delay.start(portOf(redis), EACH_WAY_MS);
  const server = await ServerProcess.start(name, delay.url, "");
  const connections = await Connections.open(server.port, 1);
  const { cookie } = await connections.send(0, "/sign-in", "");
  return { name, server, connections, cookie, redis, delay, tookMs: [] };
}

async function timed({ connections, cookie, tookMs }: Measured, requests: number): Promise<void> {
  for (let i = 0; i < requests; i++) {
    const startedAt = performance.now();
    await connections.send(0, "/read", cookie);
    tookMs.push(performance.now() - startedAt);
  }
}

function portOf({ port }: RedisServer): number {
  if (port === undefined) throw new Error("this Redis has no port");
  return port;
}
