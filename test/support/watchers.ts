/**
 * Visitors who write, read and sign out, on nodes in turn, and judge every answer: a read that starts after a completed write must show it,
 * or something newer; a read that starts after a completed sign-out must show nothing. What isn't so is *stale*, or *resurrected*.
 */
import { Browser } from "./browser.js";
import type { NodeProcess } from "./node-process.js";

/** A node that visitors ask. A broken connection to one that was killed is nobody's fault. */
export interface Target extends NodeProcess {
  killed: boolean;
}

export interface Judged {
  /** Reads that started after a completed write, or a completed sign-out, and were answered. */
  afterWrite: number;
  afterEnd: number;
  errors: number;
  readonly stale: string[];
  readonly resurrected: string[];
}

interface Life {
  readonly browser: Browser;
  /** How many losses there had been when it began. */
  readonly losses: number;
  acknowledged: number;
  attempted: number;
}

/** As many as each visitor keeps of the sessions that it has ended, to look at once more in the end. */
const KEPT = 40;

export class Watchers {
  readonly judged: Judged = { afterWrite: 0, afterEnd: 0, errors: 0, stale: [], resurrected: [] };
  readonly #targets: () => readonly Target[];
  readonly #ended: Browser[] = [];
  #running: Promise<unknown> = Promise.resolve();
  #stopped = false;
  #losses = 0;
  #losing = false;

  constructor(targets: () => readonly Target[]) {
    this.#targets = targets;
  }

  /** While Redis loses what it acknowledged: a session that isn't there any more is no failure, but one that is older than it was is. */
  set losing(losing: boolean) {
    this.#losing = losing;
    this.#losses += 1;
  }

  start(visitors: number): void {
    this.#running = Promise.all(Array.from({ length: visitors }, (_, i) => this.#visit(i)));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  /** Whether any of the sessions that were ended last is back on any node, now. */
  async verify(): Promise<void> {
    for (const browser of this.#ended) await this.#readEverywhere((target) => this.#readEnded(target, browser));
  }

  async #visit(i: number): Promise<void> {
    for (let turn = i; !this.#stopped; turn++) {
      const life = await this.#born(turn);
      for (let write = 0; life !== undefined && write < 3 && !this.#stopped; write++) {
        // While it is written it is read, too: copies are made just when they become old.
        const reading = this.#readEverywhere((target) => this.#read(target, life, false));
        await this.#write(life, turn + write);
        await reading;
        for (let pass = 0; pass < 2; pass++) await this.#readEverywhere((target) => this.#read(target, life, true));
      }
      if (life !== undefined && (await this.#signOut(life, turn + 1))) {
        for (let pass = 0; pass < 6; pass++) await this.#readEverywhere((target) => this.#readEnded(target, life.browser));
        this.#ended.push(life.browser);
        if (this.#ended.length > KEPT) this.#ended.shift();
      }
    }
  }

  /** A new session; undefined if that failed. */
  async #born(turn: number): Promise<Life | undefined> {
    const browser = new Browser();
    const losses = this.#losses;
    const answer = await this.#ask(this.#at(turn), browser, "/set?name=n&value=1");
    return answer?.status === 200 ? { browser, losses, acknowledged: 1, attempted: 1 } : undefined;
  }

  async #write(life: Life, turn: number): Promise<void> {
    life.attempted += 1;
    const value = life.attempted;
    const answer = await this.#ask(this.#at(turn), life.browser.fork(), `/set?name=n&value=${value}`);
    // A write to a session that Redis has lost makes a new one, of another cookie, or is dropped: nothing of this one was stored.
    if (answer?.status === 200 && !this.#mayBeLost(life)) life.acknowledged = value;
  }

  async #read(target: Target, life: Life, counts: boolean): Promise<void> {
    const least = life.acknowledged;
    const answer = await this.#ask(target, life.browser.fork(), "/read");
    if (answer?.status !== 200) return;
    if (counts) this.judged.afterWrite += 1;
    const n = Number(answer.body["n"]);
    const missing = Object.keys(answer.body).length === 0 && this.#mayBeLost(life);
    if (!missing && !(n >= least && n <= life.attempted))
      this.judged.stale.push(`${JSON.stringify(answer.body)}, ${least} was stored`);
  }

  /** Whether it is sure that the session has ended. */
  async #signOut({ browser }: Life, turn: number): Promise<boolean> {
    const answer = await this.#ask(this.#at(turn), browser.fork(), "/sign-out");
    return answer?.status === 200;
  }

  async #readEnded(target: Target, browser: Browser): Promise<void> {
    const answer = await this.#ask(target, browser.fork(), "/read");
    if (answer?.status !== 200) return;
    this.judged.afterEnd += 1;
    if (Object.keys(answer.body).length > 0) this.judged.resurrected.push(JSON.stringify(answer.body));
  }

  #mayBeLost({ losses }: Life): boolean {
    return this.#losing || losses !== this.#losses;
  }

  async #readEverywhere(read: (target: Target) => Promise<void>): Promise<void> {
    await Promise.all(this.#targets().map(read));
  }

  async #ask(target: Target, browser: Browser, path: string) {
    try {
      const answer = await browser.get(target.url, path);
      if (answer.status !== 200) {
        this.judged.errors += 1;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      return answer;
    } catch (error) {
      if (!target.killed) throw error;
      return undefined;
    }
  }

  #at(turn: number): Target {
    const targets = this.#targets();
    const target = targets[turn % targets.length];
    if (target === undefined) throw new Error("no node is up");
    return target;
  }
}
