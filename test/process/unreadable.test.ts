/**
 * Records that a node can't read, written straight into Redis: damaged, cut, moved from another session, or of a newer format. Their
 * visitors are served as if they had no session; nobody gets another's data; the bytes stay as they are; an event tells once.
 */
import { randomBytes } from "node:crypto";
import { redisEngine } from "anynode/redis";
import { anynode, type EventMap, type Sessions } from "../../lib/index.js";
import { HOSTS } from "../support/app/hosts.js";
import { type Serving, serve } from "../support/app/server.js";
import { Browser } from "../support/browser.js";
import { times } from "../support/node-process.js";
import { type RedisServer, startRedis } from "../support/redis.js";
import { until } from "../support/until.js";

/** Where the body begins in a value (lib/engines/redis/value.ts): its first byte is the format, its second the flags. */
const BODY_AT = 35;
/** Replies of the test's own client are text; bytes come through as hexadecimal digits. */
const AS_HEX = "return (redis.call('GET', KEYS[1]):gsub('.', function (c) return string.format('%02x', c:byte()) end))";

describe.each(HOSTS)("$name", (host) => {
  let redis: RedisServer;
  let engine: ReturnType<typeof redisEngine>;
  let sessions: Sessions;
  let writing: Sessions;
  let node: Serving;
  let writer: Serving;
  let prefix: string;
  let told: EventMap["unreadable"][];
  let strays: unknown[];

  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.stop());
  beforeEach(async () => {
    prefix = `test-${randomBytes(9).toString("base64url")}:`;
    engine = redisEngine({ url: redis.url, prefix });
    // Copies are noted in the bytes that are compared here; and what a node has read it knows by its version: another one looks at it.
    sessions = anynode({ engine, keyring: ["plain"], reads: "checked" });
    writing = anynode({ engine, keyring: ["plain"], reads: "checked" });
    told = [];
    sessions.on("unreadable", (event) => told.push(event));
    strays = [];
    node = await serve(host, sessions);
    writer = await serve(host, writing);
  });
  afterEach(async () => {
    await node.close();
    await writer.close();
    await sessions.close();
    await writing.close();
    await engine.close();
    expect(strays).toEqual([]);
  });

  /** A visitor with a session, and the name of its record in Redis. */
  async function visitorNamed(name: string): Promise<{ browser: Browser; record: string; bytes: Buffer }> {
    const known = new Set(await recordNames());
    const browser = new Browser();
    await browser.get(writer.url, `/set?name=who&value=${name}`);
    const [record = ""] = (await recordNames()).filter((one) => !known.has(one));
    return { browser, record, bytes: await bytesOf(record) };
  }

  async function recordNames(): Promise<string[]> {
    const names = await redis.command("KEYS", `${prefix}{*`);
    return Array.isArray(names) ? names.map(String).filter((name) => !name.includes("{registry}")) : [];
  }

  async function bytesOf(record: string): Promise<Buffer> {
    return Buffer.from(String(await redis.command("EVAL", AS_HEX, 1, record)), "hex");
  }

  const write = (record: string, bytes: Buffer) => redis.command("SET", record, bytes, "PX", 3_600_000);

  /** The visitor is served without its session, again and again, and can begin a new one. */
  async function servedAnew(browser: Browser): Promise<void> {
    for (let i = 0; i < 3; i++) {
      const { status, body } = await browser.fork().get(node.url, "/read");
      expect([status, body]).toEqual([200, {}]);
    }
    expect((await browser.get(node.url, "/set?name=who&value=anew")).status).toBe(200);
    expect((await browser.get(node.url, "/read")).body).toEqual({ who: "anew" });
  }

  const damages: readonly [string, (bytes: Buffer) => Buffer, EventMap["unreadable"]["why"]][] = [
    ["cut in the middle of its body", (bytes) => bytes.subarray(0, bytes.length - 5), "damaged"],
    ["cut to its header", (bytes) => bytes.subarray(0, BODY_AT), "damaged"],
    ["cut within its header", (bytes) => bytes.subarray(0, 10), "unknown"],
    ["with a byte of its body changed", (bytes) => changed(bytes, bytes.length - 3, 1), "damaged"],
    ["of text", () => Buffer.from('{"cookie":{},"who":"mallory"}'), "unknown"],
    ["of another kind, as a later layout may have", (bytes) => changed(bytes, 0, 1), "unknown"],
    ["of a newer body format", (bytes) => changed(bytes, BODY_AT, 1 ^ 3), "unknown"],
    ["with a flag that a newer version set", (bytes) => changed(bytes, BODY_AT + 1, 128), "unknown"],
  ];
  test.each(damages)("a record %s", async (_, damage, why) => {
    const [ann, bob] = [await visitorNamed("ann"), await visitorNamed("bob")];
    const stored = damage(ann.bytes);
    await write(ann.record, stored);
    await servedAnew(ann.browser);
    expect((await bytesOf(ann.record)).equals(stored)).toBe(true);
    expect((await bob.browser.get(node.url, "/read")).body).toEqual({ who: "bob" });
    await until("the event", () => told.length > 0);
    expect(told).toEqual([{ why }]);
  });

  test("a record that was moved to another visitor's place shows nobody's data", async () => {
    const [ann, bob] = [await visitorNamed("ann"), await visitorNamed("bob")];
    await write(ann.record, bob.bytes);
    await write(bob.record, ann.bytes);
    await servedAnew(ann.browser);
    await servedAnew(bob.browser);
    await until("the events", () => told.length > 1);
    expect(told).toEqual([{ why: "damaged" }, { why: "damaged" }]);
  });

  test.each(["HSET", "RPUSH", "SADD"])("another type of value (%s)", async (verb) => {
    const ann = await visitorNamed("ann");
    await redis.command("DEL", ann.record);
    await redis.command(verb, ann.record, "field", ...(verb === "HSET" ? ["value"] : []));
    await servedAnew(ann.browser);
    await until("the event", () => told.length > 0);
    expect(told).toEqual([{ why: "unknown" }]);
  });

  const changes = times(2000);
  test(`${changes} records with a random byte changed: never a 500, never another's data`, async () => {
    const [ann] = [await visitorNamed("ann"), await visitorNamed("bob")];
    for (let i = 0; i < changes; i++) {
      const at = i % ann.bytes.length;
      await write(ann.record, changed(ann.bytes, at, 1 + Math.floor(Math.random() * 255)));
      const { status, body } = await ann.browser.fork().get(node.url, "/read");
      const seen = JSON.stringify([status, body]);
      if (seen !== "[200,{}]" && seen !== '[200,{"who":"ann"}]') strays.push([at, seen]);
    }
  }, 60_000);

  test("a sign-out ends an unreadable session, too", async () => {
    const ann = await visitorNamed("ann");
    const stored = changed(ann.bytes, BODY_AT, 1 ^ 3);
    await write(ann.record, stored);
    await sessions.end(idOf(ann.browser, host.name));
    await write(`${ann.record}x`, stored); // the prefix is shared with what isn't ours
    expect((await bytesOf(ann.record)).equals(stored)).toBe(false);
    await servedAnew(ann.browser);
    expect(told).toEqual([]);
  });

  test("who lists all sessions gets the readable ones", async () => {
    const [ann, bob, eve] = [await visitorNamed("ann"), await visitorNamed("bob"), await visitorNamed("eve")];
    await write(ann.record, Buffer.from("x"));
    await write(bob.record, changed(bob.bytes, BODY_AT, 1 ^ 3));
    await redis.command("RPUSH", `${ann.record.slice(0, -1)}-`, "a list");
    const names: unknown[] = [];
    for await (const { record } of sessions.list()) names.push(record.attributes.get("who"));
    expect(names).toEqual(['"eve"']);
    expect((await eve.browser.get(node.url, "/read")).body).toEqual({ who: "eve" });
  });
});

function changed(bytes: Buffer, at: number, bits: number): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt8(copy.readUInt8(at) ^ bits, at);
  return copy;
}

/** The session id in a browser's cookie. */
function idOf(browser: Browser, host: string): string {
  const value = decodeURIComponent(browser.cookie("sid") ?? "");
  return host === "koa" ? value : value.slice(2, value.lastIndexOf("."));
}
