/**
 * Keys of which nothing is copied for a while: those whose copies were dropped twice in a row without having served anybody (several nodes
 * write them in turn: each copy would only cost messages), and those with a write whose outcome is unknown. Bounded; forgetting is allowed for
 * the first kind only, so the second has a map of its own that holds no more than a node's failed writes of half a second.
 */
import type { Clock } from "../clock.js";
import type { Key } from "../names.js";

const LIMIT = 10_000;
/** How long a key that several nodes write in turn isn't copied. */
const SHUNNED_MS = 10_000;

export class Shunned {
  readonly #clock: Clock;
  /** Until when, on the monotonic clock; 0: dropped once without a hit. */
  readonly #busy = new Map<Key, number>();
  readonly #unknown = new Map<Key, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  has(key: Key): boolean {
    if (this.#busy.size === 0 && this.#unknown.size === 0) return false;
    return this.#isBefore(this.#unknown, key) || this.#isBefore(this.#busy, key);
  }

  /** A copy of the key was dropped; `hit`: it had served somebody. */
  dropped(key: Key, hit: boolean): void {
    const before = this.#busy.get(key);
    this.#busy.delete(key);
    if (hit) return;
    if (this.#busy.size >= LIMIT) this.#busy.clear();
    this.#busy.set(key, before === undefined ? 0 : this.#clock.monotonic() + SHUNNED_MS);
  }

  /** Nothing is copied until that time on the monotonic clock. */
  until(key: Key, at: number): void {
    if (this.#unknown.size >= LIMIT) for (const other of [...this.#unknown.keys()]) this.#isBefore(this.#unknown, other);
    this.#unknown.set(key, Math.max(at, this.#unknown.get(key) ?? 0));
  }

  #isBefore(times: Map<Key, number>, key: Key): boolean {
    const at = times.get(key);
    if (at === undefined || at === 0) return false;
    if (this.#clock.monotonic() < at) return true;
    times.delete(key);
    return false;
  }
}
