/**
 * A writer's waiting: until every node that may still trust a copy of what it replaced has answered, or that node's lease is over by
 * this node's own monotonic clock. The invariant: an answer counts only for the very drop that it names.
 */
import type { Clock } from "../clock.js";
import type { Acked, Waiting } from "../engines/engine.js";
import type { Key } from "../names.js";

/** Clocks tick at the same rate, but for this, and timers fire a little late. */
const DRIFT = 1.05;
const SLACK_MS = 50;

/** Opened before the write is sent: an answer may overtake the write's reply, which comes over another connection. */
export class Awaited {
  readonly heard = new Set<string>();
  onAck: () => void = () => {};

  has(number: number, version: number): boolean {
    return this.heard.has(`${number} ${version}`);
  }
}

export class Acks {
  readonly #clock: Clock;
  readonly #awaited = new Map<Key, Set<Awaited>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  expect(key: Key): Awaited {
    const awaited = new Awaited();
    const all = this.#awaited.get(key);
    if (all === undefined) this.#awaited.set(key, new Set([awaited]));
    else all.add(awaited);
    return awaited;
  }

  forget(key: Key, awaited: Awaited): void {
    const all = this.#awaited.get(key);
    if (all?.delete(awaited) && all.size === 0) this.#awaited.delete(key);
  }

  heard(number: number, acked: readonly Acked[]): void {
    for (const { key, version } of acked) {
      for (const awaited of this.#awaited.get(key) ?? []) {
        awaited.heard.add(`${number} ${version}`);
        awaited.onAck();
      }
    }
  }

  /** Resolves, after all have answered or their leases are over, with the numbers of those that didn't answer. Forgets `awaited`. */
  async settled(key: Key, awaited: Awaited, version: number, waitFor: readonly Waiting[]): Promise<number[]> {
    const waiting = new Map(waitFor.map(({ number, leftMs }) => [number, leftMs]));
    const silent: number[] = [];
    await new Promise<void>((resolve) => {
      const cancels = new Map<number, () => void>();
      const done = (number: number) => {
        cancels.get(number)?.();
        waiting.delete(number);
        if (waiting.size === 0) resolve();
      };
      awaited.onAck = () => {
        for (const number of [...waiting.keys()]) if (awaited.has(number, version)) done(number);
      };
      awaited.onAck();
      if (waiting.size === 0) resolve();
      for (const [number, leftMs] of [...waiting]) {
        const late = () => {
          silent.push(number);
          done(number);
        };
        cancels.set(number, this.#clock.after(leftMs * DRIFT + SLACK_MS, late));
      }
    });
    this.forget(key, awaited);
    return silent;
  }
}
