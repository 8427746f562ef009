/** A clock that stands still until it is moved, and whose timers run as it passes them: no test sleeps. */
import type { Clock } from "../../lib/clock.js";

export interface ManualClock extends Clock {
  /** Goes on by `ms`, running each timer at its time, those that they set included. */
  advance(ms: number): Promise<void>;
  /** How many timers are set. */
  timers(): number;
}

interface Task {
  readonly dueAt: number;
  readonly run: () => void;
}

export function manualClock(startAt = Date.UTC(2030, 0, 1)): ManualClock {
  let at = 0;
  const tasks = new Set<Task>();
  return {
    now: () => startAt + at,
    monotonic: () => at,
    after(ms, run) {
      const task = { dueAt: at + ms, run };
      tasks.add(task);
      return () => tasks.delete(task);
    },
    async advance(ms) {
      const until = at + ms;
      // What is under way may be about to set a timer.
      await new Promise(setImmediate);
      for (;;) {
        let next: Task | undefined;
        for (const task of tasks) if (task.dueAt <= until && (next === undefined || task.dueAt < next.dueAt)) next = task;
        if (next === undefined) break;
        tasks.delete(next);
        at = Math.max(at, next.dueAt);
        next.run();
        // What the task awaits goes on before the next one is due.
        await new Promise(setImmediate);
      }
      at = until;
    },
    timers: () => tasks.size,
  };
}
