/** This node's own writes under way, by key. While one is overdue nothing that was known of its key is served. */
import type { Clock } from "../clock.js";
import { COPY_LEASE_MS } from "../engines/engine.js";
import type { Key } from "../names.js";

/**
 * A write of our own without a reply for so long counts as given up, be the timer that says so late or not: well within the time for which
 * the engine remembers that we were told.
 */
const UNANSWERED_MS = COPY_LEASE_MS / 2;

export class UnderWay {
  readonly #clock: Clock;
  /** When the oldest was sent. */
  readonly #writes = new Map<Key, { sentAt: number; count: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  sent(key: Key, sentAt: number): void {
    const writes = this.#writes.get(key);
    if (writes === undefined) this.#writes.set(key, { sentAt, count: 1 });
    else writes.count += 1;
  }

  answered(key: Key): void {
    const writes = this.#writes.get(key);
    if (writes === undefined) return;
    writes.count -= 1;
    if (writes.count === 0) this.#writes.delete(key);
  }

  isOverdue(key: Key): boolean {
    if (this.#writes.size === 0) return false;
    const writes = this.#writes.get(key);
    return writes !== undefined && this.#clock.monotonic() - writes.sentAt >= UNANSWERED_MS;
  }
}
