/** The contract suite itself: engines with one fault each must fail it, and the sound one passes under a runner that isn't Jest. */
import { memoryEngine } from "anynode/memory";
import { engineContract } from "anynode/testing";
import type { Engine } from "../../lib/engines/engine.js";
import { movableClock } from "../support/movable-clock.js";

/** Runs the whole suite with a runner of a few lines; returns the names of the tests that failed. */
async function failures(faulty: (sound: Engine) => Partial<Engine>): Promise<string[]> {
  const tests: { name: string; run: () => Promise<void> }[] = [];
  const collect = {
    describe: (_: string, define: () => void) => define(),
    test: (name: string, run: () => Promise<void>) => void tests.push({ name, run }),
  };
  engineContract(collect, "a faulty engine", {
    clock: "moved",
    shared: true,
    medium() {
      const clock = movableClock();
      const engine = withFault(memoryEngine({ clock }), faulty);
      return { engine: () => engine, advance: clock.advance };
    },
  });
  expect(tests.length).toBeGreaterThan(70);
  const failed: string[] = [];
  for (const { name, run } of tests)
    await run().catch(() => {
      failed.push(name);
    });
  return failed;
}

/** The engine, but for the verbs of the fault. */
function withFault(sound: Engine, faulty: (sound: Engine) => Partial<Engine>): Engine {
  const fault = new Map<PropertyKey, unknown>(Object.entries(faulty(sound)));
  return new Proxy(sound, {
    get(target, name) {
      const value: unknown = fault.get(name) ?? Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

const later = { idleMs: 1e6, absoluteAt: 0 };
const faults: Record<string, (sound: Engine) => Partial<Engine>> = {
  "read never says same": (sound) => ({ read: (key) => sound.read(key) }),
  "read tells an ended session from a missing one no more": (sound) => ({
    async read(key, known) {
      const reply = await sound.read(key, known);
      return reply.outcome === "gone" ? { outcome: "gone", ended: false } : reply;
    },
  }),
  "create replaces what is there": (sound) => ({
    async create(key, body, deadlines, keep) {
      const reply = await sound.create(key, body, deadlines, keep);
      return reply.outcome === "conflict" ? sound.commit(key, reply.current.version, body, deadlines, keep) : reply;
    },
  }),
  "commit is last-write-wins": (sound) => ({
    async commit(key, expected, body, deadlines, keep) {
      const reply = await sound.commit(key, expected, body, deadlines, keep);
      return reply.outcome === "conflict" ? sound.commit(key, reply.current.version, body, deadlines, keep) : reply;
    },
  }),
  "commit of a missing record stores it": (sound) => ({
    async commit(key, expected, body, deadlines, keep) {
      const reply = await sound.commit(key, expected, body, deadlines, keep);
      return reply.outcome === "gone" ? sound.create(key, body, deadlines, keep) : reply;
    },
  }),
  "commit ignores the absolute deadline": (sound) => ({
    commit: (key, expected, body, { idleMs }, keep) => sound.commit(key, expected, body, { idleMs, absoluteAt: 0 }, keep),
  }),
  "commit compares and swaps in two steps": (sound) => ({
    async commit(key, expected, body, deadlines, keep) {
      const before = await sound.read(key);
      if (before.outcome !== "found") return sound.commit(key, expected, body, deadlines, keep);
      if (before.version !== expected) return { outcome: "conflict", current: before };
      await new Promise(setImmediate);
      const now = await sound.read(key);
      return sound.commit(key, now.outcome === "found" ? now.version : expected, body, deadlines, keep);
    },
  }),
  "touch makes a new version": (sound) => ({
    async touch(key, expected, deadlines) {
      const found = await sound.read(key);
      const reply = await sound.touch(key, expected, deadlines);
      if (reply.outcome === "touched" && found.outcome === "found") await sound.commit(key, expected, found.body, deadlines);
      return reply;
    },
  }),
  "touch only extends": (sound) => ({
    async touch(key, expected, deadlines) {
      const found = await sound.read(key);
      const reply = await sound.touch(key, expected, deadlines);
      if (reply.outcome !== "touched" || found.outcome !== "found" || found.idleAt <= reply.idleAt) return reply;
      return sound.touch(key, expected, { idleMs: found.idleAt - reply.now, absoluteAt: 0 });
    },
  }),
  "end of a missing record leaves no mark": (sound) => ({
    async end(key) {
      const reply = await sound.read(key);
      return reply.outcome === "gone" && !reply.ended ? { outcome: "missing", now: 1, waitFor: [], holders: [] } : sound.end(key);
    },
  }),
  "end of an ended session doesn't renew the mark": (sound) => ({
    async end(key) {
      const reply = await sound.read(key);
      return reply.outcome === "gone" && reply.ended ? { outcome: "marked", now: 1, waitFor: [], holders: [] } : sound.end(key);
    },
  }),
  "regenerate leaves the old record": (sound) => ({
    async regenerate(from, expected, to, body, deadlines, keep) {
      const reply = await sound.read(from, expected);
      if (reply.outcome !== "same") return sound.regenerate(from, expected, to, body, deadlines, keep);
      const created = await sound.create(to, body, deadlines, keep);
      return created.outcome === "committed" ? { ...created, holders: [] } : created;
    },
  }),
  "regenerate stores even when it lost": (sound) => ({
    async regenerate(from, expected, to, body, deadlines, keep) {
      const reply = await sound.regenerate(from, expected, to, body, deadlines, keep);
      if (reply.outcome !== "committed") await sound.create(to, body, deadlines, keep);
      return reply;
    },
  }),
  "an end doesn't tell the holders": (sound) => ({ end: async (key) => ({ ...(await sound.end(key)), holders: [] }) }),
  "attach and end overtake each other": (sound) => ({
    async attach(key, holder) {
      const before = await sound.read(key);
      await new Promise(setImmediate);
      const reply = await sound.attach(key, holder);
      if (before.outcome !== "found" || reply.outcome === "attached") return reply;
      return { outcome: "attached", version: before.version, idleAt: before.idleAt, now: 1 };
    },
  }),
  "a late detach removes what was attached since": (sound) => ({
    async detach(key, { nodeId }) {
      for (const one of await sound.holders(key)) if (one.nodeId === nodeId) await sound.detach(key, one);
    },
  }),
  "list misses a record": (sound) => ({
    async *list() {
      let missed = false;
      for await (const record of sound.list()) {
        if (missed) yield record;
        missed = true;
      }
    },
  }),
  "a returned body is a view that others write to": (sound) => {
    const shared = Buffer.alloc(300_000);
    return {
      async read(key, known) {
        const reply = await sound.read(key, known);
        if (reply.outcome !== "found") return reply;
        return { ...reply, body: shared.subarray(0, reply.body.copy(shared)) };
      },
    };
  },
  "join takes over the row of another process": (sound) => ({
    async join(nodeId, lastEpoch, about) {
      const reply = await sound.join(nodeId, lastEpoch, about);
      const row = (await sound.nodes()).rows.find((one) => one.nodeId === nodeId);
      return reply.outcome === "taken" && row ? sound.join(nodeId, row.epoch, about) : reply;
    },
  }),
  "a beat doesn't mind its epoch": (sound) => ({
    async beat(nodeId, epoch, about) {
      const row = (await sound.nodes()).rows.find((one) => one.nodeId === nodeId);
      return sound.beat(nodeId, row?.epoch ?? epoch, about);
    },
  }),
  "a beat never changes about": (sound) => ({
    async beat(nodeId, epoch) {
      const row = (await sound.nodes()).rows.find((one) => one.nodeId === nodeId);
      return sound.beat(nodeId, epoch, row?.about ?? "{}");
    },
  }),
  "a node that left is forgotten at once": (sound) => ({
    async nodes() {
      const { rows, revision } = await sound.nodes();
      return { rows: rows.filter(({ left }) => !left), revision };
    },
  }),
  "nobody is ever given a grace": (sound) => ({
    async beat(nodeId, epoch, about) {
      const reply = await sound.beat(nodeId, epoch, about);
      return reply.outcome === "beaten" ? { ...reply, grace: false } : reply;
    },
  }),
  "messages overtake each other": (sound) => {
    let held: string | undefined;
    return {
      async publish(channel, message) {
        if (message === "message 7") {
          held = message;
          return;
        }
        await sound.publish(channel, message);
        if (held !== undefined) await sound.publish(channel, held);
        held = undefined;
      },
    };
  },
  "a closed subscription still hears": (sound) => ({
    async subscribe(channel, onMessage) {
      await sound.subscribe(channel, onMessage);
      return { close: async () => {} };
    },
  }),
  "close leaves the engine open": () => ({ close: async () => {} }),
  "an error tells the key": (sound) => ({
    async touch(key, expected, deadlines) {
      try {
        return await sound.touch(key, expected, deadlines);
      } catch (error) {
        if (error instanceof Error) error.message += ` ${key}`;
        throw error;
      }
    },
  }),
  "idle deadlines are rounded up to seconds": (sound) => {
    const rounded = ({ idleMs, absoluteAt }: typeof later) => ({ idleMs: Math.ceil(idleMs / 1_000) * 1_000, absoluteAt });
    return { create: (key, body, deadlines, keep) => sound.create(key, body, rounded(deadlines), keep) };
  },
};

test("the sound engine passes under any runner", async () => {
  expect(await failures(() => ({}))).toEqual([]);
});

for (const [name, fault] of Object.entries(faults))
  test(`an engine of which "${name}" is true fails`, async () => {
    expect(await failures(fault)).not.toEqual([]);
  });
