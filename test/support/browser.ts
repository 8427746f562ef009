/**
 * A browser, as far as tests need one: keeps cookies by name and path, sends requests over kept connections, reads JSON.
 * It forgets a cookie that is cleared, but not one that expires: that the server doesn't rely on browsers is what tests are for.
 */
import { Agent, request } from "node:http";

export interface Answer {
  readonly status: number;
  /** The JSON of a success, else {}. */
  readonly body: Record<string, unknown>;
  readonly text: string;
  readonly setCookies: readonly string[];
  readonly tookMs: number;
}

interface Cookie {
  readonly value: string;
  readonly path: string;
}

const agent = new Agent({ keepAlive: true, maxSockets: 64, scheduling: "lifo" });
/** Far above every deadline of the application: whoever waits that long hangs. */
const HANGS_AFTER_MS = 20_000;

export class Browser {
  readonly #cookies = new Map<string, Cookie>();

  /** A second tab: has what this one has now, and goes its own way. */
  fork(): Browser {
    const other = new Browser();
    for (const [name, cookie] of this.#cookies) other.#cookies.set(name, cookie);
    return other;
  }

  cookie(name: string): string | undefined {
    return this.#cookies.get(name)?.value;
  }

  /** `path` may hold a query. */
  async get(url: string, path: string): Promise<Answer> {
    const sent = [...this.#cookies].filter(([, cookie]) => path.startsWith(cookie.path));
    const answer = await get(`${url}${path}`, sent.map(([name, { value }]) => `${name}=${value}`).join("; "));
    for (const line of answer.setCookies) this.#keep(line);
    return answer;
  }

  #keep(line: string): void {
    const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
    const [, path = "/"] = /; *path=([^;]*)/i.exec(line) ?? [];
    const [, expires] = /; *expires=([^;]*)/i.exec(line) ?? [];
    if (expires !== undefined && new Date(expires).getTime() === 0) this.#cookies.delete(name);
    else this.#cookies.set(name, { value, path });
  }
}

/** One request with that Cookie header, "" = none. Rejects when the connection breaks. */
export function get(url: string, cookie = ""): Promise<Answer> {
  const startedAt = performance.now();
  return new Promise((resolve, reject) => {
    const sent = request(url, { agent, headers: cookie === "" ? {} : { cookie }, timeout: HANGS_AFTER_MS }, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (chunk) => {
        text += chunk;
      });
      answer.on("error", reject);
      answer.on("end", () => {
        const { statusCode: status = 0, headers } = answer;
        const body = status === 200 ? JSON.parse(text) : {};
        resolve({ status, body, text, setCookies: headers["set-cookie"] ?? [], tookMs: performance.now() - startedAt });
      });
    });
    sent.on("timeout", () => sent.destroy(new Error(`no answer within ${HANGS_AFTER_MS} ms: ${url}`)));
    sent.on("error", reject);
    sent.end();
  });
}

/** Opens a gate of the node at `url`, once a request waits there. */
export async function openGate(url: string, name: string): Promise<void> {
  await get(`${url}/gates/arrived/${name}`);
  await get(`${url}/gates/open/${name}`);
}
