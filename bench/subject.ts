/** A subject that runs: its process, its CPU time, its sessions and its connections, from the load's side. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RedisServer, startRedis } from "../test/support/redis.js";
import { Connections } from "./connections.js";
import { ServerProcess } from "./server-process.js";
import { redisSubjects, type SubjectName, USER_NAME } from "./subjects.js";

export const routes = ["read", "write"] as const;
export type Route = (typeof routes)[number];

export function isRoute(text: string): text is Route {
  return routes.some((route) => route === text);
}

/** One stretch of load on one subject. */
export interface Slice {
  readonly cpuMicrosPerRequest: number;
  readonly requestsPerSecond: number;
}

export class Subject {
  readonly name: SubjectName;
  readonly redis: RedisServer | undefined;
  readonly #server: ServerProcess;
  readonly #connections: Connections;
  readonly #directory: string;
  #cookies: readonly string[] = [];

  private constructor(
    name: SubjectName,
    parts: { server: ServerProcess; connections: Connections; directory: string; redis?: RedisServer },
  ) {
    this.name = name;
    this.redis = parts.redis;
    this.#server = parts.server;
    this.#connections = parts.connections;
    this.#directory = parts.directory;
  }

  static async start(name: SubjectName, concurrency: number): Promise<Subject> {
    const redis = redisSubjects.includes(name) ? await startRedis({ tcp: true }) : undefined;
    const directory = await mkdtemp(join(tmpdir(), "anynode-bench-"));
    const server = await ServerProcess.start(name, redis?.url ?? "", directory);
    const connections = await Connections.open(server.port, concurrency);
    return new Subject(name, { server, connections, directory, ...(redis ? { redis } : {}) });
  }

  /** Signs in `count` visitors, whose sessions the slices use from then on. */
  async signIn(count: number): Promise<void> {
    const replies = await this.#connections.run("/sign-in", [""], count);
    this.#cookies = this.name === "bare" ? [""] : replies.map(({ cookie }) => cookie);
    if (this.#cookies.some((cookie) => cookie === "" && this.name !== "bare"))
      throw new Error(`${this.name}: no cookie at sign-in`);
  }

  /** One new session for each size, of which each has that many bytes of attributes. */
  async fill(sizes: readonly number[]): Promise<void> {
    for (const bytes of sizes) await this.#connections.run(`/fill?bytes=${bytes}`, [""], 1);
  }

  async slice(route: Route, requests: number): Promise<Slice> {
    const [cpuBefore, startedAt] = [await this.#server.cpuMicros(), performance.now()];
    const replies = await this.#connections.run(`/${route}`, this.#cookies, requests);
    const [seconds, cpuAfter] = [(performance.now() - startedAt) / 1_000, await this.#server.cpuMicros()];
    if (route === "read" && replies.some(({ body }) => body !== USER_NAME)) throw new Error(`${this.name}: a session was lost`);
    return { cpuMicrosPerRequest: (cpuAfter - cpuBefore) / requests, requestsPerSecond: requests / seconds };
  }

  /** A CPU profile of the server while it answers that many. */
  profile(route: Route, requests: number): Promise<string> {
    return this.#server.profile(() => this.slice(route, requests));
  }

  async stop(): Promise<void> {
    this.#connections.close();
    await this.#server.stop();
    await this.redis?.stop();
    await rm(this.#directory, { recursive: true, force: true });
  }
}
