/** What a node hears of its channel: once each, of the last subscription only; and how it turns to reading by asking, and back. */
import { Copies } from "../../lib/cache/copies.js";
import { EngineClock } from "../../lib/clock.js";
import type { Engine, Subscription } from "../../lib/engines/engine.js";
import { AnynodeError } from "../../lib/errors.js";
import { Events } from "../../lib/events.js";
import { Registry } from "../../lib/registry/registry.js";
import { Watermark } from "../../lib/registry/watermark.js";
import { textsOf } from "../../lib/session/attributes.js";
import { makeSid } from "../../lib/session/id.js";
import { twoNodes } from "../support/copies-stage.js";
import { engineDouble, Gate } from "../support/engine-double.js";
import { settled } from "../support/held-wire.js";
import { CopiesMedium } from "../support/leased-engine.js";
import { manualClock } from "../support/manual-clock.js";
import { keyFor } from "../support/names.js";

function alone(verbs: (sound: Engine) => Partial<Engine> = () => ({})) {
  const clock = manualClock();
  const medium = new CopiesMedium(clock.now);
  const sound = medium.engine();
  const double = engineDouble(sound, verbs(sound));
  const engineClock = new EngineClock(clock);
  const copies = new Copies(double.engine, clock, engineClock, "leased");
  return { clock, medium, double, copies, engineClock, sound };
}

test("RACE: whoever wants the channel heard while a subscription is under way waits for that one: no drop is heard twice", async () => {
  const gates = [new Gate(), new Gate()];
  const asked: ((message: string) => void)[] = [];
  const closed: number[] = [];
  const { copies } = alone(() => ({
    async subscribe(_, onMessage): Promise<Subscription> {
      const at = asked.push(onMessage) - 1;
      await gates[at]?.passed;
      return { close: async () => void closed.push(at) };
    },
  }));
  const joins = [copies.joined(1, 10), copies.joined(1, 11)];
  await settled();
  for (const gate of gates.toReversed()) gate.open();
  await Promise.all(joins);
  for (const hear of asked) hear(`drop ${keyFor(1)} 1 2 3 4 new`);
  expect([asked.length, copies.counts.drops]).toEqual([1, 1]);
  expect(closed).toEqual([]);
});

test("RACE: a subscription that comes to stand after the stop is given up", async () => {
  const gate = new Gate();
  const close = jest.fn(async () => {});
  const { copies } = alone(() => ({
    async subscribe() {
      await gate.passed;
      return { close };
    },
  }));
  const joining = copies.joined(1, 10);
  await settled();
  await copies.stop();
  gate.open();
  await joining;
  expect(close).toHaveBeenCalledTimes(1);
});

test("RACE: a node that leaves while it joins again sends no beat: its echo would begin a run for which no writer waits", async () => {
  const { copies, double, clock, engineClock, sound } = alone();
  const about = { name: "a", address: "", version: "1", reads: "leased" } as const;
  const keys = { ids: ["plain"], settled: true, heard: () => {} };
  const registry = new Registry(
    double.engine,
    clock,
    engineClock,
    new Events(),
    copies,
    about,
    keys,
    new Watermark(double.engine, clock, () => {}),
  );
  await registry.join();
  await clock.advance(600);
  expect(copies.trusted).toBe(true);
  const [row] = (await sound.nodes()).rows;
  if (row === undefined) throw new Error("no row");
  await sound.leave(row.nodeId, row.epoch);
  double.use({ join: () => Promise.reject(new AnynodeError("ENGINE_UNAVAILABLE", "down")) });
  await clock.advance(600);
  const gate = new Gate();
  double.use({
    async join(...args) {
      await gate.passed;
      return sound.join(...args);
    },
  });
  await clock.advance(600);
  double.forget();
  const leaving = registry.leave();
  gate.open();
  await leaving;
  await clock.advance(2_000);
  expect([double.count("beat"), copies.trusted]).toEqual([0, false]);
  expect((await sound.nodes()).rows).toMatchObject([{ left: true }]);
});

test("an engine that may not publish: the node says so, asks for each read, and comes back by itself", async () => {
  const { medium, clock, a, b } = await twoNodes();
  await b.v();
  const modes: string[] = [];
  b.sessions.on("reads", ({ mode }) => modes.push(mode));
  medium.server.mute = true;
  const setting = a.set(2);
  await clock.advance(2_500);
  await setting;
  expect(await b.v()).toBe(2);
  expect(b.sessions.reads.mode).toBe("checked");
  const { asked } = b.sessions.reads;
  await b.v();
  expect(b.sessions.reads.asked).toBe(asked + 1);
  medium.server.mute = false;
  await clock.advance(3_000);
  expect(b.sessions.reads.mode).toBe("leased");
  expect(modes).toEqual(["checked", "leased"]);
});

test("a channel that leads nowhere is remade within two leases, and the node reads from copies again", async () => {
  const { b, clock } = await twoNodes();
  const runs = b.sessions.reads.runs;
  b.wire.deaf = true;
  const renewed = jest.fn();
  b.wire.onRenew = renewed;
  await clock.advance(2_600);
  expect(renewed).toHaveBeenCalledTimes(1);
  b.wire.deaf = false;
  await clock.advance(1_000);
  await b.v();
  expect(b.sessions.reads.runs).toBe(runs + 1);
});

test("nothing heard for three leases: the fleet is told, and nobody makes copies until it is heard again", async () => {
  const { a, b, clock } = await twoNodes();
  b.wire.deaf = true;
  await clock.advance(7_600);
  expect(b.sessions.reads.mode).toBe("checked");
  const sid = makeSid();
  await a.sessions.create(sid, textsOf({}));
  const { asked } = a.sessions.reads;
  for (let i = 0; i < 3; i++) await a.sessions.load(sid);
  expect(a.sessions.reads.asked).toBe(asked + 3);
  b.wire.deaf = false;
  await clock.advance(2_000);
  for (let i = 0; i < 3; i++) await a.sessions.load(sid);
  expect(a.sessions.reads.asked).toBe(asked + 4);
});
