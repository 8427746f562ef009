/** Time: the bounds on the engine's clock always hold it, deadlines settle once, and no timer keeps a process alive. */
import fc from "fast-check";
import { EngineClock, systemClock, within } from "../../lib/clock.js";
import { manualClock } from "../support/manual-clock.js";

const delays = fc.nat({ max: 3_000 });
const exchange = fc.record({ pauseMs: fc.nat({ max: 20_000 }), thereMs: delays, backMs: delays, lookMs: fc.nat({ max: 5_000 }) });

test("G5: the engine's time is always within [earliest, latest], whatever the round trips and however far off our clock is", () => {
  fc.assert(
    fc.property(fc.integer({ min: -1e9, max: 1e9 }), fc.array(exchange, { minLength: 1, maxLength: 20 }), (offset, exchanges) => {
      let at = 0;
      const clock = { now: () => 2e12 + at, monotonic: () => at, after: systemClock.after };
      const engineNow = () => 2e12 + at + offset;
      const bounds = new EngineClock(clock);
      for (const { pauseMs, thereMs, backMs, lookMs } of exchanges) {
        at += pauseMs;
        const sentAt = at;
        at += thereMs;
        const answered = engineNow();
        at += backMs;
        bounds.observe(sentAt, at, answered);
        at += lookMs;
        expect(bounds.earliest()).toBeLessThanOrEqual(engineNow());
        expect(bounds.latest()).toBeGreaterThanOrEqual(engineNow());
      }
    }),
    { numRuns: 2_000 },
  );
});

test("a slow reply doesn't loosen what a quick one has set; after ten seconds it does, since clocks drift", () => {
  let at = 0;
  const bounds = new EngineClock({ now: () => at, monotonic: () => at, after: systemClock.after });
  bounds.observe(0, 2, 1);
  at = 3_000;
  bounds.observe(1_000, 3_000, 2_000);
  expect(bounds.latest() - bounds.earliest()).toBe(2);
  at = 20_000;
  bounds.observe(19_000, 20_000, 19_500);
  expect(bounds.latest() - bounds.earliest()).toBe(1_000);
});

test("an engine whose clock stepped is believed at once", () => {
  let at = 0;
  const bounds = new EngineClock({ now: () => at, monotonic: () => at, after: systemClock.after });
  bounds.observe(0, 2, 1);
  at = 100;
  bounds.observe(50, 100, 3_600_075);
  expect(bounds.earliest()).toBe(3_600_075);
  expect(bounds.latest()).toBe(3_600_125);
});

describe("within", () => {
  test("settles as the work does, and leaves no timer behind", async () => {
    const clock = manualClock();
    await expect(within(clock, 100, Promise.resolve(1))).resolves.toBe(1);
    await expect(within(clock, 100, Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(clock.timers()).toBe(0);
  });
  test("rejects with ENGINE_TIMEOUT at the deadline, after onTimeout; what the work does later is nobody's business", async () => {
    const clock = manualClock();
    const onTimeout = jest.fn();
    let fail: (error: Error) => void = () => {};
    const work = new Promise<never>((_, reject) => {
      fail = reject;
    });
    const late = expect(within(clock, 100, work, onTimeout)).rejects.toMatchObject({ code: "ENGINE_TIMEOUT", status: 503 });
    await clock.advance(99);
    expect(onTimeout).not.toHaveBeenCalled();
    await clock.advance(1);
    await late;
    expect(onTimeout).toHaveBeenCalledTimes(1);
    fail(new Error("too late"));
    await clock.advance(1);
  });
});

test("a timer of the system's clock doesn't keep the process alive", () => {
  const before = process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length;
  const cancel = systemClock.after(60_000, () => {});
  expect(process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length).toBe(before);
  cancel();
});
