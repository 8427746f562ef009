/**
 * Where the connections come from: a URL and whichever client package is installed, or a client that the application has.
 * A given client is never closed, subscribed on or configured. What can't keep the engine's promises is refused here, with the cure.
 */
import type { ConnectionOptions } from "node:tls";
import { types } from "node:util";
import { AnynodeError } from "../../errors.js";
import { type Address, parseAddress } from "./address.js";
import type { Source } from "./client.js";
import { givenIoredis, type IoredisClient, ioredisAt, isIoredis } from "./ioredis.js";
import { givenNodeRedis, isNodeRedis, type NodeRedisClient, nodeRedisAt } from "./node-redis.js";

/** A connected client of the application's: node-redis (`redis`) ≥ 5 or ioredis ≥ 5. */
export type GivenClient = NodeRedisClient | IoredisClient;

export function sourceOf(url: string | undefined, client: unknown, deadlineMs: number, tls?: ConnectionOptions): Source {
  if (client === undefined) return installed(withTls(parseAddress(url ?? "redis://localhost:6379"), tls), deadlineMs);
  if (tls !== undefined) {
    throw new AnynodeError("OPTION_INVALID", "Both tls and client are given. The client has its own TLS options: leave tls out.");
  }
  if (url !== undefined) throw new AnynodeError("OPTION_INVALID", "Both url and client are given. Give redisEngine one of them.");
  if (typeof client !== "object" || client === null)
    throw unsupported(`client is ${client === null ? "null" : `a ${typeof client}`}`);
  refuse(client);
  if (isNodeRedis(client)) return givenNodeRedis(client, deadlineMs);
  if (isIoredis(client)) return givenIoredis(client, deadlineMs);
  throw unsupported("client is none that anynode knows");
}

function withTls(address: Address, tls: ConnectionOptions | undefined): Address {
  if (tls === undefined) return address;
  const { place } = address;
  if (typeof tls === "object" && tls !== null && "tls" in place && place.tls) return { ...address, place: { ...place, tls } };
  throw new AnynodeError(
    "OPTION_INVALID",
    "The option tls takes Node's TLS options, e.g. { ca }, and only for a URL that begins with rediss://. Correct the URL, or leave tls out.",
  );
}

function refuse(client: object): void {
  const options = "options" in client && typeof client.options === "object" && client.options !== null ? client.options : {};
  if ("execute" in client && "withTypeMapping" in client) throw unsupported("client is a node-redis pool");
  if ("nodeClient" in client || ("isCluster" in client && client.isCluster === true))
    throw unsupported("client is a Cluster client");
  if ("acquire" in client && "withTypeMapping" in client) throw unsupported("client is a node-redis Sentinel client");
  if ("keyPrefix" in options && options.keyPrefix !== undefined && options.keyPrefix !== null && options.keyPrefix !== "")
    throw unsupported("client has a keyPrefix, which would hide keys from list(); anynode has its own option prefix");
  if ("enableAutoPipelining" in options && options.enableAutoPipelining === true)
    throw unsupported("client has enableAutoPipelining, which ioredis can't combine with call()");
  if ("sendCommand" in client && "isReady" in client && !("withTypeMapping" in client))
    throw unsupported("client is of node-redis 4");
  if ("callBuffer" in client && "dropBufferSupport" in options) throw unsupported("client is of ioredis 4");
}

function unsupported(what: string): AnynodeError {
  return new AnynodeError(
    "ENGINE_UNSUPPORTED",
    `The Redis ${what}. Give a single node-redis (redis ≥ 5) or ioredis (≥ 5) client, or a URL: redis://host:6379.`,
  );
}

/** The `redis` package if the application has it, else `ioredis`. */
function installed(address: Address, deadlineMs: number): Source {
  // require, not import(): under Jest, where our users test their applications, import() from CommonJS needs a flag of Node's.
  try {
    const redis: typeof import("redis") = require("redis");
    return nodeRedisAt((options) => redis.createClient(options), address, deadlineMs);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  try {
    const ioredis: typeof import("ioredis") = require("ioredis");
    return ioredisAt((options) => new ioredis.Redis(options), address, deadlineMs);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  throw new AnynodeError(
    "ENGINE_UNSUPPORTED",
    "A Redis URL needs a client package, and none is installed. Run: npm install redis",
  );
}

function isMissing(error: unknown): boolean {
  return types.isNativeError(error) && "code" in error && error.code === "MODULE_NOT_FOUND";
}
