/** From what the option `engine` says to an engine. Each engine loads its package only when it opens. */
import type { Clock } from "../clock.js";
import { AnynodeError } from "../errors.js";
import type { Engine } from "./engine.js";
import { lmdbEngine } from "./lmdb.js";
import { memoryEngine } from "./memory.js";
import { redisEngine } from "./redis/engine.js";

/** Throws OPTION_INVALID for a text that names no engine. Nothing is connected yet. */
export function openEngine(spec: string, { deadlineMs, clock }: { deadlineMs: number; clock: Clock }): Engine {
  const [, scheme = "", rest = ""] = /^([a-z+]+):(.*)$/s.exec(spec) ?? [];
  if (scheme === "memory" && rest === "") return memoryEngine({ clock });
  if (scheme === "lmdb" && rest !== "") return lmdbEngine({ dir: rest, deadlineMs, clock });
  if (["redis", "rediss", "redis+unix", "unix"].includes(scheme)) return redisEngine({ url: spec, deadlineMs, clock });
  // A URL may hold a password: only its scheme is shown.
  throw new AnynodeError(
    "OPTION_INVALID",
    `The option engine ${scheme === "" ? "has no scheme" : `begins with "${scheme}:"`}; it must be "memory:", "lmdb:<directory>", "redis://host:port" or "rediss://host:port".`,
  );
}
