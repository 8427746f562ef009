/** Several nodes of one subject on one Redis: what it costs that a session is written on every request, by nodes in turn. */
import { type RedisServer, startRedis } from "../test/support/redis.js";
import { Connections } from "./connections.js";
import { type Ratio, ratio } from "./ratio.js";
import { ServerProcess } from "./server-process.js";
import { isOnKoa, redisSubjects, type SubjectName } from "./subjects.js";

interface Node {
  readonly server: ServerProcess;
  readonly connections: Connections;
}

const NODES = 4;
const SESSIONS = 32;
const REQUESTS = 2_000;

export interface Alternation {
  readonly ours: SubjectName;
  readonly other: SubjectName;
  /** Our requests per second ÷ the other's, by round. */
  readonly throughput: Ratio;
}

/** Each of ours against connect-redis. */
export async function alternations(names: readonly SubjectName[], rounds: number): Promise<Alternation[]> {
  const other = "connect-redis";
  const ours = names.filter((name) => name !== other && redisSubjects.includes(name) && !isOnKoa(name));
  if (ours.length === 0 || !names.includes(other)) return [];
  const fleets: Fleet[] = [];
  const measured = new Map<SubjectName, number[]>();
  try {
    for (const name of [other, ...ours] as const) fleets.push(await Fleet.start(name, NODES, SESSIONS));
    for (const fleet of fleets) await fleet.alternate(REQUESTS);
    for (let round = 0; round < rounds; round++) {
      for (const fleet of fleets)
        measured.set(fleet.name, [...(measured.get(fleet.name) ?? []), await fleet.alternate(REQUESTS)]);
    }
  } finally {
    for (const fleet of fleets) await fleet.stop();
  }
  return ours.map((name) => ({ ours: name, other, throughput: ratio(measured.get(name) ?? [], measured.get(other) ?? []) }));
}

class Fleet {
  readonly name: SubjectName;
  readonly #redis: RedisServer;
  readonly #nodes: readonly Node[];
  #cookies: readonly string[] = [];

  private constructor(name: SubjectName, redis: RedisServer, nodes: readonly Node[]) {
    this.name = name;
    this.#redis = redis;
    this.#nodes = nodes;
  }

  /** `sessions`: that many are written at once, each by one request at a time. */
  static async start(name: SubjectName, nodes: number, sessions: number): Promise<Fleet> {
    const redis = await startRedis({ tcp: true });
    const started = await Promise.all(
      Array.from({ length: nodes }, async () => {
        const server = await ServerProcess.start(name, redis.url, "");
        return { server, connections: await Connections.open(server.port, sessions) };
      }),
    );
    const fleet = new Fleet(name, redis, started);
    const replies = await started[0]?.connections.run("/sign-in", [""], sessions);
    fleet.#cookies = replies?.map(({ cookie }) => cookie) ?? [];
    return fleet;
  }

  /** Each session is written by each node in turn, again and again. Requests per second, of all nodes together. */
  async alternate(requests: number): Promise<number> {
    const perSession = Math.ceil(requests / this.#cookies.length);
    const startedAt = performance.now();
    await Promise.all(
      this.#cookies.map(async (cookie, at) => {
        for (let i = 0; i < perSession; i++)
          await this.#nodes[(at + i) % this.#nodes.length]?.connections.send(at, "/write", cookie);
      }),
    );
    return (perSession * this.#cookies.length) / ((performance.now() - startedAt) / 1_000);
  }

  async stop(): Promise<void> {
    for (const { server, connections } of this.#nodes) {
      connections.close();
      await server.stop();
    }
    await this.#redis.stop();
  }
}
