/**
 * A TCP proxy in front of a unix socket, for faults of the network: its connections can fall silent without breaking (a half-open
 * link), and new connections can be led elsewhere (a failover).
 */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

export interface Proxy {
  readonly url: string;
  /** Nothing passes any more on the connections of now, in neither direction; they don't break. Later ones work. */
  silence(): void;
  /** Requests pass on the connections of now, replies don't. */
  loseReplies(): void;
  /** Breaks the connections of now. */
  cut(): void;
  /** Where later connections lead. */
  leadTo(socket: string): void;
  /** How many connections were made through it. */
  readonly connections: number;
  stop(): Promise<void>;
}

export async function startProxy(socket: string): Promise<Proxy> {
  let target = socket;
  let connections = 0;
  const pairs = new Set<readonly [Socket, Socket]>();
  const server = createServer((near) => {
    connections++;
    const far = connect(target);
    const pair = [near, far] as const;
    pairs.add(pair);
    near.pipe(far).pipe(near);
    for (const end of pair) {
      end.on("error", () => {});
      end.once("close", () => {
        pairs.delete(pair);
        for (const other of pair) other.destroy();
      });
    }
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no TCP port to be had");
  return {
    url: `redis://127.0.0.1:${address.port}`,
    silence() {
      for (const [near, far] of pairs) {
        near.unpipe(far).on("data", () => {});
        far.unpipe(near).on("data", () => {});
      }
    },
    loseReplies() {
      for (const [near, far] of pairs) far.unpipe(near).on("data", () => {});
    },
    cut() {
      for (const [near] of pairs) near.destroy();
    },
    leadTo(other) {
      target = other;
    },
    get connections() {
      return connections;
    },
    async stop() {
      for (const [near] of pairs) near.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
