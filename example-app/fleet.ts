/** The nodes of the demo: starts them as processes of their own, kills one when the story asks for it, stops them in the end. */
import { type ChildProcess, spawn } from "node:child_process";
import { EventEmitter, on, once } from "node:events";
import { join } from "node:path";
import type { NodeSettings } from "./answers.js";

const ROOT = join(__dirname, "..");
const STOP_MS = 5_000;

export interface FleetNode {
  readonly name: string;
  readonly framework: NodeSettings["framework"];
  readonly address: string;
}

export class Fleet {
  readonly #env: Readonly<Record<string, string>>;
  readonly #news = new EventEmitter<{ lost: [string] }>();
  readonly #processes = new Map<string, ChildProcess>();

  /** `secret` signs cookies, `key` seals what is stored: all nodes have the same. */
  constructor(engine: string, secret: string, key: string) {
    this.#env = { SESSION_ENGINE: engine, SESSION_SECRET: secret, SESSION_KEY: key };
  }

  /** Resolves when the node serves. */
  async start(name: string, framework: FleetNode["framework"]): Promise<FleetNode> {
    const child = spawn(
      process.execPath,
      ["--import", "tsx", join(__dirname, "node.ts"), "--name", name, "--framework", framework.toLowerCase()],
      { cwd: ROOT, env: { ...process.env, ...this.#env }, stdio: ["ignore", "inherit", "inherit", "ipc"] },
    );
    this.#processes.set(name, child);
    const [first]: unknown[] = await Promise.race([once(child, "message"), once(child, "exit")]);
    const address = text(first, "address");
    if (address === undefined) throw new Error(`Node ${name} did not start; what it said is above.`);
    child.on("message", (message) => {
      const lost = text(message, "lost");
      if (lost !== undefined) this.#news.emit("lost", lost);
    });
    return { name, framework, address };
  }

  /** Resolves when a node tells that the registry has lost the one at that address. */
  async lost(address: string): Promise<void> {
    for await (const [lost] of on(this.#news, "lost")) if (lost === address) return;
  }

  /** kill -9: no warning, no good-bye. Resolves when the process is gone. */
  async kill(name: string): Promise<void> {
    const child = this.#processes.get(name);
    if (child === undefined || !isRunning(child)) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  /** SIGTERM: they drain and leave. One that doesn't within five seconds is killed. */
  async stop(): Promise<void> {
    const running = [...this.#processes.values()].filter(isRunning);
    await Promise.all(
      running.map(async (child) => {
        const impatience = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
        child.kill("SIGTERM");
        await once(child, "exit");
        clearTimeout(impatience);
      }),
    );
  }
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}

/** A property of a message from a node, if it is text. */
function text(message: unknown, name: string): string | undefined {
  const value: unknown = typeof message === "object" && message !== null ? Reflect.get(message, name) : undefined;
  return typeof value === "string" ? value : undefined;
}
