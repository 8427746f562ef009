/**
 * What a Redis user needs to run this engine, and nothing more: the commands (those of the scripts included), our keys, our channels.
 * Everything else is denied, above all CONFIG, KEYS, FLUSHALL and other applications' keys. A test runs the whole contract under it.
 */
import { Keys } from "./keys.js";

/** By what they are for. */
const COMMANDS: Readonly<Record<string, readonly string[]>> = {
  connecting: ["ping", "hello", "auth", "select", "info"],
  scripts: ["evalsha", "script|load", "time"],
  records: ["get", "mget", "getrange", "set", "setrange", "pexpireat", "del", "exists", "scan"],
  registry: ["hget", "hset", "hincrby", "hdel", "hvals", "hgetall", "zadd", "zrem", "zscore", "zrangebyscore"],
  channels: ["publish", "subscribe", "unsubscribe"],
};

/** The rules of such a user for `ACL SETUSER <name> on ><password> …`. `prefix`: as given to the engine. */
export function aclRules(prefix = "anynode:"): string[] {
  const keys = new Keys(prefix);
  const commands = Object.values(COMMANDS).flat();
  return ["resetkeys", "resetchannels", "-@all", ...commands.map((name) => `+${name}`), `~${prefix}*`, `&${keys.channel("*")}`];
}
