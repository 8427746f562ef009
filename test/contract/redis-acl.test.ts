/** The Redis engine against the contract as a user who may do nothing but what `aclRules` says; and that nothing in it is too much. */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { aclRules, redisEngine } from "anynode/redis";
import { engineContract } from "anynode/testing";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { type RedisServer, startRedis } from "../support/redis.js";

const { ANYNODE_FULL } = process.env;
const clock = ANYNODE_FULL === "1" ? "slow" : "real";
const PASSWORD = "a-password-of-the-tests";

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

/** A user of its own for each prefix. */
async function userFor(prefix: string, rules = aclRules(prefix)): Promise<string> {
  const name = `user-${randomBytes(6).toString("hex")}`;
  await server.command("ACL", "SETUSER", name, "reset", "on", `>${PASSWORD}`, ...rules);
  return name;
}
const newPrefix = () => `test-${randomBytes(9).toString("base64url")}:`;
const urlOf = (user: string) => `redis+unix://${user}:${PASSWORD}@localhost${server.socket}`;

engineContract({ describe, test }, "redis under its ACL profile, node-redis by URL", {
  clock,
  async medium() {
    const prefix = newPrefix();
    const url = urlOf(await userFor(prefix));
    return { engine: () => redisEngine({ url, prefix }) };
  },
});

engineContract({ describe, test }, "redis under its ACL profile, a given ioredis client", {
  clock: "real",
  async medium() {
    const prefix = newPrefix();
    const username = await userFor(prefix);
    const clients: Redis[] = [];
    return {
      engine() {
        const client = new Redis({ path: server.socket, username, password: PASSWORD });
        clients.push(client);
        return redisEngine({ client, prefix });
      },
      remove: () => {
        for (const client of clients) client.disconnect();
      },
    };
  },
});

test("docs/engines.md shows the rules as they are", () => {
  const page = readFileSync(join(__dirname, "../../docs/engines.md"), "utf8");
  const [, shown = ""] = /^```text\n(resetkeys.*?)^```$/ms.exec(page) ?? [];
  expect(shown.trim().split(/\s+/)).toEqual(aclRules("anynode:"));
});

describe("such a user", () => {
  const denied = [
    ["CONFIG", "GET", "dir"],
    ["CONFIG", "SET", "maxmemory", "1"],
    ["KEYS", "*"],
    ["FLUSHALL"],
    ["FLUSHDB"],
    ["EVAL", "return 1", "0"],
    ["SCRIPT", "FLUSH"],
    ["CLIENT", "KILL", "TYPE", "normal"],
    ["ACL", "LIST"],
    ["MONITOR"],
    ["SHUTDOWN"],
    ["DUMP", "other"],
    ["GET", "other"],
    ["SET", "other", "1"],
    ["PUBLISH", "other", "1"],
    ["PSUBSCRIBE", "*"],
  ];
  test.each(denied.map((command) => [command.join(" "), command] as const))("may not %s", async (_, [name = "", ...args]) => {
    const client = createClient({
      socket: { path: server.socket, tls: false },
      username: await userFor(newPrefix()),
      password: PASSWORD,
    });
    client.on("error", () => {});
    await client.connect();
    const answer = await client.sendCommand([name, ...args]).catch((error: unknown) => String(error));
    client.destroy();
    expect(answer).toMatch(/NOPERM/);
  });

  test("may do nothing that the engine doesn't need: taken away, each rule is missed", async () => {
    /** For clients that say more when they connect than an engine asks of them: not missed on every server, by every client. */
    const forClients = new Set(["+info", "+hello", "+auth", "+select", "+ping", "+unsubscribe"]);
    /** Missed only once a registry lease is over, for which the short suite doesn't wait. */
    const late = "+zrem";
    const prefix = newPrefix();
    const needed = aclRules(prefix).filter((rule) => /^[+~&]/.test(rule) && !forClients.has(rule) && rule !== late);
    expect(needed.length).toBeGreaterThan(20);
    expect(await works(prefix, aclRules(prefix))).toBe(true);
    // Each takes the contract as far as it goes without the rule: every third one will do where time is short.
    for (const rule of needed.filter((_, at) => ANYNODE_FULL === "1" || at % 3 === 0)) {
      const without = aclRules(prefix).filter((other) => other !== rule);
      expect([rule, await works(prefix, without)]).toEqual([rule, false]);
    }
  }, 120_000);
});

/** Whether the contract holds for a user with these rules; it isn't asked further than the first failure. */
async function works(prefix: string, rules: string[]): Promise<boolean> {
  const url = urlOf(await userFor(prefix, rules));
  const runs: (() => Promise<void>)[] = [];
  const collect = {
    describe: (_: string, define: () => void) => define(),
    test: (_: string, run: () => Promise<void>) => runs.push(run),
  };
  const medium = async () => {
    await server.command("SCRIPT", "FLUSH");
    await server.command("FLUSHALL");
    return { engine: () => redisEngine({ url, prefix }) };
  };
  engineContract(collect, "collected", { clock: "real", medium });
  try {
    for (const run of runs) await run();
    return true;
  } catch {
    return false;
  }
}
