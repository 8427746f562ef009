/** The bars of the project's issues that are a matter of cost, each held against what was measured. */
import type { Ratio } from "./ratio.js";
import type { RedisCost } from "./redis-cost.js";
import type { RedisMemory } from "./redis-memory.js";
import type { Route } from "./subject.js";
import type { SubjectName } from "./subjects.js";

/** One subject on one route: means over the rounds. */
export interface RouteFigures {
  readonly subject: SubjectName;
  readonly route: Route;
  readonly cpuMicrosPerRequest: number;
  readonly requestsPerSecond: number;
}
/** Ours against another's, by round: above 1, ours is the better one. */
export interface Comparison {
  readonly ours: SubjectName;
  readonly other: SubjectName;
  readonly route: Route;
  /** The other's server CPU time per request ÷ ours. */
  readonly efficiency: Ratio;
  /** Our requests per second ÷ the other's. */
  readonly throughput: Ratio;
}
export interface RedisFigures {
  readonly subject: SubjectName;
  readonly read: RedisCost;
  readonly write: RedisCost;
  readonly memory: RedisMemory;
}
export interface Figures {
  readonly machine: { readonly cpus: number; readonly node: string; readonly redis: string };
  readonly date: string;
  readonly options: { readonly rounds: number; readonly requestsPerSlice: number; readonly connections: number };
  readonly routes: readonly RouteFigures[];
  readonly comparisons: readonly Comparison[];
  readonly redis: readonly RedisFigures[];
}

export interface Bar {
  readonly what: string;
  readonly measured: number;
  readonly bound: string;
  readonly passed: boolean;
}

/** Who is compared with whom, and the least that the lower end of the efficiency's interval must reach, if anything was promised. */
export const comparisons: readonly { ours: SubjectName; other: SubjectName; atLeast?: number }[] = [
  { ours: "anynode-memory", other: "memory-store", atLeast: 0.9 },
  { ours: "anynode-lmdb", other: "memory-store", atLeast: 0.8 },
  { ours: "anynode-redis", other: "connect-redis", atLeast: 1 },
  { ours: "anynode-ioredis", other: "connect-redis", atLeast: 1 },
  { ours: "anynode-redis-sealed", other: "connect-redis" },
  // What sealing costs.
  { ours: "anynode-redis-sealed", other: "anynode-redis" },
  { ours: "anynode-memory", other: "bare" },
];

export function bars(figures: Figures): Bar[] {
  const all: Bar[] = [];
  for (const { ours, other, route, efficiency } of figures.comparisons) {
    const bound = comparisons.find((one) => one.ours === ours && one.other === other)?.atLeast;
    if (bound === undefined) continue;
    const what = `${ours} vs ${other}, ${route}: efficiency, lower end`;
    all.push({ what, measured: efficiency.low, bound: `>= ${bound.toFixed(2)}`, passed: efficiency.low >= bound });
  }
  const theirs = figures.redis.find(({ subject }) => subject === "connect-redis");
  for (const { subject, read, memory } of figures.redis) {
    if (subject === "connect-redis") continue;
    const { commandsPerRequest: commands, changesPerRequest: changes } = read;
    all.push({ what: `${subject}, read: commands per request`, measured: commands, bound: "<= 1", passed: commands <= 1 });
    // What beats change is taken off by time, so a hundredth of a change per request is none.
    const unchanged = Math.abs(changes) < 0.01;
    all.push({ what: `${subject}, read: changes per request`, measured: changes, bound: "= 0", passed: unchanged });
    if (theirs === undefined) continue;
    const weight = memory.keyBytes / theirs.memory.keyBytes;
    // Salt, nonce, tag and the key's id are 48 bytes or so.
    const most = subject === "anynode-redis-sealed" ? 1.2 : 1.12;
    all.push({
      what: `${subject}: memory per session ÷ connect-redis`,
      measured: weight,
      bound: `<= ${most.toFixed(2)}`,
      passed: weight <= most,
    });
  }
  return all;
}
