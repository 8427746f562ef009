/** G9: the registry knows who is alive, a node that lost its row joins again, and one that leaves leaves nothing behind. */
import { memoryEngine } from "anynode/memory";
import { Copies } from "../../lib/cache/copies.js";
import { EngineClock } from "../../lib/clock.js";
import { type Engine, MAX_NODES } from "../../lib/engines/engine.js";
import { AnynodeError } from "../../lib/errors.js";
import { type EventName, Events } from "../../lib/events.js";
import { Registry } from "../../lib/registry/registry.js";
import { Watermark } from "../../lib/registry/watermark.js";
import { Keyring } from "../../lib/session/keyring.js";
import { engineDouble, Gate } from "../support/engine-double.js";
import { manualClock } from "../support/manual-clock.js";
import { nodeIdFor } from "../support/names.js";

const unavailable = new AnynodeError("ENGINE_UNAVAILABLE", "down");

function stage() {
  const clock = manualClock();
  const memory = memoryEngine({ clock });
  const node = (name: string, engine: Engine = memory, keys = new Keyring([])) => {
    const events = new Events();
    const told: string[] = [];
    for (const event of ["node-joined", "node-left", "node-lost"] as const) {
      events.on(event, ({ node }) => told.push(`${event} ${node.name}`));
    }
    const own: EventName[] = ["fenced", "engine-down", "engine-up"];
    for (const event of own) events.on(event, () => told.push(event));
    const engineClock = new EngineClock(clock);
    const about = { name, address: "", version: "1.2.3", reads: "leased" } as const;
    const copies = new Copies(engine, clock, engineClock, "leased");
    const registry = new Registry(
      engine,
      clock,
      engineClock,
      events,
      copies,
      about,
      keys,
      new Watermark(engine, clock, () => {}),
    );
    return { registry, told };
  };
  return { clock, memory, node };
}

test("a row says who: id, number, epoch, name, address, state, started, version, keys", async () => {
  const { clock, node } = stage();
  const { registry } = node("a");
  await registry.join();
  await registry.advertise("http://10.0.0.5:3000");
  expect(await registry.nodes()).toEqual([
    {
      nodeId: registry.nodeId,
      number: registry.number,
      epoch: expect.any(Number),
      name: "a",
      address: "http://10.0.0.5:3000",
      state: "live",
      startedAt: clock.now(),
      version: "1.2.3",
      reads: "leased",
      keys: ["plain"],
    },
  ]);
});

test("others hear of whoever joins, leaves and is lost, once each; a node hears nothing of itself", async () => {
  const { clock, memory, node } = stage();
  const [a, b] = [node("a"), node("b")];
  const crashing = engineDouble(memory);
  const c = node("c", crashing.engine);
  for (const { registry } of [a, b, c]) await registry.join();
  await clock.advance(2_000);
  expect(a.told.toSorted()).toEqual(["node-joined b", "node-joined c"]);
  await b.registry.leave();
  await clock.advance(1_000);
  crashing.use({ beat: () => new Promise(() => {}) });
  await clock.advance(9_900);
  expect(a.told.slice(2)).toEqual(["node-left b"]);
  await clock.advance(700);
  expect(a.told.slice(2)).toEqual(["node-left b", "node-lost c"]);
  expect((await a.registry.nodes()).map(({ name }) => name)).toEqual(["a"]);
});

test("a draining node stays in the registry until it leaves, and says so", async () => {
  const { node } = stage();
  const { registry } = node("a");
  await registry.join();
  await registry.drain();
  expect(registry.state).toBe("draining");
  expect(await registry.nodes()).toMatchObject([{ state: "draining" }]);
  await registry.leave();
  expect(registry.state).toBe("left");
  expect(await registry.nodes()).toEqual([]);
});

test("a node whose row was lost is told that it is fenced, and joins again by itself with a higher epoch", async () => {
  const { clock, memory, node } = stage();
  const { registry, told } = node("a");
  await registry.join();
  const [before] = await registry.nodes();
  await memory.leave(nodeIdFor(registry.nodeId), before?.epoch ?? 0);
  await clock.advance(500);
  const [after] = await registry.nodes();
  expect(after?.nodeId).toBe(before?.nodeId);
  expect(after?.epoch).toBeGreaterThan(before?.epoch ?? 0);
  await clock.advance(5_000);
  expect(told).toEqual(["fenced"]);
});

test("fenced while the engine has trouble: it tries again with every beat until it has joined", async () => {
  const { clock, memory, node } = stage();
  const double = engineDouble(memory);
  const { registry, told } = node("a", double.engine);
  await registry.join();
  const [row] = await registry.nodes();
  await memory.leave(nodeIdFor(registry.nodeId), row?.epoch ?? 0);
  double.use({ join: () => Promise.reject(unavailable) });
  await clock.advance(3_000);
  expect(await registry.nodes()).toEqual([]);
  double.use({});
  await clock.advance(500);
  expect(await registry.nodes()).toHaveLength(1);
  expect(told).toEqual(["fenced", "engine-down", "engine-up"]);
});

test("an outage is told once, and its end once, with how long it was", async () => {
  const { clock, memory, node } = stage();
  const double = engineDouble(memory);
  const { registry, told } = node("a", double.engine);
  await registry.join();
  double.use({ beat: () => Promise.reject(unavailable) });
  await clock.advance(3_000);
  expect(told).toEqual(["engine-down"]);
  double.use({});
  await clock.advance(3_000);
  expect(told).toEqual(["engine-down", "engine-up"]);
  expect(await registry.nodes()).toHaveLength(1);
});

test("an id that another process uses (a cloned machine) is redrawn", async () => {
  const { memory, node } = stage();
  const { registry } = node("clone");
  const id = registry.nodeId;
  await memory.join(nodeIdFor(id), 0, "{}");
  await registry.join();
  expect(registry.nodeId).not.toBe(id);
  expect(await registry.nodes()).toHaveLength(2);
});

test("the 64th node is refused with the cure; a number that comes free is taken", async () => {
  const { node } = stage();
  const nodes = Array.from({ length: MAX_NODES }, (_, i) => node(`n${i}`).registry);
  for (const registry of nodes) await registry.join();
  expect(new Set(nodes.map(({ number }) => number)).size).toBe(MAX_NODES);
  await expect(node("one too many").registry.join()).rejects.toMatchObject({ code: "REGISTRY_FULL" });
});

test("beats don't pile up: one at a time, whoever asks meanwhile gets the next", async () => {
  const { memory, node } = stage();
  const gate = new Gate();
  let [atOnce, most] = [0, 0];
  const double = engineDouble(memory, {
    async beat(...args) {
      most = Math.max(most, ++atOnce);
      await gate.passed;
      atOnce--;
      return memory.beat(...args);
    },
  });
  const { registry } = node("a", double.engine);
  await registry.join();
  const told = [registry.advertise("http://one"), registry.advertise("http://two"), registry.drain()];
  gate.open();
  await Promise.all(told);
  expect(most).toBe(1);
  expect(await registry.nodes()).toMatchObject([{ address: "http://two", state: "draining" }]);
});

test("advertise refuses what can't be an address: every beat would carry it", async () => {
  const { node } = stage();
  const { registry } = node("a");
  await registry.join();
  for (const bad of ["x".repeat(257), "http://a\r\nb"]) {
    expect(() => registry.advertise(bad)).toThrow(expect.objectContaining({ code: "OPTION_INVALID" }));
  }
  expect(await registry.nodes()).toMatchObject([{ address: "" }]);
});

test("advertise rejects while the engine is down, and is told with the first beat that succeeds", async () => {
  const { clock, memory, node } = stage();
  const double = engineDouble(memory);
  const { registry } = node("a", double.engine);
  await registry.join();
  double.use({ beat: () => Promise.reject(unavailable) });
  await expect(registry.advertise("http://here")).rejects.toBe(unavailable);
  double.use({});
  await clock.advance(500);
  expect(await registry.nodes()).toMatchObject([{ address: "http://here" }]);
});

test("advertise that nobody awaits takes no process down", async () => {
  const { clock, memory, node } = stage();
  const double = engineDouble(memory);
  const { registry } = node("a", double.engine);
  await registry.join();
  double.use({ beat: () => Promise.reject(unavailable) });
  const unhandled = jest.fn();
  process.on("unhandledRejection", unhandled);
  void registry.advertise("http://here");
  await clock.advance(400);
  process.off("unhandledRejection", unhandled);
  expect(unhandled).not.toHaveBeenCalled();
});

describe("leave", () => {
  test("waits for a beat in flight, and nothing beats afterwards", async () => {
    const { clock, memory, node } = stage();
    const gate = new Gate();
    const double = engineDouble(memory);
    const { registry } = node("a", double.engine);
    await registry.join();
    double.use({ beat: (...args) => gate.passed.then(() => memory.beat(...args)) });
    await clock.advance(500);
    const leaving = registry.leave();
    gate.open();
    await leaving;
    double.forget();
    await clock.advance(5_000);
    expect(await registry.nodes()).toEqual([]);
    expect(double.count("beat")).toBe(0);
    expect(clock.timers()).toBe(0);
  });
  test("RACE: while a fenced node joins again: the new row is given up too", async () => {
    const { clock, memory, node } = stage();
    const double = engineDouble(memory);
    const { registry } = node("a", double.engine);
    await registry.join();
    const [row] = await registry.nodes();
    await memory.leave(nodeIdFor(registry.nodeId), row?.epoch ?? 0);
    const gate = new Gate();
    double.use({ join: (...args) => gate.passed.then(() => memory.join(...args)) });
    await clock.advance(500);
    const leaving = registry.leave();
    gate.open();
    await leaving;
    await clock.advance(2_000);
    expect(await registry.nodes()).toEqual([]);
    expect(clock.timers()).toBe(0);
  });
  test("that failed may be repeated", async () => {
    const { memory, node } = stage();
    const double = engineDouble(memory);
    const { registry } = node("a", double.engine);
    await registry.join();
    double.use({ leave: () => Promise.reject(unavailable) });
    await expect(registry.leave()).rejects.toBe(unavailable);
    double.use({});
    await registry.leave();
    expect(await registry.nodes()).toEqual([]);
  });
});

test("a row of another version of this library, or of somebody's hand, is read without trouble", async () => {
  const { clock, memory, node } = stage();
  const { registry, told } = node("a");
  await registry.join();
  for (const [i, about] of ["", "null", "[1]", '{"name":5,"state":"odd"}', '{"__proto__":{"x":1}}'].entries()) {
    await memory.join(nodeIdFor(i), 0, about);
  }
  await clock.advance(500);
  for (const { name, state, address } of (await registry.nodes()).slice(1)) {
    expect({ name, state, address }).toEqual({ name: "", state: "live", address: "" });
  }
  expect(told).toHaveLength(5);
});

test("a join whose reply was lost costs no second number: the row is found to be ours", async () => {
  const { memory, node } = stage();
  const double = engineDouble(memory);
  const { registry } = node("a", double.engine);
  const lost = new AnynodeError("ENGINE_TIMEOUT", "lost");
  double.use({
    join: async (...args) => {
      await memory.join(...args);
      throw lost;
    },
  });
  await expect(registry.join()).rejects.toBe(lost);
  double.use({});
  await registry.join();
  expect(await registry.nodes()).toMatchObject([{ nodeId: registry.nodeId, number: 0, name: "a" }]);
});
