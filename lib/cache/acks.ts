/**
 * A writer's waiting: until every node that may still trust a copy of what it replaced has answered, or that node's lease is over by
 * this node's own monotonic clock. The invariant: an answer counts only for the very drop that it names.
 */
import type { Clock } from "../clock.js";
import type { Waiting } from "../engines/engine.js";

/** Clocks tick at the same rate, but for this, and timers fire a little late. */
const DRIFT = 1.05;
const SLACK_MS = 50;

/** Opened before the write is sent: an answer may overtake the write's reply, which comes over another connection. */
interface Awaited {
  readonly heard: Set<number>;
  onAck: () => void;
}

export class Acks {
  readonly #clock: Clock;
  readonly #awaited = new Map<number, Awaited>();
  #serial = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Gives the serial that answers shall name. Until `settled` or `forget`. */
  expect(): number {
    this.#serial += 1;
    this.#awaited.set(this.#serial, { heard: new Set(), onAck: () => {} });
    return this.#serial;
  }

  forget(serial: number): void {
    this.#awaited.delete(serial);
  }

  heard(number: number, serials: readonly number[]): void {
    for (const serial of serials) {
      const awaited = this.#awaited.get(serial);
      awaited?.heard.add(number);
      awaited?.onAck();
    }
  }

  /** Resolves, after all have answered or their leases are over, with the numbers of those that didn't answer. */
  async settled(serial: number, waitFor: readonly Waiting[]): Promise<number[]> {
    const awaited = this.#awaited.get(serial);
    const waiting = new Set(waitFor.map(({ number }) => number));
    const silent: number[] = [];
    await new Promise<void>((resolve) => {
      const cancels = new Map<number, () => void>();
      const done = (number: number) => {
        cancels.get(number)?.();
        if (waiting.delete(number) && waiting.size === 0) resolve();
      };
      const look = () => {
        for (const number of [...waiting]) if (awaited?.heard.has(number)) done(number);
      };
      if (waiting.size === 0) resolve();
      look();
      for (const { number, leftMs } of waitFor) {
        if (!waiting.has(number)) continue;
        const late = () => {
          silent.push(number);
          done(number);
        };
        cancels.set(number, this.#clock.after(leftMs * DRIFT + SLACK_MS, late));
      }
      if (awaited !== undefined) awaited.onAck = look;
    });
    this.forget(serial);
    return silent;
  }
}
