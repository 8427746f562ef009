/**
 * The shop, without a web framework: what a session holds and what each action does to it.
 * Express and Koa hand in their own session object; the attributes are the same, so a visit may go on at either.
 */

/** The attributes of a session. */
export interface Visit {
  name?: string | undefined;
  count?: number | undefined;
  /** One attribute a product instead of one for the whole cart: nodes that add different products at once don't get in each other's way. */
  [item: `cart.${string}`]: number | undefined;
}

const PRODUCTS = [
  { id: "tea", name: "Green tea" },
  { id: "lemon", name: "Lemon" },
  { id: "biscuits", name: "Biscuits" },
];

/** What a request asked for can't be done: the answer is `status` and the message. */
export class Refused extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** The name to sign in with. */
export function nameIn(input: unknown): string {
  const given = field(input, "name");
  const name = typeof given === "string" ? given.trim() : "";
  if (name === "" || name.length > 40) throw new Refused(400, "Please give a name of 1 to 40 characters.");
  return name;
}

/** What a visitor who has signed in can do, by the last part of its path: POST /api/count, POST /api/cart. */
export const ACTIONS: Readonly<Record<string, (visit: Visit, input: unknown) => void>> = {
  count(visit) {
    visit.count = (visit.count ?? 0) + 1;
  },

  /** `{ product: "tea", add: 1 }` or `{ product: "tea", add: -1 }` */
  cart(visit, input) {
    const product = PRODUCTS.find(({ id }) => id === field(input, "product"));
    if (product === undefined) throw new Refused(400, "There is no such product.");
    const pieces = (visit[`cart.${product.id}`] ?? 0) + (field(input, "add") === -1 ? -1 : 1);
    if (pieces > 99) throw new Refused(400, "That's more than the cart can carry.");
    if (pieces > 0) visit[`cart.${product.id}`] = pieces;
    else delete visit[`cart.${product.id}`];
  },
};

/** Does an action, for those who have signed in. */
export function act(action: (visit: Visit, input: unknown) => void, visit: Visit, input: unknown): void {
  if (visit.name === undefined) throw new Refused(401, "Please sign in first.");
  action(visit, input);
}

/** What the page shows of a session. */
export function show(visit: Visit) {
  return {
    name: visit.name ?? null,
    count: visit.count ?? 0,
    cart: PRODUCTS.map((product) => ({ ...product, pieces: visit[`cart.${product.id}`] ?? 0 })),
  };
}

function field(input: unknown, name: string): unknown {
  return typeof input === "object" && input !== null && name in input ? Reflect.get(input, name) : undefined;
}
