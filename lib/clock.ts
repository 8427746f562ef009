/**
 * Time, injected. Nothing in the core reads a clock or sets a timer but through this port, so that no unit test sleeps.
 */
import { AnynodeError } from "./errors.js";

export interface Clock {
  /** Wall-clock milliseconds since the epoch; may step. */
  now(): number;
  /** Milliseconds that only grow, from an arbitrary start. For durations and deadlines. */
  monotonic(): number;
  /** Runs `task` once after `ms`. The timer never keeps the process alive. Returns its cancel. */
  after(ms: number, task: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, task) {
    const timer = setTimeout(task, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/**
 * Settles as `work` does, or rejects with ENGINE_TIMEOUT after `ms`: a timeout means *unknown*, the work may still happen.
 * `onTimeout` runs first, so that work which hasn't started can be called off.
 */
export function within<T>(clock: Clock, ms: number, work: Promise<T>, onTimeout?: () => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(ms, () => {
      onTimeout?.();
      reject(new AnynodeError("ENGINE_TIMEOUT", `The session engine didn't answer within ${ms} ms (deadlineMs).`));
    });
    work.then(
      (value) => {
        cancel();
        resolve(value);
      },
      (error) => {
        cancel();
        reject(error);
      },
    );
  });
}

/** An observation of the engine's clock is replaced by a looser one only after this time: clocks drift a millisecond in it at the most. */
const OBSERVATION_MS = 10_000;

/**
 * What a node knows of the engine's clock: bounds, learnt from replies that carry the engine's time.
 * The engine read its clock somewhere between our sending and our receiving, so its clock now lies between `earliest()` and `latest()`.
 * A deadline is judged by `latest()`: never late, early by a round trip at the most.
 */
export class EngineClock {
  readonly #clock: Clock;
  /** engine time − monotonic time, if the engine read its clock just as we sent (latest) or as we received (earliest). */
  #latest: number;
  #earliest: number;
  #observedAt = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#latest = clock.now() - clock.monotonic();
    this.#earliest = this.#latest;
  }

  /** `sentAt` and `receivedAt` are monotonic. A slow reply doesn't loosen bounds that a quick one has set, unless they contradict each other. */
  observe(sentAt: number, receivedAt: number, engineNow: number): void {
    const latest = engineNow - sentAt;
    const earliest = engineNow - receivedAt;
    const looser = latest - earliest > this.#latest - this.#earliest;
    const stepped = latest < this.#earliest || earliest > this.#latest;
    if (looser && !stepped && receivedAt - this.#observedAt < OBSERVATION_MS) return;
    this.#latest = latest;
    this.#earliest = earliest;
    this.#observedAt = receivedAt;
  }

  latest(): number {
    return Math.ceil(this.#clock.monotonic() + this.#latest);
  }

  earliest(): number {
    return Math.floor(this.#clock.monotonic() + this.#earliest);
  }
}
