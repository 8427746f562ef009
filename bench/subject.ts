/** A subject that runs: its process, its CPU time, its sessions and its connections, from the load's side. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RedisServer, startRedis } from "../test/support/redis.js";
import { Connections } from "./connections.js";
import { redisSubjects, type SubjectName, USER_NAME } from "./subjects.js";

export type Route = "read" | "write";

/** One stretch of load on one subject. */
export interface Slice {
  readonly cpuMicrosPerRequest: number;
  readonly requestsPerSecond: number;
}

export class Subject {
  readonly name: SubjectName;
  readonly redis: RedisServer | undefined;
  readonly #process: ChildProcess;
  readonly #connections: Connections;
  readonly #directory: string;
  #cookies: readonly string[] = [];

  private constructor(
    name: SubjectName,
    parts: { child: ChildProcess; connections: Connections; directory: string; redis?: RedisServer },
  ) {
    this.name = name;
    this.redis = parts.redis;
    this.#process = parts.child;
    this.#connections = parts.connections;
    this.#directory = parts.directory;
  }

  static async start(name: SubjectName, concurrency: number): Promise<Subject> {
    const redis = redisSubjects.includes(name) ? await startRedis({ tcp: true }) : undefined;
    const directory = await mkdtemp(join(tmpdir(), "anynode-bench-"));
    // Compiled by scripts/bench.mjs; the counts (test/process/bench.test.ts) don't mind a loader.
    const compiled = process.env["BENCH_SERVER"];
    const child = fork(compiled ?? join(__dirname, "server.ts"), [name, redis?.url ?? "", directory], {
      execArgv: [...(compiled === undefined ? ["--import", "tsx"] : []), ...profiling(name)],
      env: { ...process.env, NODE_ENV: "production" },
    });
    const port = await Promise.race([
      answer(child, "port"),
      once(child, "exit").then(() => Promise.reject(new Error(`${name}: didn't start`))),
    ]);
    const connections = await Connections.open(Number(port), concurrency);
    return new Subject(name, { child, connections, directory, ...(redis ? { redis } : {}) });
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
    const [cpuBefore, startedAt] = [await this.#cpu(), performance.now()];
    const replies = await this.#connections.run(`/${route}`, this.#cookies, requests);
    const [seconds, cpuAfter] = [(performance.now() - startedAt) / 1_000, await this.#cpu()];
    if (route === "read" && replies.some(({ body }) => body !== USER_NAME)) throw new Error(`${this.name}: a session was lost`);
    return { cpuMicrosPerRequest: (cpuAfter - cpuBefore) / requests, requestsPerSecond: requests / seconds };
  }

  async stop(): Promise<void> {
    this.#connections.close();
    if (this.#process.exitCode === null) {
      const exited = once(this.#process, "exit");
      this.#process.disconnect();
      await exited;
    }
    await this.redis?.stop();
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #cpu(): Promise<number> {
    const answered = answer(this.#process, "cpu");
    this.#process.send("cpu");
    const { user, system } = Object(await answered);
    return Number(user) + Number(system);
  }
}

/** The next message's property of that name. */
async function answer(child: ChildProcess, name: "port" | "cpu"): Promise<unknown> {
  const [message] = await once(child, "message");
  return Object(message)[name];
}

/** `BENCH_PROFILE=<dir>` writes CPU profiles of each subject's process (one is that of the loader's thread) to a folder there. */
function profiling(name: SubjectName): string[] {
  const { BENCH_PROFILE } = process.env;
  return BENCH_PROFILE ? ["--cpu-prof", `--cpu-prof-dir=${join(BENCH_PROFILE, name)}`] : [];
}
