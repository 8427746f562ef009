/**
 * Visitors who never stop: each counts up in its own session, on nodes in turn, and knows which counts were acknowledged.
 * Every answer is judged: a success shows the visitor's own session with nothing acknowledged lost; anything else is an error that says so;
 * and none gives the visitor another session. What isn't so is a *violation*.
 */
import { type Answer, Browser } from "./browser.js";

/** A node that a visitor may ask. A broken connection to a node that was killed is nobody's fault. */
export interface Target {
  readonly url: string;
  killed?: boolean;
}

export interface Judged {
  ok: number;
  errors: number;
  /** The longest wait for an answer: to a read or an error; to a write that was stored, which may also wait for holders of copies. */
  slowestMs: number;
  slowestWriteMs: number;
  readonly violations: string[];
}

interface Visitor {
  readonly browser: Browser;
  readonly cookie: string | undefined;
  acknowledged: number;
  attempted: number;
}

export class Load {
  readonly judged: Judged = { ok: 0, errors: 0, slowestMs: 0, slowestWriteMs: 0, violations: [] };
  readonly #targets: () => readonly Target[];
  readonly #errorsAllowed: () => boolean;
  readonly #visitors: Visitor[] = [];
  #running: Promise<unknown> = Promise.resolve();
  #stopped = false;
  #turn = 0;

  /** `targets`: the nodes that are up at the moment. `errorsAllowed`: whether the engine is meant to be failing. */
  constructor(targets: () => readonly Target[], errorsAllowed: () => boolean = () => false) {
    this.#targets = targets;
    this.#errorsAllowed = errorsAllowed;
  }

  async start(visitors: number): Promise<void> {
    for (let i = 0; i < visitors; i++) {
      const browser = new Browser();
      await browser.get(this.#next().url, "/set?name=n&value=0");
      this.#visitors.push({ browser, cookie: browser.cookie("sid"), acknowledged: 0, attempted: 0 });
    }
    this.#running = Promise.all(this.#visitors.map((visitor) => this.#visit(visitor)));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  /** Whether every visitor finds all that was acknowledged, at every node, now. */
  async verify(): Promise<void> {
    for (const visitor of this.#visitors) {
      for (const target of this.#targets()) this.#judge(visitor, await visitor.browser.get(target.url, "/read"), "/read");
    }
  }

  /** The sum of the counts that were acknowledged. */
  get acknowledged(): number {
    return this.#visitors.reduce((sum, { acknowledged }) => sum + acknowledged, 0);
  }

  async #visit(visitor: Visitor): Promise<void> {
    for (let i = 0; !this.#stopped; i++) {
      const target = this.#next();
      const writes = i % 2 === 0;
      if (writes) visitor.attempted += 1;
      const path = writes ? `/set?name=n&value=${visitor.attempted}` : "/read";
      try {
        const answer = await visitor.browser.get(target.url, path);
        this.#judge(visitor, answer, path);
        if (writes && answer.status === 200) visitor.acknowledged = visitor.attempted;
        // Errors come at once: a visitor takes a breath before the next attempt.
        if (answer.status !== 200) await new Promise((resolve) => setTimeout(resolve, 10));
      } catch (error) {
        if (!target.killed) this.#violated(`${path}: ${error}`);
      }
    }
  }

  #judge(visitor: Visitor, { status, body, tookMs }: Answer, path: string): void {
    if (visitor.browser.cookie("sid") !== visitor.cookie)
      this.#violated(`${path}: status ${status} with another session's cookie`);
    const slowest = status === 200 && path !== "/read" ? "slowestWriteMs" : "slowestMs";
    this.judged[slowest] = Math.max(this.judged[slowest], tookMs);
    if (status === 200) {
      this.judged.ok += 1;
      const n = Number(body["n"]);
      if (!(n >= visitor.acknowledged && n <= visitor.attempted)) {
        this.#violated(`${path}: has ${JSON.stringify(body)}, acknowledged was ${visitor.acknowledged}`);
      }
      return;
    }
    this.judged.errors += 1;
    if (status < 500) this.#violated(`${path}: status ${status}`);
    if (!this.#errorsAllowed()) this.#violated(`${path}: status ${status} although the engine is well`);
  }

  #violated(what: string): void {
    if (this.judged.violations.length < 20) this.judged.violations.push(what);
  }

  #next(): Target {
    const targets = this.#targets();
    const target = targets[this.#turn++ % targets.length];
    if (target === undefined) throw new Error("no node is up");
    return target;
  }
}
