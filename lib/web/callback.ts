/**
 * Completion callbacks of a host: each runs exactly once, outside our try, so that what it throws is its own affair. In a microtask, not
 * by nextTick: that would come after the response was uncorked, and express-session's response would go out in two packets.
 */
import type { MaybePromise } from "../engines/engine.js";
import { together } from "./together.js";

// An application's tests may put a fake in its place, which never runs.
const { queueMicrotask } = globalThis;

/** Answers as `answer` does, but what is known at once together with what else came in. */
export function answerTogether<T>(
  work: MaybePromise<T>,
  callback: ((error: unknown, value?: NoInfer<T>) => void) | null | undefined,
): Promise<T> {
  if (work instanceof Promise || callback === undefined || callback === null) return answer(work, callback);
  together(() => callback(null, work));
  return Promise.resolve(work);
}

/** Answers by callback if there is one, else by promise. A promise that nobody awaits never becomes an unhandled rejection. */
export function answer<T>(
  work: MaybePromise<T>,
  callback: ((error: unknown, value?: NoInfer<T>) => void) | null | undefined,
): Promise<T> {
  if (!(work instanceof Promise)) {
    // What is done already is told at once: express-session then sends its response in one piece.
    callback?.(null, work);
    return Promise.resolve(work);
  }
  if (callback === undefined || callback === null) {
    work.catch(() => {});
    return work;
  }
  work.then(
    (value) => queueMicrotask(() => callback(null, value)),
    (error: unknown) => queueMicrotask(() => callback(error)),
  );
  return work;
}
