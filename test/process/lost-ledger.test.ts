/**
 * Redis loses what it knew: a session that ends right then is over everywhere all the same, although Redis can't tell any more who has a
 * copy of it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { anynode } from "anynode";
import { redisEngine } from "anynode/redis";
import { NO_NODE, type Writer } from "../../lib/engines/engine.js";
import type { Sid } from "../../lib/names.js";
import { textsOf } from "../../lib/session/attributes.js";
import { keyOf, makeSid } from "../../lib/session/id.js";
import type { Sessions } from "../../lib/sessions.js";
import { loadedOf, saveOf, valuesOf } from "../support/a-node.js";
import { type RedisServer, startRedis } from "../support/redis.js";
import { until } from "../support/until.js";

let redis: RedisServer;
let one: Sessions;
let other: Sessions;
beforeEach(async () => {
  redis = await startRedis();
  [one, other] = [anynode({ engine: redis.url }), anynode({ engine: redis.url })];
  await Promise.all([one.ready(), other.ready()]);
});
afterEach(async () => {
  await Promise.all([one.close(), other.close()]);
  await redis.stop();
});

/** A session of which one node has a copy, stored by the other. */
async function copied(): Promise<Sid> {
  const sid = makeSid();
  await other.create(sid, textsOf({ n: 1 }));
  await until("it is served from a copy", async () => {
    const { hits } = one.reads;
    await one.load(sid);
    return one.reads.hits > hits;
  });
  return sid;
}

/** Everything, or everything but the registry's rows. */
const LOSSES = {
  FLUSHALL: () => redis.command("FLUSHALL"),
  async eviction() {
    const keys = await redis.command("KEYS", "*");
    for (const key of Array.isArray(keys) ? keys.map(String) : []) {
      if (!/:(rows|leases|meta)$/.test(key)) await redis.command("DEL", key);
    }
  },
};

test.each(["FLUSHALL", "eviction"] as const)("%s, then an end: no node serves the session from its copy", async (loss) => {
  // At once, while nobody knows of the loss, and once the ending node does.
  for (const pauseMs of [0, 100, 300, 600]) {
    const sid = await copied();
    await LOSSES[loss]();
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    await other.end(sid);
    expect(await one.load(sid)).toBeUndefined();
    await until("both have copies again", () => [one, other].every(({ reads }) => reads.mode === "leased"));
  }
});

test("FLUSHALL, a write, then an eviction of the ledger: whoever writes next waits for those that nobody knows", async () => {
  for (let round = 0; round < 3; round++) {
    const sid = await copied();
    await redis.command("FLUSHALL");
    const replaced = other.replace(sid, textsOf({ n: 2 }));
    await until("it is stored", async () => (await valuesOf(other, sid))?.["n"] === 2);
    for (const key of [await redis.command("KEYS", "*:copies*")].flat()) await redis.command("DEL", String(key));
    await saveOf(other, await loadedOf(other, sid), { n: 3 });
    expect(await valuesOf(one, sid)).toEqual({ n: 3 });
    await replaced;
    await until("both have copies again", () => [one, other].every(({ reads }) => reads.mode === "leased"));
  }
});

test("that is over a lease later, however many write meanwhile", async () => {
  const engine = redisEngine({ url: redis.url, prefix: "strangers:" });
  try {
    const key = keyOf(makeSid(), engine.namespace);
    const [body, deadlines] = [Buffer.from("body"), { idleMs: 60_000, absoluteAt: 0 }];
    const by: Writer = { ...NO_NODE, doubt: "nodes" };
    const strangersIn = (waitFor: readonly { number: number; leftMs: number }[]) =>
      waitFor.find(({ number }) => number === -1)?.leftMs;
    let written = await engine.create(key, body, deadlines, by, false);
    await redis.command("DEL", "strangers:{registry}:copies");
    const left: (number | undefined)[] = [];
    for (let i = 0; i < 4; i++) {
      if (written.outcome !== "committed") throw new Error(written.outcome);
      written = await engine.commit(key, written.version, body, deadlines, NO_NODE);
      if (written.outcome === "committed") left.push(strangersIn(written.waitFor));
      await sleep(900);
    }
    expect(left).toEqual([2_250, expect.any(Number), expect.any(Number), undefined]);
    expect(left[2]).toBeLessThan(left[1] ?? 0);
  } finally {
    await engine.close();
  }
});
