/** The process that serves one subject: started, asked for its CPU time or its profile, stopped. */
import { Child } from "./child.js";
import type { SubjectName } from "./subjects.js";

export class ServerProcess {
  readonly port: number;
  readonly #child: Child;

  private constructor(child: Child, port: number) {
    this.#child = child;
    this.port = port;
  }

  static async start(name: SubjectName, redisUrl: string, directory: string): Promise<ServerProcess> {
    const child = new Child("server", [name, redisUrl, directory]);
    return new ServerProcess(child, Number(await child.answer("port")));
  }

  /** User and system time so far, in microseconds. */
  async cpuMicros(): Promise<number> {
    const { user, system } = Object(await this.#child.answer("cpu", { ask: "cpu" }));
    return Number(user) + Number(system);
  }

  /** What the process does meanwhile, as JSON of the kind that .cpuprofile files hold. */
  async profile(during: () => Promise<unknown>): Promise<string> {
    await this.#child.answer("profiling", { ask: "profile" });
    await during();
    return String(await this.#child.answer("profile", { ask: "end profile" }));
  }

  stop(): Promise<void> {
    return this.#child.stop();
  }
}
