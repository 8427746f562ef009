/** The Redis engine against the contract: with a client that it opened itself, and with one that the application has. */
import { randomBytes } from "node:crypto";
import { redisEngine } from "anynode/redis";
import { engineContract } from "anynode/testing";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { type RedisServer, startRedis } from "../support/redis.js";

// Leases of real time take two minutes: the full run waits for them.
const { ANYNODE_FULL } = process.env;
const clock = ANYNODE_FULL === "1" ? "slow" : "real";

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

/** Every test has a prefix of its own on the one server. */
const newPrefix = () => `test-${randomBytes(9).toString("base64url")}:`;

engineContract({ describe, test }, "redis, node-redis by URL", {
  clock,
  medium() {
    const prefix = newPrefix();
    return { engine: () => redisEngine({ url: server.url, prefix }) };
  },
});

engineContract({ describe, test }, "redis, a given node-redis client", {
  clock: "real",
  medium() {
    const prefix = newPrefix();
    const clients: { destroy(): void }[] = [];
    return {
      async engine() {
        const client = createClient({ socket: { path: server.socket, tls: false } });
        client.on("error", () => {});
        await client.connect();
        clients.push(client);
        return redisEngine({ client, prefix });
      },
      remove: () => {
        for (const client of clients) client.destroy();
      },
    };
  },
});

engineContract({ describe, test }, "redis, a given ioredis client", {
  clock: "real",
  medium() {
    const prefix = newPrefix();
    const clients: Redis[] = [];
    return {
      engine() {
        const client = new Redis({ path: server.socket });
        clients.push(client);
        return redisEngine({ client, prefix });
      },
      remove: () => {
        for (const client of clients) client.disconnect();
      },
    };
  },
});

test("ioredis: with a fake in the place of process.nextTick, as an application's tests have it, commands are sent", async () => {
  const client = new Redis({ path: server.socket });
  const engine = redisEngine({ client, prefix: newPrefix() });
  try {
    await engine.nodes();
    const uncork = jest.spyOn(client.stream, "uncork");
    jest.useFakeTimers({ doNotFake: ["setTimeout", "setImmediate", "queueMicrotask", "performance", "Date"] });
    const asked = engine.nodes();
    jest.useRealTimers();
    await expect(asked).resolves.toMatchObject({ rows: [] });
    expect(uncork).toHaveBeenCalled();
  } finally {
    jest.useRealTimers();
    await engine.close();
    client.disconnect();
  }
});

test("ioredis: commands of one go are sent as one", async () => {
  const client = new Redis({ path: server.socket });
  const engine = redisEngine({ client, prefix: newPrefix() });
  try {
    // By then Redis knows the script.
    await engine.nodes();
    const sends = jest.spyOn(client.stream, "_write");
    const batches = jest.spyOn(client.stream, "_writev");
    await Promise.all(Array.from({ length: 8 }, () => engine.nodes()));
    expect([sends.mock.calls.length, batches.mock.calls.length]).toEqual([0, 1]);
    await engine.nodes();
    expect(sends.mock.calls.length + batches.mock.calls.length).toBe(2);
  } finally {
    await engine.close();
    client.disconnect();
  }
});
