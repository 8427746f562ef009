/** G6 with real processes on a real Redis: keys are rotated under load, and what Redis writes to its disk is worth nothing to a thief. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Browser, get } from "../support/browser.js";
import { type Child, startChild } from "../support/child.js";
import { Load } from "../support/load.js";
import { type RedisServer, startRedis } from "../support/redis.js";
import { until } from "../support/until.js";

const { ANYNODE_FULL } = process.env;
const ROTATIONS = ANYNODE_FULL === "1" ? 10 : 3;
/** Where the body begins in a value (lib/engines/redis/value.ts). */
const BODY_AT = 35;
/** Replies of the test's own client are text; bytes come through as hexadecimal digits. */
const AS_HEX = "return (redis.call('GET', KEYS[1]):gsub('.', function (c) return string.format('%02x', c:byte()) end))";

interface Node {
  readonly url: string;
  readonly operator: string;
  readonly child: Child;
}

let redis: RedisServer;
let nodes: Node[];
beforeEach(async () => {
  redis = await startRedis({ args: ["--rdbcompression", "no"] });
  nodes = [];
});
afterEach(async () => {
  for (const { child } of nodes) {
    child.process.kill("SIGKILL");
    await child.ended;
  }
  await redis.stop();
});

async function start(hosts: readonly string[], keys: string): Promise<void> {
  await Promise.all(
    hosts.map(async (host) => {
      const child = startChild("keyring-node.ts", [host, redis.url, keys]);
      nodes.push({ child, url: await child.line(), operator: await child.line() });
    }),
  );
}

/** The records of the fleet: version, and the id of the key that sealed each. */
async function records(): Promise<{ version: number; keyId: string }[]> {
  const names = await redis.command("KEYS", "anynode:{*");
  if (!Array.isArray(names)) throw new Error("KEYS");
  const found = await Promise.all(
    names.map(String).map(async (name) => {
      if (name.includes("{registry}")) return [];
      const value = Buffer.from(String(await redis.command("EVAL", AS_HEX, 1, name)), "hex");
      const body = value.subarray(BODY_AT);
      const keyId = body[0] === 2 ? body.toString("latin1", 3, 3 + (body[2] ?? 0)) : "plain";
      return [{ version: value.readUIntBE(1, 6), keyId }];
    }),
  );
  return found.flat();
}

async function redisNow(): Promise<number> {
  const time = await redis.command("TIME");
  const [seconds, micros] = Array.isArray(time) ? time.map(Number) : [];
  return (seconds ?? 0) * 1000 + (micros ?? 0) / 1000;
}

test(`${ROTATIONS} rotations under load, nodes updated one after another: 0 logouts, 0 errors, and no record is written with an old key afterwards`, async () => {
  await start(["express5", "express5", "express5"], "k0,plain");
  const load = new Load(() => nodes);
  await load.start(6);
  let keys = "k0";
  for (let rotation = 1; rotation <= ROTATIONS; rotation++) {
    const id = `k${rotation}`;
    keys = `${id},${keys}`;
    for (const { operator } of nodes) {
      await get(`${operator}/replace?keys=${keys}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await until(`all seal with ${id}`, async () => {
      const primaries = await Promise.all(nodes.map(({ operator }) => get(`${operator}/primary`)));
      return primaries.every(({ body }) => body["primary"] === id);
    });
    // What was on its way with the older key has arrived.
    await new Promise((resolve) => setTimeout(resolve, 200));
    const since = await redisNow();
    const served = load.judged.ok;
    await until("much is written", () => load.judged.ok > served + 200);
    const fresh = (await records()).filter(({ version }) => version > since);
    expect(fresh.length).toBeGreaterThan(2);
    expect(new Set(fresh.map(({ keyId }) => keyId))).toEqual(new Set([id]));
  }
  await load.stop();
  await load.verify();
  expect(load.judged).toMatchObject({ errors: 0, violations: [] });
}, 120_000);

test.each(["express5", "koa"])(
  "%s: a node that lacks a visitor's key answers 503, leaves session and cookie alone, and serves once it has it",
  async (host) => {
    await start([host], "k1");
    await start([host], "k2");
    const [having, lacking] = nodes;
    if (having === undefined || lacking === undefined) throw new Error("no node");
    const visitor = new Browser();
    await visitor.get(having.url, "/set?name=who&value=ann");
    const cookie = visitor.cookie("sid");
    for (const path of ["/read", "/set?name=who&value=bob", "/sign-in?name=who&value=bob"]) {
      expect((await visitor.get(lacking.url, path)).status).toBe(503);
    }
    expect(visitor.cookie("sid")).toBe(cookie);
    expect((await visitor.get(having.url, "/read")).body).toEqual({ who: "ann" });
    await get(`${lacking.operator}/replace?keys=k2,k1`);
    expect((await visitor.get(lacking.url, "/read")).body).toEqual({ who: "ann" });
  },
  60_000,
);

describe("a dump of Redis", () => {
  const secrets = { attribute: "attributeOfTheDumpTest", value: "valueOfTheDumpTest" };

  /** Has visitors do things, and takes what Redis writes to its disk then. */
  async function dumped(): Promise<{ dump: Buffer; ids: string[] }> {
    const ids: string[] = [];
    for (let i = 0; i < 30; i++) {
      const visitor = new Browser();
      for (const { url } of nodes.filter((_, n) => n === i % nodes.length)) {
        const path = `/${["set", "sign-in"][i % 2]}?name=${secrets.attribute}${i}&value=${secrets.value}${i}`;
        expect((await visitor.get(url, path)).status).toBe(200);
        if (i % 5 === 0) await visitor.get(url, "/max-age?ms=900000");
        const cookie = decodeURIComponent(visitor.cookie("sid") ?? "");
        // express-session signs: s:id.signature
        ids.push(cookie.startsWith("s:") ? cookie.slice(2, cookie.lastIndexOf(".")) : cookie);
        if (i % 7 === 0) await visitor.get(url, "/sign-out");
      }
    }
    await redis.command("SAVE");
    const reply = await redis.command("CONFIG", "GET", "dir");
    return { dump: await readFile(join(Array.isArray(reply) ? String(reply[1]) : "", "dump.rdb")), ids };
  }
  /** How often any of the words is in it: as it is, in base64 at any offset, or in hexadecimal. */
  function seen(dump: Buffer, words: readonly string[]): number {
    const forms = words.flatMap((word) => {
      const inner = [0, 1, 2].map((pad) =>
        Buffer.from("x".repeat(pad) + word)
          .toString("base64")
          .slice(pad === 0 ? 0 : 4, -4),
      );
      return [word, ...inner, Buffer.from(word).toString("hex")];
    });
    return forms.filter((form) => dump.includes(form)).length;
  }

  test("of a sealed fleet has no id, attribute name or value in it", async () => {
    await start(["express5", "koa"], "k1");
    const { dump, ids } = await dumped();
    expect(dump.length).toBeGreaterThan(3_000);
    expect(new Set(ids).size).toBe(30);
    expect(seen(dump, ids)).toBe(0);
    expect(
      seen(
        dump,
        ids.map((id) => id.slice(id.indexOf(".") + 1)),
      ),
    ).toBe(0);
    expect(seen(dump, Object.values(secrets))).toBe(0);
    // Nor the settings of a cookie.
    expect(seen(dump, ["httpOnly", "originalMaxAge"])).toBe(0);
    expect((await records()).length).toBeGreaterThan(20);
  }, 60_000);

  test("of a fleet without keys has no id either, but what the sessions hold: the test can see it", async () => {
    await start(["express5", "koa"], "plain");
    const { dump, ids } = await dumped();
    expect(seen(dump, ids)).toBe(0);
    expect(seen(dump, [secrets.attribute])).toBeGreaterThan(0);
    expect(seen(dump, [secrets.value])).toBeGreaterThan(0);
  }, 60_000);
});
