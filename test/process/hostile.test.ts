/**
 * Hostile cookies: fuzzed, over raw sockets, as no decent browser sends them; and the same ids with a valid signature, as if the secret had
 * leaked. The node never falls over, and an id that isn't well-formed costs no engine command: Redis' own counters are the witness.
 */
import { createHmac, randomBytes } from "node:crypto";
import { SECRET } from "../support/app/host.js";
import { Browser } from "../support/browser.js";
import { type NodeProcess, parallel, startNode, times } from "../support/node-process.js";
import { statusesFor } from "../support/raw-http.js";
import { type RedisServer, startRedis } from "../support/redis.js";

/** Cookies of one kind, for one host: 100,000 in all. */
const each = times(25_000);
/** Requests that one connection sends, one after the other. */
const PER_CONNECTION = 50;

const NASTY = [
  ...[
    "",
    "*",
    "..",
    "../../etc/passwd",
    "{}",
    "[]",
    "null",
    "undefined",
    "__proto__",
    "constructor",
    "toString",
    "%",
    "%00",
    "%zz",
  ],
  ...[
    "a\r\nSet-Cookie: x=y",
    "a\nb",
    "a\0b",
    "s:",
    "s:.",
    "s:a",
    "s:a.b",
    "s:*.",
    "j:{}",
    'j:{"__proto__":{}}',
    '"',
    ";",
    ";;;",
    "=",
    "==",
  ],
  ...[
    "{tag}",
    "{",
    "}",
    "$(id)",
    "' OR 1=1 --",
    "\x7f\x80\xff",
    "💥",
    "\\x00",
    "a".repeat(300),
    "é".repeat(200),
    "x".repeat(7000),
  ],
  "m".repeat(1_000_000),
];

describe.each(["express5", "koa"] as const)("%s", (host) => {
  let redis: RedisServer;
  let node: NodeProcess;
  beforeAll(async () => {
    redis = await startRedis();
    node = await startNode(host, redis.url, "checked");
  });
  afterAll(async () => {
    await node.kill();
    await redis.stop();
  });

  /** The GETs that Redis has answered: each is a read of a session. (Beats are scripts.) */
  async function reads(): Promise<number> {
    const stats = String(await redis.command("INFO", "commandstats"));
    const [, calls = "0"] = /cmdstat_get:calls=(\d+)/.exec(stats) ?? [];
    return Number(calls);
  }

  async function healthy(): Promise<void> {
    const visitor = new Browser();
    await visitor.get(node.url, "/set?name=n&value=1");
    expect((await visitor.get(node.url, "/read")).body).toEqual({ n: "1" });
  }

  test(`${each} fuzzed cookies: 0 crashes, 0 reads`, async () => {
    const before = await reads();
    const statuses = new Map<number, number>();
    await parallel(Math.ceil(each / PER_CONNECTION), 4, async () => {
      for (const status of await statusesFor(
        node.url,
        Array.from({ length: PER_CONNECTION }, () => fuzzed(host)),
      )) {
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }
    });
    expect(await reads()).toBe(before);
    // 400: not even HTTP; 431: more header than node takes.
    expect([...statuses.keys()].toSorted().filter((status) => ![200, 400, 431].includes(status))).toEqual([]);
    expect(statuses.get(200)).toBeGreaterThan(each / 5);
    await healthy();
  }, 300_000);

  test(`${each} fuzzed ids with a valid signature: 0 crashes, a read for each that is well-formed and for no other`, async () => {
    const before = await reads();
    let wellFormed = 0;
    await parallel(Math.ceil(each / PER_CONNECTION), 4, async () => {
      const ids = Array.from({ length: PER_CONNECTION }, () => fuzzedId(host));
      const lines = ids.map((id) => signed(host, id));
      wellFormed += ids.filter((id) => id !== "" && Buffer.byteLength(id) <= 256).length;
      expect(await statusesFor(node.url, lines)).toEqual(lines.map(() => 200));
    });
    expect((await reads()) - before).toBe(wellFormed);
    await healthy();
  }, 300_000);
});

/** A cookie header that no signature covers. */
function fuzzed(host: string): string {
  const value = pick(NASTY);
  const noise = randomBytes(1 + Math.floor(Math.random() * 24)).toString("latin1");
  const name = host === "koa" ? pick(["sid", "sid.sig"]) : "sid";
  return pick([
    `${name}=${value}`,
    `${name}=${encodeURIComponent(value.slice(0, 2000))}`,
    `${name}=s%3A${encodeURIComponent(value.slice(0, 2000))}.${randomBytes(32).toString("base64url")}`,
    `${name}=${noise}`,
    `${noise}=${value}`,
    `${name}=${value}; ${name}=${noise}; sid.sig=${noise}`,
    value,
    noise,
  ]);
}

/** An id that passes through a cookie: text, which the host decodes. */
function fuzzedId(host: string): string {
  const short = pick(NASTY).slice(0, 3000);
  const id = pick([
    short,
    short + randomBytes(6).toString("hex"),
    randomBytes(130).toString("hex"),
    randomBytes(12).toString("base64"),
  ]);
  // Koa's cookies aren't decoded: only what a cookie may hold arrives.
  return host === "koa" ? id.replace(/[^\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]/g, "_") : id;
}

function signed(host: string, id: string): string {
  if (host === "koa") {
    const mark = createHmac("sha1", SECRET).update(`sid=${id}`).digest("base64url");
    return `sid=${id}; sid.sig=${mark}`;
  }
  const mark = createHmac("sha256", SECRET).update(id).digest("base64").replace(/=+$/, "");
  return `sid=${encodeURIComponent(`s:${id}.${mark}`)}`;
}

function pick<T>(from: readonly T[]): T {
  const one = from[Math.floor(Math.random() * from.length)];
  if (one === undefined) throw new Error("nothing to pick from");
  return one;
}
