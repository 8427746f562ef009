/**
 * Moving from connect-redis under load: nodes of both kinds behind one balancer, on a real Redis. Nobody is logged out by either kind, and
 * nothing that was acknowledged is lost of a session that has moved: neither what former nodes had stored of it until then, nor what
 * native ones store since. Half of the visitors have a balancer that keeps whoever has our cookie on native nodes: they lose nothing at
 * all. The other half go round robin to the end: what a former node stores of a session that has moved stays there (docs/migrating.md).
 */
import { Browser } from "../support/browser.js";
import { type Child, startChild } from "../support/child.js";
import { parallel, times } from "../support/node-process.js";
import { type RedisServer, startRedis } from "../support/redis.js";

const VISITORS = times(10_000);
const ROUNDS = 6;
const AT_ONCE = 64;

let redis: RedisServer;
const children: Child[] = [];

afterEach(async () => {
  for (const child of children.splice(0)) child.process.kill("SIGKILL");
  await redis.stop();
});

interface Node {
  readonly kind: "former" | "native";
  readonly url: string;
}

interface Visitor {
  readonly who: string;
  readonly browser: Browser;
  readonly isKept: boolean;
  /** What former nodes acknowledged last, and native ones. */
  former: number;
  native: number;
  /** What former nodes had acknowledged when the session moved. */
  moved: number | undefined;
}

async function started(kind: Node["kind"], count: number): Promise<Node[]> {
  const begun = Array.from({ length: count }, () => startChild("moving-node.ts", [kind, redis.url]));
  children.push(...begun);
  return Promise.all(begun.map(async (child) => ({ kind, url: await child.line() })));
}

class Move {
  readonly lost: string[] = [];
  readonly counts = { requests: 0, logouts: 0, lostWrites: 0, moved: 0, backAtFormer: 0, signedOut: 0, ghosts: 0 };
  readonly #nodes: readonly Node[];
  readonly #native: readonly Node[];
  #turn = 0;

  constructor(nodes: readonly Node[]) {
    this.#nodes = nodes;
    this.#native = nodes.filter(({ kind }) => kind === "native");
  }

  /** The next round meets every visitor at another node than the last. */
  shift(): void {
    this.#turn += 1;
  }

  async visit(visitor: Visitor, writes: boolean): Promise<void> {
    const nodes = visitor.isKept && visitor.browser.cookie("sid") !== undefined ? this.#native : this.#nodes;
    const node = this.#next(nodes);
    if (node.kind === "native") this.#moves(visitor);
    else if (visitor.moved !== undefined) this.counts.backAtFormer += 1;
    if (!writes) return this.#judge(visitor, node, visitor.browser, "/read");
    const to = visitor[node.kind] + 1;
    const other = visitor.browser.fork();
    const wrote = this.#judge(visitor, node, visitor.browser, `/set?${node.kind}=${to}`, to);
    // A second tab, at another node of that kind, at the same time: it may see the write, or not yet.
    await Promise.all([wrote, this.#judge(visitor, this.#another(node), other, "/read", to)]);
    visitor[node.kind] = to;
  }

  async signOut({ who, browser }: Visitor): Promise<void> {
    const before = browser.fork();
    await browser.get(this.#next(this.#native).url, "/sign-out");
    this.counts.signedOut += 1;
    for (const { kind, url } of this.#nodes) {
      const { status, body } = await before.get(url, "/read");
      if (status === 200 && body["who"] === undefined) continue;
      this.counts.ghosts += 1;
      this.#tell(`${kind}: ${status}, ${who} is still signed in`);
    }
  }

  async verify(visitor: Visitor): Promise<void> {
    this.#moves(visitor);
    for (const node of this.#native) await this.#judge(visitor, node, visitor.browser, "/read");
  }

  #moves(visitor: Visitor): void {
    if (visitor.moved !== undefined) return;
    visitor.moved = visitor.former;
    this.counts.moved += 1;
  }

  /** `attempted`: a count that isn't acknowledged yet may be seen. */
  async #judge(visitor: Visitor, { kind, url }: Node, browser: Browser, path: string, attempted?: number): Promise<void> {
    const { status, body } = await browser.get(url, path);
    this.counts.requests += 1;
    const told = `${kind} ${path}: ${status} ${JSON.stringify(body)}, expected ${JSON.stringify({ ...visitor, browser: undefined })}`;
    if (status !== 200 || body["who"] !== visitor.who) {
      this.counts.logouts += 1;
      return this.#tell(told);
    }
    const seen = Number(body[kind] ?? 0);
    const isThere = seen === visitor[kind] || seen === attempted;
    if (isThere && (kind === "former" || Number(body["former"] ?? 0) === visitor.moved)) return;
    this.counts.lostWrites += 1;
    this.#tell(told);
  }

  #tell(what: string): void {
    if (this.lost.length < 10) this.lost.push(what);
  }

  #next(nodes: readonly Node[]): Node {
    const node = nodes[this.#turn++ % nodes.length];
    if (node === undefined) throw new Error("no node is up");
    return node;
  }

  #another(node: Node): Node {
    return this.#nodes.find((other) => other.kind === node.kind && other !== node) ?? node;
  }
}

test(`${VISITORS} live sessions move: 0 logouts, 0 lost writes`, async () => {
  redis = await startRedis({ tcp: true });
  const former = await started("former", 2);
  const visitors = Array.from({ length: VISITORS }, (_, i): Visitor => {
    return { who: `visitor-${i}`, browser: new Browser(), isKept: i % 2 === 0, former: 0, native: 0, moved: undefined };
  });
  const before = new Move(former);
  await parallel(VISITORS, AT_ONCE, async (i) => {
    const visitor = visitors[i];
    await visitor?.browser.get(former[i % 2]?.url ?? "", `/set?who=${visitor.who}`);
    if (visitor !== undefined) await before.visit(visitor, true);
  });
  expect(before.lost).toEqual([]);

  // From now on both kinds stand behind the balancer, while visitors come and go.
  const all = new Move([...former, ...(await started("native", 2))]);
  const startedAt = performance.now();
  for (let round = 0; round < ROUNDS; round++) {
    await parallel(VISITORS, AT_ONCE, async (i) => {
      const visitor = visitors[i];
      if (visitor !== undefined) await all.visit(visitor, (round + i) % 2 === 0);
    });
    all.shift();
  }
  expect(all.counts.moved).toBeGreaterThan(VISITORS * 0.95);
  expect(all.counts.backAtFormer).toBeGreaterThan(VISITORS / 2);
  const perSecond = Math.round((1000 * all.counts.requests) / (performance.now() - startedAt));
  await parallel(VISITORS, AT_ONCE, async (i) => {
    const visitor = visitors[i];
    if (visitor === undefined) return;
    if (i % 10 === 9) await all.signOut(visitor);
    else await all.verify(visitor);
  });
  console.info(`moving from connect-redis: ${VISITORS} sessions, ${perSecond} requests/s, ${JSON.stringify(all.counts)}`);
  expect(all.lost).toEqual([]);
  expect(all.counts).toMatchObject({ logouts: 0, lostWrites: 0, ghosts: 0, signedOut: Math.floor(VISITORS / 10) });

  // The last former node is gone, and with it the former store: nobody needs it any more.
  for (const child of children.slice(0, 2)) child.process.kill("SIGKILL");
  await redis.command("EVAL", "for _, k in ipairs(redis.call('KEYS', 'sess:*')) do redis.call('DEL', k) end", 0);
  await parallel(VISITORS, AT_ONCE, async (i) => {
    const visitor = visitors[i];
    if (visitor !== undefined && i % 10 !== 9) await all.verify(visitor);
  });
  expect(all.lost).toEqual([]);
}, 900_000);
