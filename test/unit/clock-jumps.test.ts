/** A jump of the engine's clock is noticed: by what is observed, over a whole copy lease, however slow the replies. */
import { EngineClock, systemClock } from "../../lib/clock.js";

function observer() {
  let [at, ahead] = [0, 0];
  const clock = new EngineClock({ now: () => 1e12 + at, monotonic: () => at, after: systemClock.after });
  const jumps = jest.fn();
  clock.onJump = jumps;
  /** One exchange that takes `ms`, after a pause. */
  const exchange = (pauseMs: number, ms = 2) => {
    at += pauseMs + ms;
    clock.observe(at - ms, at, 5e11 + at - ms / 2 + ahead);
  };
  const jump = (ms: number) => {
    ahead += ms;
  };
  return { clock, jumps, exchange, jump, engineNow: () => 5e11 + at + ahead };
}

test("a clock that ticks as ours does never jumps, however replies vary", () => {
  const { exchange, jumps } = observer();
  for (let i = 0; i < 200; i++) exchange(i % 7 === 0 ? 3_000 : 100, (i * 37) % 900);
  expect(jumps).not.toHaveBeenCalled();
});

test.each([260, -260, 5_000, -3_600_000])("a jump of %d ms is noticed with the next quick reply, once, and believed", (ms) => {
  const { clock, exchange, jumps, jump, engineNow } = observer();
  for (let i = 0; i < 10; i++) exchange(500);
  jump(ms);
  exchange(500);
  expect(jumps).toHaveBeenCalledTimes(1);
  expect(clock.earliest()).toBeLessThanOrEqual(engineNow());
  expect(clock.latest()).toBeGreaterThanOrEqual(engineNow());
  for (let i = 0; i < 20; i++) exchange(500);
  expect(jumps).toHaveBeenCalledTimes(1);
});

test.each([200, -200])("jumps of %d ms, each within what is tolerated, add up over a lease", (ms) => {
  const { exchange, jumps, jump } = observer();
  for (let i = 0; i < 10; i++) exchange(500);
  jump(ms);
  exchange(500);
  expect(jumps).not.toHaveBeenCalled();
  exchange(100);
  jump(ms);
  exchange(700);
  expect(jumps).toHaveBeenCalledTimes(1);
});

test("small ones further apart than a lease don't: what was granted before is over", () => {
  const { exchange, jumps, jump } = observer();
  for (let i = 0; i < 10; i++) exchange(500);
  for (let round = 0; round < 5; round++) {
    jump(200);
    for (let i = 0; i < 6; i++) exchange(500);
  }
  expect(jumps).not.toHaveBeenCalled();
});

test("LIMIT: a jump that hides in a slow reply isn't noticed until a quick one comes; the scripts themselves see that a command was slow", () => {
  const { exchange, jumps, jump } = observer();
  for (let i = 0; i < 3; i++) exchange(500, 900);
  jump(600);
  exchange(500, 900);
  expect(jumps).not.toHaveBeenCalled();
});
