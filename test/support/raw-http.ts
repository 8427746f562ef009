/** HTTP by hand, for cookies that no client library would send. */
import { connect, type Socket } from "node:net";

/** Sends a request for each Cookie header, over one connection as long as the server keeps it; the statuses of the answers. */
export async function statusesFor(url: string, cookies: readonly string[]): Promise<number[]> {
  const port = Number(new URL(url).port);
  const statuses: number[] = [];
  let connection = new Connection(port);
  for (const cookie of cookies) {
    const status = await connection.ask(`GET /read HTTP/1.1\r\nHost: x\r\nCookie: ${cookie}\r\n\r\n`);
    statuses.push(status);
    // After such an answer the server closes.
    if (status !== 200) connection = connection.again();
  }
  connection.close();
  return statuses;
}

class Connection {
  readonly #port: number;
  readonly #socket: Socket;
  #text = "";
  #settle: () => void = () => {};

  constructor(port: number) {
    this.#port = port;
    this.#socket = connect(port, "127.0.0.1");
    this.#socket.on("error", () => {});
    this.#socket.on("close", () => this.#settle());
    this.#socket.on("data", (chunk) => {
      this.#text += chunk.toString("latin1");
      const head = this.#text.indexOf("\r\n\r\n");
      const [, length = "0"] = /content-length: (\d+)/i.exec(this.#text) ?? [];
      if (head >= 0 && this.#text.length >= head + 4 + Number(length)) this.#settle();
    });
  }

  /** The status of the answer. 431 if the connection broke: node does that while we still send more header than it takes. */
  async ask(request: string): Promise<number> {
    this.#text = "";
    await new Promise<void>((resolve) => {
      this.#settle = resolve;
      this.#socket.write(Buffer.from(request, "latin1"));
      if (this.#socket.destroyed) resolve();
    });
    const [, status = "431"] = /^HTTP\/1\.1 (\d+)/.exec(this.#text) ?? [];
    return Number(status);
  }

  again(): Connection {
    this.close();
    return new Connection(this.#port);
  }

  close(): void {
    this.#socket.destroy();
  }
}
