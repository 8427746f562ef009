/** The near cache keeps to its bound whatever passes through it, and a node's heap doesn't grow with the requests that it has served. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type AnynodeOptions, anynode } from "anynode";
import { MAX_BYTES, MAX_ENTRIES } from "../../lib/cache/near-cache.js";
import { textsOf } from "../../lib/session/attributes.js";
import { makeSid } from "../../lib/session/id.js";
import type { Sessions } from "../../lib/sessions.js";
import { loadedOf, saveOf } from "../support/a-node.js";
import { parallel, times } from "../support/node-process.js";
import { startRedis } from "../support/redis.js";

const { ANYNODE_FULL } = process.env;
const SOAK_MS = ANYNODE_FULL === "1" ? 120_000 : 6_000;
const AT_ONCE = 32;
const MIB = 1_048_576;

const gc = garbageCollection();
function garbageCollection(): () => void {
  setFlagsFromString("--expose-gc");
  const run: unknown = runInNewContext("gc");
  if (typeof run !== "function") throw new Error("no gc");
  return () => void run();
}

function heapMiB(): number {
  gc();
  return process.memoryUsage().heapUsed / MIB;
}

const after: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of after.splice(0).reverse()) await close();
});

async function node(options: AnynodeOptions): Promise<Sessions> {
  const sessions = anynode(options);
  after.push(() => sessions.close());
  await sessions.ready();
  return sessions;
}

const passing = times(1_000_000);
test(`${passing} sessions pass through: the near cache stays inside its bounds`, async () => {
  // They live for a moment only: what the engine keeps isn't the point.
  const sessions = await node({ engine: "memory:", idleMs: 500 });
  let [mostBytes, mostEntries] = [0, 0];
  await parallel(passing, AT_ONCE, async (i) => {
    // Of all sizes: at first the entries reach their bound, then the bytes.
    const text = "x".repeat(i < passing / 2 ? i % 500 : (i % 50) * 40);
    const sid = makeSid();
    await sessions.create(sid, textsOf({ text }));
    await sessions.load(sid);
    const { bytes, entries } = sessions.reads;
    [mostBytes, mostEntries] = [Math.max(mostBytes, bytes), Math.max(mostEntries, entries)];
    if (i % 500 === 0) await new Promise(setImmediate);
  });
  console.log(`at most ${(mostBytes / MIB).toFixed(1)} MiB, ${mostEntries} entries`);
  expect(mostBytes).toBeLessThanOrEqual(MAX_BYTES);
  expect(mostBytes).toBeGreaterThan(0.8 * MAX_BYTES);
  expect(mostEntries).toBeLessThanOrEqual(MAX_ENTRIES);
}, 600_000);

describe.each(["memory", "redis"] as const)("%s", (kind) => {
  test(`${SOAK_MS / 1000} s of reads, writes, touches and ends on two nodes: the heap stays flat`, async () => {
    const redis = kind === "redis" ? await startRedis() : undefined;
    if (redis !== undefined) after.push(() => redis.stop());
    const engine = redis?.url ?? "memory:";
    // Memory is one process' own: there both are the same node.
    const one = await node({ engine });
    const other = kind === "redis" ? await node({ engine }) : one;
    // More than the near cache takes.
    const sids = Array.from({ length: 3_000 }, () => makeSid());
    const attributes = () => textsOf({ n: 0, text: "x".repeat(8_000) });
    await parallel(sids.length, AT_ONCE, async (i) => void (await one.create(sids[i] ?? "", attributes())));
    let steps = 0;
    const step = async () => {
      const at = (steps * 7919) % sids.length;
      const [reader, writer] = steps++ % 2 === 0 ? [one, other] : [other, one];
      const sid = sids[at] ?? "";
      await reader.load(sid);
      const loaded = await loadedOf(writer, sid);
      if (steps % 3 === 0) await writer.touch(loaded);
      else if (steps % 3 === 1) await saveOf(writer, loaded, { n: steps });
      if (steps % 50 !== 0) return;
      await writer.end(sid);
      const fresh = makeSid();
      sids[at] = fresh;
      await writer.create(fresh, attributes());
    };
    const soak = async (ms: number) => {
      const until = performance.now() + ms;
      await parallel(AT_ONCE, AT_ONCE, async () => {
        while (performance.now() < until) {
          await step();
          if (steps % 100 === 0) await new Promise(setImmediate);
        }
      });
      return heapMiB();
    };
    const before = await soak(SOAK_MS / 3);
    const then = await soak((2 * SOAK_MS) / 3);
    console.log(`${kind}: ${before.toFixed(1)} MiB, then ${then.toFixed(1)} MiB after ${steps} steps`);
    expect(then).toBeLessThan(before * 1.1 + 5);
  }, 300_000);
});
