/** A visitor with a browser's habits: one cookie, one address (the balancer's), one request after the other or several at once. */

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
  readonly shown: Shown;
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

  async #ask(method: string, path: string, body?: string): Promise<Answer> {
    const response = await fetch(this.#address + path, {
      method,
      headers: { cookie: this.cookie, "content-type": "application/json" },
      ...(body === undefined ? {} : { body }),
    });
    const node = response.headers.get("x-node") ?? "?";
    for (const cookie of response.headers.getSetCookie()) this.cookie = cookie.split(";", 1).join();
    try {
      const shown: unknown = await response.json();
      return { node, status: response.status, shown: isShown(shown) ? shown : NOTHING };
    } catch {
      return { node, status: 0, shown: NOTHING };
    }
  }
}

function isShown(value: unknown): value is Shown {
  return typeof value === "object" && value !== null && "cart" in value && "nodes" in value;
}
