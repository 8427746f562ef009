/**
 * A load generator of a fixed number of keep-alive connections, each with one request in flight. It knows as much of HTTP as our
 * own servers' answers need, so that it takes little of the machine that it shares with them.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";

export interface Reply {
  readonly body: string;
  /** What Set-Cookie headers set (koa-session's signature is one of its own), as a Cookie header sends it back; else empty. */
  readonly cookie: string;
}

export class Connections {
  readonly #sockets: readonly Socket[];

  private constructor(sockets: readonly Socket[]) {
    this.#sockets = sockets;
  }

  static async open(port: number, count: number): Promise<Connections> {
    const sockets = Array.from({ length: count }, () => connect(port, "127.0.0.1").setNoDelay(true).setEncoding("latin1"));
    await Promise.all(sockets.map((socket) => once(socket, "connect")));
    return new Connections(sockets);
  }

  /** Requests `path` that many times, with each cookie in turn. Anything but a 200 fails the run. */
  async run(path: string, cookies: readonly string[], requests: number): Promise<Reply[]> {
    const texts = cookies.map((cookie) => requestOf(path, cookie));
    const replies: Reply[] = [];
    let sent = 0;
    const work = async (socket: Socket) => {
      while (sent < requests) {
        const text = texts[sent++ % texts.length] ?? "";
        replies.push(await exchange(socket, text));
      }
    };
    await Promise.all(this.#sockets.map(work));
    return replies;
  }

  /** One request over the connection of that number, which must have none in flight. */
  async send(connection: number, path: string, cookie: string): Promise<Reply> {
    const socket = this.#sockets[connection];
    if (socket === undefined) throw new RangeError(`no connection ${connection}`);
    return exchange(socket, requestOf(path, cookie));
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}

function requestOf(path: string, cookie: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: bench\r\n${cookie && `Cookie: ${cookie}\r\n`}\r\n`;
}

function cookieOf(head: string): string {
  return [...head.matchAll(/^set-cookie: ([^;\r]+)/gim)].map(([, cookie]) => cookie).join("; ");
}

function exchange(socket: Socket, request: string): Promise<Reply> {
  return new Promise((resolve, reject) => {
    let received = "";
    const settle = (settled: () => void) => {
      socket.off("data", onData).off("close", onClose).off("error", onClose);
      settled();
    };
    const onClose = () => settle(() => reject(new Error("the server closed the connection")));
    const onData = (chunk: string) => {
      received += chunk;
      const head = received.indexOf("\r\n\r\n");
      if (head < 0) return;
      const length = Number(/content-length: (\d+)/i.exec(received)?.[1]);
      if (received.length < head + 4 + length) return;
      if (!received.startsWith("HTTP/1.1 200")) settle(() => reject(new Error(`answered: ${received.slice(0, 300)}`)));
      else settle(() => resolve({ body: received.slice(head + 4), cookie: cookieOf(received.slice(0, head)) }));
    };
    socket.on("data", onData).on("close", onClose).on("error", onClose);
    socket.write(request);
  });
}
