/** The memory engine beyond the contract: what it forgets and when, its timers, and where it refuses to be used. */
import cluster from "node:cluster";
import { memoryEngine } from "anynode/memory";
import { ENDED_MARK_MS } from "../../lib/engines/engine.js";
import { manualClock } from "../support/manual-clock.js";
import { keyFor } from "../support/names.js";

const body = Buffer.from("body");
const minute = { idleMs: 60_000, absoluteAt: 0 };

async function listed(engine: ReturnType<typeof memoryEngine>): Promise<number> {
  let count = 0;
  for await (const _ of engine.list()) count++;
  return count;
}

test("reads answer at once", async () => {
  const engine = memoryEngine({ clock: manualClock() });
  await engine.create(keyFor(1), body, minute);
  expect(engine.read(keyFor(1))).toMatchObject({ outcome: "found", body });
  expect(engine.read(keyFor(2))).toEqual({ outcome: "gone", ended: false });
});

describe("the sweep", () => {
  test("sets no timer while there is nothing to forget, and none after all is forgotten or the engine closed", async () => {
    const clock = manualClock();
    const engine = memoryEngine({ clock });
    engine.read(keyFor(1));
    expect(clock.timers()).toBe(0);
    await engine.create(keyFor(1), body, minute);
    await engine.create(keyFor(2), body, minute);
    expect(clock.timers()).toBe(1);
    await clock.advance(61_000);
    expect(clock.timers()).toBe(0);
    await engine.create(keyFor(3), body, minute);
    await engine.close();
    expect(clock.timers()).toBe(0);
  });

  test("forgets ended marks once their time is over", async () => {
    const clock = manualClock();
    const engine = memoryEngine({ clock });
    await engine.end(keyFor(1));
    await clock.advance(ENDED_MARK_MS - 1);
    expect(engine.read(keyFor(1))).toEqual({ outcome: "gone", ended: true });
    expect(clock.timers()).toBe(1);
    await clock.advance(1_000);
    expect(engine.read(keyFor(1))).toEqual({ outcome: "gone", ended: false });
    expect(clock.timers()).toBe(0);
  });

  test("goes through many records in steps, and keeps the live ones", async () => {
    const clock = manualClock();
    const engine = memoryEngine({ clock });
    for (let i = 0; i < 5_000; i++) {
      await engine.create(keyFor(i), body, { idleMs: i % 10 === 0 ? 1e9 : 1_000, absoluteAt: 0 });
    }
    await clock.advance(1_000);
    expect(await listed(engine)).toBe(500);
    await clock.advance(5_000);
    expect(await listed(engine)).toBe(500);
    expect(clock.timers()).toBe(1);
  });

  test("remembers how far versions had come, whatever the clock says afterwards", async () => {
    const clock = manualClock();
    const engine = memoryEngine({ clock });
    const first = await engine.create(keyFor(1), body, minute);
    await clock.advance(61_000);
    expect(clock.timers()).toBe(0);
    await clock.advance(-3_600_000);
    const second = await engine.create(keyFor(1), body, minute);
    if (first.outcome !== "committed" || second.outcome !== "committed") throw new Error("a create was refused");
    expect(second.version).toBeGreaterThan(first.version);
  });
});

test("a closed subscription gets nothing of what was published just before", async () => {
  const engine = memoryEngine({ clock: manualClock() });
  const got: string[] = [];
  const subscription = await engine.subscribe("news", (message) => got.push(message));
  const published = engine.publish("news", "late");
  await subscription.close();
  await published;
  await new Promise(setImmediate);
  expect(got).toEqual([]);
});

describe("in a cluster worker", () => {
  beforeEach(() => {
    jest.replaceProperty(cluster, "isWorker", true);
  });
  afterEach(() => {
    jest.restoreAllMocks();
  });

  test("it is refused, with the value and the cure", () => {
    expect(() => memoryEngine()).toThrow(expect.objectContaining({ code: "OPTION_INVALID" }));
    expect(() => memoryEngine({ single: false })).toThrow(/"memory:".*lmdb:.*single: true/);
  });

  test("it is taken when said to be the only one", () => {
    expect(memoryEngine({ single: true }).kind).toBe("memory");
  });
});
