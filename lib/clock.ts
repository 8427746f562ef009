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
/** Observations that contradict each other by more than this mean that the engine's clock jumped. */
const TOLERATED_MS = 250;
/** Several small jumps add up: what is observed is compared with all that was observed in this time. */
const COMPARED_MS = 2_500;
const COMPARED_EVERY_MS = 250;

interface Observation {
  /** engine time − monotonic time, if the engine read its clock just as we sent (latest) or as we received (earliest). */
  readonly latest: number;
  readonly earliest: number;
  /** Monotonic. */
  readonly at: number;
}

/**
 * What a node knows of the engine's clock: bounds, learnt from replies that carry the engine's time.
 * The engine read its clock somewhere between our sending and our receiving, so its clock now lies between `earliest()` and `latest()`.
 * A deadline is judged by `latest()`: never late, early by a round trip at the most.
 */
export class EngineClock {
  readonly #clock: Clock;
  #best: Observation;
  #recent: Observation[] = [];
  /** Told when the engine's clock turns out to have jumped. */
  onJump: () => void = () => {};

  constructor(clock: Clock) {
    this.#clock = clock;
    const offset = clock.now() - clock.monotonic();
    this.#best = { latest: offset, earliest: offset, at: Number.NEGATIVE_INFINITY };
  }

  /** `sentAt` and `receivedAt` are monotonic. A slow reply doesn't loosen bounds that a quick one has set, unless they contradict each other. */
  observe(sentAt: number, receivedAt: number, engineNow: number): void {
    const seen: Observation = { latest: engineNow - sentAt, earliest: engineNow - receivedAt, at: receivedAt };
    const best = this.#best;
    const looser = seen.latest - seen.earliest > best.latest - best.earliest;
    if (!looser || contradict(seen, best, 0) || receivedAt - best.at >= OBSERVATION_MS) this.#best = seen;
    const last = this.#recent.at(-1);
    if (last !== undefined && !contradict(seen, last, TOLERATED_MS) && receivedAt - last.at < COMPARED_EVERY_MS) return;
    this.#recent = this.#recent.filter(({ at }) => receivedAt - at < COMPARED_MS);
    const jumped = this.#recent.some((other) => contradict(seen, other, TOLERATED_MS));
    this.#recent = jumped ? [seen] : [...this.#recent, seen];
    if (jumped) this.onJump();
  }

  latest(): number {
    return Math.ceil(this.#clock.monotonic() + this.#best.latest);
  }

  earliest(): number {
    return Math.floor(this.#clock.monotonic() + this.#best.earliest);
  }
}

function contradict(one: Observation, other: Observation, by: number): boolean {
  return one.latest < other.earliest - by || one.earliest > other.latest + by;
}
