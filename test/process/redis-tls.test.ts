/** `rediss://` with a real server, whose certificate a private authority signed: it is checked, and the option `tls` says whom to trust. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RedisEngineOptions, redisEngine } from "anynode/redis";
import type { Engine } from "../../lib/engines/engine.js";
import { anynode } from "../../lib/index.js";
import { keyFor } from "../support/names.js";
import { type RedisServer, startRedis } from "../support/redis.js";

const IDLE = { idleMs: 60_000, absoluteAt: 0 };
let directory: string;
let redis: RedisServer;
let ca: string;

/** A key pair and what vouches for it, by openssl. */
function openssl(...args: string[]): void {
  const { status, stderr } = spawnSync("openssl", args, { cwd: directory, encoding: "utf8" });
  if (status !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`);
}
const file = (name: string) => join(directory, name);

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "anynode-tls-"));
  const key = ["-newkey", "rsa:2048", "-nodes"];
  openssl("req", "-x509", ...key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=an authority of the tests");
  for (const [name, who] of [
    ["server", "DNS:localhost"],
    ["client", "DNS:a-node"],
  ]) {
    openssl(
      "req",
      ...key,
      "-keyout",
      `${name}.key`,
      "-out",
      `${name}.csr`,
      "-subj",
      `/CN=${name}`,
      "-addext",
      `subjectAltName=${who}`,
    );
    openssl(
      "x509",
      "-req",
      "-in",
      `${name}.csr`,
      "-CA",
      "ca.crt",
      "-CAkey",
      "ca.key",
      "-CAcreateserial",
      "-out",
      `${name}.crt`,
      "-days",
      "2",
      "-copy_extensions",
      "copy",
    );
  }
  ca = readFileSync(file("ca.crt"), "utf8");
  const tls = ["--tls-cert-file", file("server.crt"), "--tls-key-file", file("server.key"), "--tls-ca-cert-file", file("ca.crt")];
  redis = await startRedis({ tls });
}, 60_000);
afterAll(async () => {
  await redis.stop();
  rmSync(directory, { recursive: true, force: true });
});

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** As in an application that has only that client package. */
function engineOf(client: "redis" | "ioredis", options: RedisEngineOptions): Engine {
  let engine: Engine | undefined;
  jest.isolateModules(() => {
    const other = client === "redis" ? "ioredis" : "redis";
    let missed = false;
    jest.doMock(other, () => {
      missed = true;
      throw Object.assign(new Error("missing"), { code: "MODULE_NOT_FOUND" });
    });
    const fresh: typeof import("anynode/redis") = require("anynode/redis");
    engine = fresh.redisEngine({ deadlineMs: 2_000, ...options });
    jest.dontMock(other);
    if (client === "ioredis" && !missed) throw new Error("the engine didn't even look for node-redis");
  });
  if (engine === undefined) throw new Error("no engine");
  const made = engine;
  closing.push(() => made.close());
  return made;
}

describe.each(["redis", "ioredis"] as const)("the package %s", (client) => {
  test("records, rows and messages go through TLS to a server that a private authority vouches for", async () => {
    const engine = engineOf(client, { url: redis.url, tls: { ca }, prefix: `${client}:` });
    await engine.open();
    const key = keyFor(client);
    expect(await engine.create(key, Buffer.from("body"), IDLE)).toMatchObject({ outcome: "committed" });
    expect(await engine.read(key)).toMatchObject({ outcome: "found", body: Buffer.from("body") });
    const heard: string[] = [];
    await engine.subscribe("news", (message) => heard.push(message));
    await engine.publish("news", "hello");
    for (let i = 0; i < 200 && heard.length === 0; i++) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(heard).toEqual(["hello"]);
  });

  test("without the authority it isn't trusted, and the error says why", async () => {
    await expect(engineOf(client, { url: redis.url }).open()).rejects.toMatchObject({
      code: "ENGINE_UNAVAILABLE",
      message: expect.stringMatching(/certificate/),
    });
  });

  test("a good certificate for another name isn't trusted either", async () => {
    const url = redis.url.replace("localhost", "127.0.0.1");
    await expect(engineOf(client, { url, tls: { ca } }).open()).rejects.toMatchObject({ code: "ENGINE_UNAVAILABLE" });
    // Unless the application says which name it expects.
    await expect(engineOf(client, { url, tls: { ca, servername: "localhost" } }).open()).resolves.toBeUndefined();
  });

  test("a server that wants to know its clients gets a certificate", async () => {
    await redis.command("CONFIG", "SET", "tls-auth-clients", "yes");
    try {
      await expect(engineOf(client, { url: redis.url, tls: { ca } }).open()).rejects.toMatchObject({
        code: expect.stringMatching(/^ENGINE_(UNAVAILABLE|TIMEOUT)$/),
      });
      const identity = { cert: readFileSync(file("client.crt")), key: readFileSync(file("client.key")) };
      await expect(engineOf(client, { url: redis.url, tls: { ca, ...identity } }).open()).resolves.toBeUndefined();
    } finally {
      await redis.command("CONFIG", "SET", "tls-auth-clients", "no");
    }
  });
});

test("sessions over rediss://", async () => {
  const engine = redisEngine({ url: redis.url, tls: { ca } });
  const sessions = anynode({ engine, keyring: ["plain"] });
  await sessions.ready();
  await sessions.replace("a", new Map([["a", "1"]]));
  expect((await sessions.load("a"))?.record.attributes.get("a")).toBe("1");
  await sessions.close();
  await engine.close();
});

test.each([
  [{ url: "redis://localhost:6379", tls: {} }, "rediss://"],
  [{ tls: {} }, "rediss://"],
  [{ url: "redis+unix:///tmp/x.sock", tls: {} }, "rediss://"],
  [{ client: {}, tls: {} }, "client"],
])("%# the option tls where it would do nothing is refused", (options, part) => {
  expect(() => Reflect.apply(redisEngine, undefined, [options])).toThrow(
    expect.objectContaining({ code: "OPTION_INVALID", message: expect.stringContaining(part) }),
  );
});
