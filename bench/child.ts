/** A process of its own for what is measured: forked, asked by messages, ended by closing the channel. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

export class Child {
  readonly #process: ChildProcess;
  readonly #what: string;

  /** `program`: a file of this folder, without its ending. The child's first message says that it is ready. */
  constructor(program: string, args: readonly string[]) {
    // Compiled by scripts/bench.mjs; the counts (test/process/bench.test.ts) don't mind a loader.
    const compiled = process.env["BENCH_COMPILED"];
    this.#what = `${program} ${args[0]}`;
    this.#process = fork(join(compiled ?? __dirname, `${program}.${compiled === undefined ? "ts" : "js"}`), args, {
      execArgv: compiled === undefined ? ["--import", "tsx"] : [],
      env: { ...process.env, NODE_ENV: "production" },
    });
  }

  /** The next message's property of that name, in answer to `question` if there is one. */
  async answer(name: string, question?: object): Promise<unknown> {
    const settled = new AbortController();
    const { signal } = settled;
    const exited = once(this.#process, "exit", { signal }).then(() => Promise.reject(new Error(`${this.#what}: ended early`)));
    try {
      const answered = once(this.#process, "message", { signal });
      if (question !== undefined) this.#process.send(question);
      const [message] = await Promise.race([answered, exited]);
      return Object(message)[name];
    } finally {
      // Whichever lost the race is rejected, and nobody waits for it.
      exited.catch(() => {});
      settled.abort();
    }
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null) return;
    const exited = once(this.#process, "exit");
    this.#process.disconnect();
    await exited;
  }
}
