/** The process that serves one subject: started, asked for its CPU time, stopped. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { SubjectName } from "./subjects.js";

export class ServerProcess {
  readonly port: number;
  readonly #process: ChildProcess;

  private constructor(child: ChildProcess, port: number) {
    this.#process = child;
    this.port = port;
  }

  static async start(name: SubjectName, redisUrl: string, directory: string): Promise<ServerProcess> {
    // Compiled by scripts/bench.mjs; the counts (test/process/bench.test.ts) don't mind a loader.
    const compiled = process.env["BENCH_SERVER"];
    const child = fork(compiled ?? join(__dirname, "server.ts"), [name, redisUrl, directory], {
      execArgv: [...(compiled === undefined ? ["--import", "tsx"] : []), ...profiling(name)],
      env: { ...process.env, NODE_ENV: "production" },
    });
    const port = await Promise.race([
      answer(child, "port"),
      once(child, "exit").then(() => Promise.reject(new Error(`${name}: didn't start`))),
    ]);
    return new ServerProcess(child, Number(port));
  }

  /** User and system time so far, in microseconds. */
  async cpuMicros(): Promise<number> {
    const answered = answer(this.#process, "cpu");
    this.#process.send("cpu");
    const { user, system } = Object(await answered);
    return Number(user) + Number(system);
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null) return;
    const exited = once(this.#process, "exit");
    this.#process.disconnect();
    await exited;
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
