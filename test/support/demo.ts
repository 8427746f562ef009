/** The demo as its user starts it, as a process of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

const ROOT = join(__dirname, "../..");

export interface Demo {
  /** Everything that it has printed. */
  readonly output: string;
  /** Resolves with the match when the output has one; rejects when the demo ends without. */
  says(pattern: RegExp): Promise<RegExpExecArray>;
  /** Resolves with the exit status. */
  ended(): Promise<number | null>;
  /** What Ctrl-C sends. */
  interrupt(): Promise<number | null>;
}

export function startDemo(args: readonly string[], env: Record<string, string> = {}): Demo {
  const child = spawn(process.execPath, ["--import", "tsx", join(ROOT, "example-app/demo.ts"), ...args], {
    cwd: ROOT,
    env: { ...withoutEngine(), ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const closed = once(child, "close");
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (data) => {
      output += data;
    });
  }
  return {
    get output() {
      return output;
    },
    async says(pattern) {
      for (;;) {
        const match = pattern.exec(output);
        if (match !== null) return match;
        if (child.exitCode !== null) throw new Error(`The demo ended and never said ${pattern}:\n${output}`);
        await Promise.race([once(child.stdout, "data"), closed]);
      }
    },
    ended: () => statusOf(child, closed),
    interrupt() {
      child.kill("SIGINT");
      return statusOf(child, closed);
    },
  };
}

async function statusOf(child: ChildProcess, closed: Promise<unknown>): Promise<number | null> {
  await closed;
  return child.exitCode;
}

function withoutEngine(): NodeJS.ProcessEnv {
  const { SESSION_ENGINE: _, ...rest } = process.env;
  return rest;
}
