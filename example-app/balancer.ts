/**
 * A plain load balancer: the next request goes to the next node, whoever sent it. No stickiness, no health checks.
 * A node that refuses a connection is skipped for a second; its request goes on to the next one.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { connect } from "node:net";
import { type Duplex, Readable } from "node:stream";
import { createProxyServer } from "http-proxy-3";
import { failure } from "./answers.js";
import { readBody } from "./body.js";

const REST_MS = 1_000;

interface Target {
  readonly name: string;
  readonly address: string;
  /** It refused a connection: others first until then (monotonic ms). */
  restsUntil: number;
}

export class Balancer {
  readonly #targets: Target[] = [];
  readonly #proxy = createProxyServer({ xfwd: true });
  readonly #server = createServer((req, res) => void this.#forward(req, res));
  readonly #upgraded = new Set<Duplex>();
  #turn = 0;

  constructor() {
    this.#server.on("upgrade", (req, socket, head) => void this.#upgrade(req, socket, head));
    // A node that dies in the middle of its answer: the client shall see a broken answer, not wait for the rest.
    this.#proxy.on("proxyRes", (answer, _req, res) => {
      answer.once("error", () => res.destroy());
    });
  }

  /** Adds a node, or gives the node of that name its new address. */
  add(name: string, address: string): void {
    const place = this.#targets.findIndex((target) => target.name === name);
    this.#targets.splice(place < 0 ? this.#targets.length : place, 1, { name, address, restsUntil: 0 });
  }

  /** Starts on that port, or on a free one for 0, and returns the address. */
  async listen(port: number): Promise<string> {
    this.#server.listen(port, "127.0.0.1");
    await once(this.#server, "listening");
    const bound = this.#server.address();
    return typeof bound === "object" && bound !== null ? `http://127.0.0.1:${bound.port}` : "";
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.close();
    this.#server.closeAllConnections();
    for (const socket of this.#upgraded) socket.destroy(); // they are no HTTP connections any more
    await once(this.#server, "close");
  }

  /** The next node in turn that isn't in `tried`; one that rests only if there is no other. */
  #next(tried: ReadonlySet<Target>): Target | undefined {
    const now = performance.now();
    const first = this.#turn++ % Math.max(1, this.#targets.length);
    const inTurn = [...this.#targets.slice(first), ...this.#targets.slice(0, first)].filter((target) => !tried.has(target));
    return inTurn.find((target) => target.restsUntil <= now) ?? inTurn[0];
  }

  async #forward(req: IncomingMessage, res: ServerResponse): Promise<void> {
    try {
      const body = await readBody(req); // whole, so that it can be sent to a second node
      const tried = new Set<Target>();
      for (let target = this.#next(tried); target !== undefined; target = this.#next(tried)) {
        tried.add(target);
        const error = await this.#send(req, res, body, target);
        if (error === undefined) return;
        if (!this.#mayGoOn(req, res, error)) {
          // The node had the request and is gone: it may have done it, or not. Only the client can decide to ask again.
          answer(res, 502, { error: `Node ${target.name} was lost in the middle of this request.` }, target.name);
          return;
        }
        target.restsUntil = performance.now() + REST_MS;
      }
      answer(res, 503, { error: "No node answers." });
    } catch (error) {
      const { status, body } = failure(error);
      answer(res, status, body);
    }
  }

  /** Resolves when the response is over, with the error that kept it from beginning. */
  #send(req: IncomingMessage, res: ServerResponse, body: Buffer, target: Target): Promise<NodeJS.ErrnoException | undefined> {
    return new Promise((resolve) => {
      res.once("close", () => resolve(undefined));
      this.#proxy.web(req, res, { target: target.address, buffer: Readable.from(body.length > 0 ? [body] : []) }, resolve);
    });
  }

  /** Whether another node may get the request: the first one never saw it, or it only reads and no answer has begun. */
  #mayGoOn(req: IncomingMessage, res: ServerResponse, error: NodeJS.ErrnoException): boolean {
    if (error.code === "ECONNREFUSED") return true;
    return !res.headersSent && (req.method === "GET" || req.method === "HEAD");
  }

  /** A WebSocket can be sent on once only, so its node is knocked at first. When a node is lost later, its clients reconnect by themselves. */
  async #upgrade(req: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    this.#upgraded.add(socket);
    socket.once("close", () => this.#upgraded.delete(socket));
    socket.on("error", () => socket.destroy());
    const tried = new Set<Target>();
    for (let target = this.#next(tried); target !== undefined; target = this.#next(tried)) {
      tried.add(target);
      if (await answers(target.address)) {
        this.#proxy.ws(req, socket, head, { target: target.address }, () => {});
        return;
      }
      target.restsUntil = performance.now() + REST_MS;
    }
    socket.destroy();
  }
}

/** Whether somebody takes connections at an address. */
function answers(address: string): Promise<boolean> {
  const { hostname, port } = new URL(address);
  return new Promise((resolve) => {
    const knock = connect(Number(port), hostname, () => {
      knock.destroy();
      resolve(true);
    });
    knock.once("error", () => resolve(false));
  });
}

function answer(res: ServerResponse, status: number, body: object, node?: string): void {
  if (res.headersSent) {
    res.destroy();
    return;
  }
  res.writeHead(status, { "content-type": "application/json", ...(node ? { "x-node": node } : {}) });
  res.end(JSON.stringify(body));
}
