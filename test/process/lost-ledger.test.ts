/**
 * Redis loses what it knew: a session that ends right then is over everywhere all the same, although Redis can't tell any more who has a
 * copy of it.
 */
import { anynode } from "anynode";
import { textsOf } from "../../lib/session/attributes.js";
import { makeSid } from "../../lib/session/id.js";
import type { Sessions } from "../../lib/sessions.js";
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
    const sid = makeSid();
    await other.create(sid, textsOf({ n: 1 }));
    await until("it is served from a copy", async () => {
      const { hits } = one.reads;
      await one.load(sid);
      return one.reads.hits > hits;
    });
    await LOSSES[loss]();
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    await other.end(sid);
    expect(await one.load(sid)).toBeUndefined();
    await until("both have copies again", () => [one, other].every(({ reads }) => reads.mode === "leased"));
  }
});
