/** Copies on a real Redis that is full, forbids channels, or loses its ledger: reads stay right, and say how they are served. */
import { randomBytes } from "node:crypto";
import { redisEngine } from "anynode/redis";
import type { Engine } from "../../lib/engines/engine.js";
import { textsOf } from "../../lib/session/attributes.js";
import { makeSid } from "../../lib/session/id.js";
import type { Sessions } from "../../lib/sessions.js";
import { aNode, stored, valuesOf } from "../support/a-node.js";
import { type RedisServer, startRedis } from "../support/redis.js";
import { until } from "../support/until.js";

let server: RedisServer;
let prefix: string;
const opened: (Engine | Sessions)[] = [];
beforeAll(async () => {
  server = await startRedis();
});
beforeEach(() => {
  prefix = `test-${randomBytes(6).toString("hex")}:`;
});
afterEach(async () => {
  await server.command("CONFIG", "SET", "maxmemory", "0");
  for (const each of opened.splice(0).reverse()) await each.close();
});
afterAll(() => server.stop());

async function node(url = server.url): Promise<Sessions> {
  const engine = redisEngine({ url, prefix });
  const sessions = aNode(engine, { keyring: ["plain"] });
  opened.push(engine, sessions);
  await sessions.ready();
  return sessions;
}
async function leased(): Promise<Sessions> {
  const sessions = await node();
  await until("it has a run", () => sessions.reads.runs > 0);
  return sessions;
}
async function fresh(sessions: Sessions, attributes: object) {
  const sid = makeSid();
  await sessions.create(sid, textsOf(attributes));
  return sid;
}

test("at maxmemory a read goes on and makes no copy; one from before is told of the end", async () => {
  const [a, b] = [await leased(), await leased()];
  const [cold, warm] = [await fresh(a, { v: 1 }), await fresh(a, { v: 1 })];
  await b.load(warm);
  await server.command("CONFIG", "SET", "maxmemory", "1");
  const { asked } = b.reads;
  for (let i = 0; i < 3; i++) expect(await valuesOf(b, cold)).toEqual({ v: 1 });
  expect(b.reads.asked).toBe(asked + 3);
  await b.load(warm);
  expect(b.reads.asked).toBe(asked + 3);
  for (const sid of [cold, warm]) {
    expect(await a.end(sid)).toMatchObject({ ended: true });
    expect(await b.load(sid)).toBeUndefined();
  }
});

test("a user without channels: nodes say that they ask for each read, and ends and writes are right all the same", async () => {
  await server.command("ACL", "SETUSER", "deaf", "on", ">hush", `~${prefix}*`, "resetchannels", "+@all");
  const url = server.url.replace("unix://", "unix://deaf:hush@localhost");
  const [a, b] = [await node(url), await node(url)];
  await until("both say so", () => [a, b].every(({ reads }) => reads.mode === "checked"));
  const sid = await fresh(a, { v: 1 });
  expect(await valuesOf(b, sid)).toEqual({ v: 1 });
  const startedAt = performance.now();
  await b.update(sid, (attributes) => {
    attributes["v"] = 2;
  });
  expect(await valuesOf(a, sid)).toEqual({ v: 2 });
  await a.end(sid);
  expect(await b.load(sid)).toBeUndefined();
  expect(performance.now() - startedAt).toBeLessThan(1_500);
});

test("a ledger that is lost: the runs end with the next echoes, writers wait whole leases meanwhile, and all is leased again", async () => {
  const [a, b] = [await leased(), await leased()];
  const sid = await stored(a, { v: 1 });
  await b.load(sid);
  const { runs } = b.reads;
  await server.command("DEL", `${prefix}{registry}:copies`);
  await a.update(sid, (attributes) => {
    attributes["v"] = 2;
  });
  expect(await valuesOf(b, sid)).toEqual({ v: 2 });
  await until("b has a run again", () => b.reads.runs > runs);
  await b.load(sid);
  const { asked } = b.reads;
  await b.load(sid);
  expect([b.reads.asked, b.reads.mode]).toEqual([asked, "leased"]);
});

test("RACE: writers and readers of four nodes on few sessions: no read is older than what was completed when it started", async () => {
  const nodes = [await leased(), await leased(), await leased(), await leased()];
  const pick = () => nodes[Math.floor(Math.random() * nodes.length)] ?? nodes[0];
  const sids = await Promise.all(nodes.map((each) => fresh(each, { n: 0 })));
  const done = new Map<string, number>(sids.map((sid) => [sid, 0]));
  let [reads, stopped] = [0, false];
  const reader = async () => {
    while (!stopped) {
      for (const sid of sids) {
        const floor = done.get(sid) ?? 0;
        const seen = Number((await valuesOf(pick() ?? fail(), sid))?.["n"]);
        if (seen < floor) throw new Error(`stale: ${seen} after ${floor}`);
        reads += 1;
      }
      await new Promise(setImmediate);
    }
  };
  const writer = async (sid: string) => {
    for (let n = 1; n <= 60; n++) {
      const updated = await (pick() ?? fail()).update(sid, (attributes) => {
        attributes["n"] = Number(attributes["n"]) + 1;
        return Number(attributes["n"]);
      });
      if (updated.outcome === "committed") done.set(sid, Math.max(done.get(sid) ?? 0, updated.value));
    }
  };
  const readers = [reader(), reader(), reader()];
  await Promise.race([Promise.all(sids.map(writer)), Promise.all(readers)]);
  stopped = true;
  await Promise.all(readers);
  expect(sids.map((sid) => done.get(sid))).toEqual([60, 60, 60, 60]);
  expect(reads).toBeGreaterThan(100);
  expect(nodes.reduce((sum, each) => sum + each.reads.hits, 0)).toBeGreaterThan(0);
});

function fail(): never {
  throw new Error("no node");
}
