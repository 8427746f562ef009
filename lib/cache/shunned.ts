/**
 * Keys of which nothing is copied for a while: those whose copies were dropped twice in a row without having served anybody, because
 * several nodes write them in turn: each copy would only cost messages. Bounded; to forget one costs no more than that.
 */
import type { Clock } from "../clock.js";
import type { Key } from "../names.js";

const LIMIT = 10_000;
const SHUNNED_MS = 10_000;

export class Shunned {
  readonly #clock: Clock;
  /** Until when, on the monotonic clock; 0: dropped once without a hit. */
  readonly #keys = new Map<Key, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  has(key: Key): boolean {
    const until = this.#keys.size === 0 ? undefined : this.#keys.get(key);
    if (until === undefined || until === 0) return false;
    if (this.#clock.monotonic() < until) return true;
    this.#keys.delete(key);
    return false;
  }

  /** A copy of the key was dropped; `hit`: it had served somebody. */
  dropped(key: Key, hit: boolean): void {
    const before = this.#keys.get(key);
    this.#keys.delete(key);
    if (hit) return;
    if (this.#keys.size >= LIMIT) this.#keys.clear();
    this.#keys.set(key, before === undefined ? 0 : this.#clock.monotonic() + SHUNNED_MS);
  }
}
