/**
 * What clients ask of a Redis server, by MONITOR: commands of the registry (beats and the like) apart from those for sessions, and the
 * messages that nodes and scripts publish.
 */
import { Redis } from "ioredis";
import type { RedisServer } from "./redis.js";
import { until } from "./until.js";

export interface Commands {
  /** For sessions, by clients: reads, fills, commits, ends. */
  sessions: number;
  /** Of the registry: beats, joins, looks at the rows. */
  registry: number;
  /** Published, by clients or scripts. */
  drops: number;
  acks: number;
}

export interface Watch {
  /** What was counted since the last call, or the start; up to this very moment. */
  taken(): Promise<Commands>;
  stop(): void;
}

const none = (): Commands => ({ sessions: 0, registry: 0, drops: 0, acks: 0 });

export async function watchCommands(redis: RedisServer): Promise<Watch> {
  const client = new Redis({ path: redis.socket });
  const monitor = await client.monitor();
  let counted = none();
  let marks = 0;
  monitor.on("monitor", (_at: string, command: string[], source: string) => {
    const kind = kindOf(command, source);
    if (kind === "mark") marks += 1;
    else if (kind !== undefined) counted[kind] += 1;
  });
  return {
    async taken() {
      // MONITOR tells in order: behind the mark it has told of all that came before.
      const before = marks;
      await client.echo(MARK);
      await until("MONITOR has told", () => marks > before);
      const taken = counted;
      counted = none();
      return taken;
    },
    stop() {
      for (const one of [monitor, client]) one.disconnect();
    },
  };
}

const MARK = "up to here";

function kindOf([name = "", ...args]: string[], source: string): keyof Commands | "mark" | undefined {
  const verb = name.toLowerCase();
  if (verb === "publish") {
    const kind = args[1]?.split(" ")[0];
    return kind === "drop" ? "drops" : kind === "acks" ? "acks" : undefined;
  }
  if (verb === "echo") return args[0] === MARK ? "mark" : undefined;
  if (source === "lua") return undefined;
  if (verb === "evalsha" || verb === "eval") return args[2]?.includes("{registry}") ? "registry" : "sessions";
  if (verb === "get" || verb === "mget") return "sessions";
  return undefined;
}
