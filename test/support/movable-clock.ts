/** A clock that stands still until it is moved. Its timers are real ones: they run while a test awaits. */
import { type Clock, systemClock } from "../../lib/clock.js";

export interface MovableClock extends Clock {
  advance(ms: number): void;
}

export function movableClock(now = Date.UTC(2030, 0, 1)): MovableClock {
  let moved = 0;
  return {
    now: () => now + moved,
    monotonic: () => moved,
    after: systemClock.after,
    advance(ms) {
      moved += ms;
    },
  };
}
