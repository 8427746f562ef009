/** Real processes that run a TypeScript file of test/process/children and talk in lines. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";

export interface Child {
  readonly process: ChildProcess;
  readonly pid: number;
  /** The next line that it printed; rejects if it ended without one. */
  line(): Promise<string>;
  /** All lines not yet taken, up to its end. */
  rest(): Promise<string[]>;
  /** Resolves when it has ended, with its exit code; null if a signal ended it. */
  readonly ended: Promise<number | null>;
}

/** `limits`: what a shell does before it becomes the child, for example "ulimit -f 2048". */
export function startChild(file: string, args: readonly (string | number)[], limits = "true"): Child {
  const command = [process.execPath, "--import", "tsx", join(__dirname, "../process/children", file), ...args.map(String)];
  const child = spawn("/bin/sh", ["-c", `${limits} && exec "$@"`, "sh", ...command], { stdio: ["ignore", "pipe", "pipe"] });
  let complaints = "";
  child.stderr.on("data", (text) => {
    complaints += text;
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ended = once(child, "close").then(([code]) => (typeof code === "number" ? code : null));
  if (child.pid === undefined) throw new Error(`${file} could not be started`);
  return {
    process: child,
    pid: child.pid,
    ended,
    async line() {
      const { done, value } = await lines.next();
      if (done) throw new Error(`${file} ended early: ${complaints}`);
      return value;
    },
    async rest() {
      const all: string[] = [];
      for (let next = await lines.next(); !next.done; next = await lines.next()) all.push(next.value);
      return all;
    },
  };
}
