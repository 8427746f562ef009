/** Waits for what must come true soon, by asking; whoever would sleep a fixed time uses this instead. */

export async function until(what: string, isTrue: () => boolean | Promise<boolean>, withinMs = 10_000): Promise<void> {
  const givingUpAt = performance.now() + withinMs;
  while (!(await isTrue())) {
    if (performance.now() >= givingUpAt) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
