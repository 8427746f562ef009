/** A network of its own between a server and its Redis: a TCP proxy that keeps every byte for a while, each way. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

export class Delay {
  readonly url: string;
  readonly #stop: () => Promise<void>;

  private constructor(url: string, stop: () => Promise<void>) {
    this.url = url;
    this.#stop = stop;
  }

  /** `eachWayMs`: how long a byte takes from one side to the other. */
  static async start(redisPort: number, eachWayMs: number): Promise<Delay> {
    const sockets = new Set<Socket>();
    const server = createServer((near) => {
      const far = connect(redisPort, "127.0.0.1");
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        sockets.add(from.setNoDelay(true));
        // Timers of the same length run in order.
        from.on("data", (chunk) => setTimeout(() => to.writable && to.write(chunk), eachWayMs));
        from.on("error", () => {}).on("close", () => to.destroy());
      }
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" ? address?.port : undefined;
    return new Delay(`redis://127.0.0.1:${port}`, async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    });
  }

  stop(): Promise<void> {
    return this.#stop();
  }
}
