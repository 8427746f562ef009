/**
 * A writer's waiting: until every node that may still trust a copy of what it replaced has answered, or that node's lease is over by
 * this node's own monotonic clock. The invariant: an answer counts only for the very drop that it names.
 */
import type { Clock } from "../clock.js";
import type { Waiting } from "../engines/engine.js";
import type { Acked } from "./notices.js";

/** Clocks tick at the same rate, but for this, and timers fire a little late. */
const DRIFT = 1.05;
const SLACK_MS = 50;

/** Opened before the write is sent: an answer may overtake the write's reply, which comes over another connection. */
export class Answers {
  readonly heard = new Set<number>();
  readonly #closed = new Map<string, number>();
  onAck: () => void = () => {};

  hear(number: number, by: number, closed: number): void {
    this.heard.add(number);
    this.#closed.set(`${number} ${by}`, closed);
    this.onAck();
  }

  /** How many live things of an ended session the node of that number and epoch closed; undefined: it didn't answer. */
  closedBy(number: number, epoch: number): number | undefined {
    return this.#closed.get(`${number} ${epoch}`);
  }
}

export class Acks {
  readonly #clock: Clock;
  readonly #awaited = new Map<number, Answers>();
  #serial = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Gives the serial that answers shall name. Until `settled` or `forget`. */
  expect(): number {
    this.#serial += 1;
    this.#awaited.set(this.#serial, new Answers());
    return this.#serial;
  }

  forget(serial: number): void {
    this.#awaited.delete(serial);
  }

  /** What is heard, or was up to now, to the drops of that serial. */
  answers(serial: number): Answers | undefined {
    return this.#awaited.get(serial);
  }

  /** The node of that number, in its epoch `by`, has answered those drops. */
  heard(number: number, by: number, acked: readonly Acked[]): void {
    for (const { serial, closed } of acked) this.#awaited.get(serial)?.hear(number, by, closed);
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
