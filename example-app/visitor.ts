/** A visitor with a browser's habits: one cookie, one address (the balancer's), one request after the other or several at once. */
import { WebSocket } from "ws";
import { ROUND_TRIPS } from "./answers.js";

/** What GET /api/state and every action answer. */
export interface Shown {
  readonly framework: string;
  readonly name: string | null;
  readonly count: number;
  readonly cart: readonly { readonly id: string; readonly pieces: number }[];
  readonly nodes: readonly { readonly name: string; readonly address: string; readonly state: string; readonly since: number }[];
}

export interface Answer {
  /** The node that answered, or had the request when it was lost. */
  readonly node: string;
  /** 0: the answer broke off. */
  readonly status: number;
  /** How often the node asked the engine for her session. */
  readonly trips: string;
  readonly shown: Shown;
}

/** A WebSocket that a visitor has open. */
export interface LiveSocket {
  /** The node's name, which it says once it holds the socket for her session. */
  readonly greeting: string;
  /** Resolves with the code that it was closed with. */
  readonly closed: Promise<number>;
  isOpen(): boolean;
}

const NOTHING: Shown = { framework: "", name: null, count: 0, cart: [], nodes: [] };

export class Visitor {
  readonly #address: string;
  cookie = "";

  constructor(address: string, cookie = "") {
    this.#address = address;
    this.cookie = cookie;
  }

  look(): Promise<Answer> {
    return this.#ask("GET", "/api/state");
  }

  do(action: "sign-in" | "sign-out" | "count" | "cart", input: object = {}): Promise<Answer> {
    return this.#ask("POST", `/api/${action}`, JSON.stringify(input));
  }

  /** Opens a WebSocket at that node, with her cookie; resolves once the node has greeted her, or closed it. */
  async open(address: string): Promise<LiveSocket> {
    const socket = new WebSocket(`${address.replace("http", "ws")}/live`, { headers: { cookie: this.cookie } });
    socket.on("error", () => {}); // a close follows
    const closed = new Promise<number>((resolve) => socket.once("close", resolve));
    const greeted = new Promise<string>((resolve) => socket.once("message", (name) => resolve(String(name))));
    const greeting = await Promise.race([greeted, closed.then((code) => `closed with ${code}`)]);
    return { greeting, closed, isOpen: () => socket.readyState === WebSocket.OPEN };
  }

  async #ask(method: string, path: string, body?: string): Promise<Answer> {
    const response = await fetch(this.#address + path, {
      method,
      headers: { cookie: this.cookie, "content-type": "application/json" },
      ...(body === undefined ? {} : { body }),
    });
    const trips = response.headers.get(ROUND_TRIPS) ?? "?";
    const node = response.headers.get("x-node") ?? "?";
    for (const cookie of response.headers.getSetCookie()) this.cookie = cookie.split(";", 1).join();
    try {
      const shown: unknown = await response.json();
      return { node, status: response.status, trips, shown: isShown(shown) ? shown : NOTHING };
    } catch {
      return { node, status: 0, trips, shown: NOTHING };
    }
  }
}

function isShown(value: unknown): value is Shown {
  return typeof value === "object" && value !== null && "cart" in value && "nodes" in value;
}
