/** Completion callbacks of a host: each runs exactly once, outside our try, so that what it throws is its own affair. */

/** Answers by callback if there is one, else by promise. A promise that nobody awaits never becomes an unhandled rejection. */
export function answer<T>(
  work: Promise<T>,
  callback: ((error: unknown, value?: NoInfer<T>) => void) | null | undefined,
): Promise<T> {
  if (callback === undefined || callback === null) {
    work.catch(() => {});
    return work;
  }
  work.then(
    (value) => process.nextTick(() => callback(null, value)),
    (error: unknown) => process.nextTick(() => callback(error)),
  );
  return work;
}
