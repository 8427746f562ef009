/** Coming and going: what ready(), drain() and close() promise, with an engine that answers, one that is down, and one that hangs. */
import { memoryEngine } from "anynode/memory";
import { AnynodeError } from "../../lib/errors.js";
import { makeSid } from "../../lib/session/id.js";
import type { Sessions } from "../../lib/sessions.js";
import { aNode, loadedOf, saveOf, stored } from "../support/a-node.js";
import { engineDouble, Gate } from "../support/engine-double.js";
import { manualClock } from "../support/manual-clock.js";

const unavailable = new AnynodeError("ENGINE_UNAVAILABLE", "down");
const down = () => Promise.reject(unavailable);
const closed = expect.objectContaining({ code: "CLOSED" });

function stage() {
  const clock = manualClock();
  const memory = memoryEngine({ clock });
  const double = engineDouble(memory);
  const node = aNode(double.engine, { clock });
  const events: string[] = [];
  for (const name of ["engine-down", "engine-up"] as const) node.on(name, () => events.push(name));
  return { clock, memory, double, node, events };
}
const alive = async (memory: ReturnType<typeof memoryEngine>) => (await memory.nodes()).rows.filter(({ left }) => !left).length;

test("a node announces itself without being asked, and is live then", async () => {
  const { node, clock, memory } = stage();
  expect(node.registry.state).toBe("starting");
  await clock.advance(0);
  expect(node.registry.state).toBe("live");
  expect(await alive(memory)).toBe(1);
});

test("ready() rejects with what is in the way, as often as it is asked, and resolves once it is gone", async () => {
  const { node, double } = stage();
  double.use({ open: down });
  await expect(node.ready()).rejects.toBe(unavailable);
  await expect(node.load(makeSid())).rejects.toBe(unavailable);
  double.use({});
  await expect(node.ready()).resolves.toBeUndefined();
  expect(node.registry.state).toBe("live");
});

test("many who ask at once share one opening", async () => {
  const { node, double } = stage();
  await Promise.all([node.ready(), node.ready(), node.load(makeSid()), node.load(makeSid())]);
  expect(double.count("join")).toBe(1);
});

test("it goes on trying by itself, and tells of one outage once, until the engine is up", async () => {
  const { node, double, clock, events } = stage();
  double.use({ join: down });
  await clock.advance(5_000);
  expect(double.count("join")).toBeGreaterThanOrEqual(10);
  expect(events).toEqual(["engine-down"]);
  double.use({});
  await clock.advance(1_000);
  expect(node.registry.state).toBe("live");
  expect(events).toEqual(["engine-down", "engine-up"]);
});

test("a full registry is told by ready(), with the cure", async () => {
  const { node, double } = stage();
  double.use({ join: async () => ({ outcome: "full" }) });
  await expect(node.ready()).rejects.toMatchObject({ code: "REGISTRY_FULL", status: 503 });
});

describe("drain", () => {
  test("gives the row up, and requests are still served", async () => {
    const { node, memory } = stage();
    const sid = await stored(node, { a: 1 });
    await node.drain();
    expect(node.registry.state).toBe("left");
    expect(await alive(memory)).toBe(0);
    expect(await saveOf(node, await loadedOf(node, sid), { a: 2 })).toMatchObject({ outcome: "committed" });
    await node.drain();
  });
  test("while the engine is down resolves all the same: what can't be told now, the lease tells", async () => {
    const { node, double } = stage();
    await node.ready();
    double.use({ beat: down, leave: down });
    await node.drain();
    expect(node.registry.state).toBe("left");
    await node.drain();
  });
  test("while it opens: the node doesn't turn live behind its goodbye", async () => {
    const { node, double, memory } = stage();
    const gate = new Gate();
    double.use({ open: () => gate.passed });
    const ready = node.ready();
    const draining = node.drain();
    gate.open();
    await Promise.all([ready, draining]);
    expect(node.registry.state).toBe("left");
    expect(await alive(memory)).toBe(0);
  });
  test("before anything was opened does nothing", async () => {
    const { node, double } = stage();
    await node.drain();
    expect(double.count("beat")).toBe(0);
  });
});

describe("after close()", () => {
  async function expectClosed(node: Sessions, call: () => Promise<unknown>) {
    expect(node.registry.state).toBe("left");
    await expect(call()).rejects.toEqual(closed);
  }
  test("every verb rejects with CLOSED, although the engine is somebody else's and still answers", async () => {
    const { node, double } = stage();
    const sid = await stored(node, { a: 1 });
    const loaded = await loadedOf(node, sid);
    await node.close();
    double.forget();
    await expectClosed(node, () => node.ready());
    await expectClosed(node, async () => node.load(sid));
    await expectClosed(node, () => saveOf(node, loaded, { a: 2 }));
    await expectClosed(node, async () => node.save(loaded, new Map()));
    await expectClosed(node, async () => node.touch(loaded));
    await expectClosed(node, () => node.replace(sid, new Map()));
    await expectClosed(node, () => node.update(sid, () => 1));
    await expectClosed(node, () => node.end(sid));
    await expectClosed(node, () => node.endListed(loaded));
    await expectClosed(node, () => node.regenerate(sid, loaded, makeSid(sid), new Map()));
    await expectClosed(node, () => node.list().next());
    for (const verb of ["read", "create", "commit", "touch", "end", "regenerate", "list"] as const)
      expect(double.count(verb)).toBe(0);
  });
  test("the row is given up, nothing beats on, and no timer is left", async () => {
    const { node, memory, clock, double } = stage();
    await node.ready();
    await clock.advance(2_000);
    await node.close();
    expect(await alive(memory)).toBe(0);
    double.forget();
    await clock.advance(60_000);
    expect(double.count("beat") + double.count("join")).toBe(0);
    expect(clock.timers()).toBe(0);
  });
  test("it may be repeated; an engine that was handed over stays open", async () => {
    const { node, memory } = stage();
    await Promise.all([node.close(), node.close()]);
    await node.close();
    await memory.open();
  });
});

describe("close()", () => {
  test("while it opens: waits for that, then gives the row up", async () => {
    const { node, memory, double, clock } = stage();
    const gate = new Gate();
    double.use({ open: () => gate.passed });
    const ready = node.ready();
    const closing = node.close();
    gate.open();
    await Promise.all([ready, closing]);
    expect(await alive(memory)).toBe(0);
    await clock.advance(1_000);
    expect(clock.timers()).toBe(0);
  });
  test("RACE: a request right behind it opens nothing: no node joins that nobody would ever close", async () => {
    const { node, memory, clock } = stage();
    const closing = node.close();
    await expect(node.load(makeSid())).rejects.toEqual(closed);
    await closing;
    await clock.advance(5_000);
    expect(await alive(memory)).toBe(0);
    expect(clock.timers()).toBe(0);
  });
  test("RACE: nor does one while an opening under way fails", async () => {
    const { node, memory, clock, double } = stage();
    const gate = new Gate();
    double.use({ open: () => gate.passed.then(down) });
    const failing = expect(node.ready()).rejects.toBe(unavailable);
    const closing = node.close();
    gate.open();
    double.use({});
    await failing;
    await expect(node.load(makeSid())).rejects.toEqual(closed);
    await closing;
    await clock.advance(5_000);
    expect(await alive(memory)).toBe(0);
    expect(clock.timers()).toBe(0);
  });
  test("with an engine that is down still resolves: what can't be told, the lease tells", async () => {
    const { node, double, clock } = stage();
    await node.ready();
    double.use({ beat: down, leave: down, touch: down, read: down });
    await node.close();
    await clock.advance(5_000);
    expect(double.count("beat")).toBeLessThan(3);
  });
  test("before anything was opened joins nothing", async () => {
    const { node, double, clock } = stage();
    await node.close();
    await clock.advance(5_000);
    expect(double.count("join")).toBe(0);
  });
});

test("an engine that anynode made is closed with it", async () => {
  const clock = manualClock();
  const engine = memoryEngine({ clock });
  const { Sessions } = await import("../../lib/sessions.js");
  const { settingsOf } = await import("../../lib/options.js");
  const node = new Sessions(engine, true, settingsOf({ engine, clock }));
  await node.ready();
  await node.close();
  await expect(engine.open()).rejects.toEqual(closed);
});
