/** The bars of the project's issues that are a matter of cost, each held against what was measured. */
import type { Alternation } from "./alternation.js";
import type { Latency } from "./latency.js";
import type { MiddlewareFigures } from "./middleware.js";
import type { Ratio } from "./ratio.js";
import type { RedisCost } from "./redis-cost.js";
import type { RedisMemory } from "./redis-memory.js";
import type { Sealing } from "./sealing.js";
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
  readonly options: {
    readonly rounds: number;
    /** How often each subject's process was started anew. */
    readonly starts: number;
    /** Requests right before each slice, unmeasured. */
    readonly warmInPerSlice: { readonly requests: number; readonly micros: number };
    readonly requestsPerSlice: number;
    readonly connections: number;
  };
  /** In process, without a server. */
  readonly middleware?: MiddlewareFigures | undefined;
  readonly sealing?: readonly Sealing[] | undefined;
  readonly routes: readonly RouteFigures[];
  readonly comparisons: readonly Comparison[];
  readonly redis: readonly RedisFigures[];
  /** Redis a millisecond away. */
  readonly latencies: readonly Latency[];
  /** Each session written by nodes in turn. */
  readonly alternations: readonly Alternation[];
}

export interface Bar {
  readonly what: string;
  readonly measured: number;
  readonly bound: string;
  readonly passed: boolean;
}

/** Who is compared with whom, and the least that the lower end of the efficiency's interval must reach, if anything was promised. */
export const comparisons: readonly { ours: SubjectName; other: SubjectName; atLeast?: number; readAtLeast?: number }[] = [
  { ours: "anynode-memory", other: "memory-store", atLeast: 0.9 },
  { ours: "anynode-lmdb", other: "memory-store", atLeast: 0.8 },
  { ours: "anynode-redis", other: "connect-redis", atLeast: 1, readAtLeast: 1.1 },
  { ours: "anynode-redis-checked", other: "connect-redis" },
  { ours: "anynode-ioredis", other: "connect-redis", atLeast: 1 },
  { ours: "anynode-redis-sealed", other: "connect-redis" },
  // What sealing costs.
  { ours: "anynode-redis-sealed", other: "anynode-redis" },
  { ours: "anynode-memory", other: "bare" },
  { ours: "native-memory", other: "memory-store" },
  { ours: "native-redis", other: "bare", readAtLeast: 0.83 },
  { ours: "native-redis", other: "connect-redis", atLeast: 1.4, readAtLeast: 1.5 },
  { ours: "native-redis", other: "memory-store", readAtLeast: 1.7 },
  { ours: "native-koa-redis", other: "koa-session-redis", readAtLeast: 1.5 },
];

export function bars(figures: Figures): Bar[] {
  const all: Bar[] = [];
  for (const { ours, other, route, efficiency } of figures.comparisons) {
    const { atLeast, readAtLeast } = comparisons.find((one) => one.ours === ours && one.other === other) ?? {};
    const bound = route === "read" ? (readAtLeast ?? atLeast) : atLeast;
    if (bound === undefined) continue;
    const what = `${ours} vs ${other}, ${route}: efficiency, lower end`;
    all.push({ what, measured: efficiency.low, bound: `>= ${bound.toFixed(2)}`, passed: efficiency.low >= bound });
  }
  const theirs = figures.redis.find(({ subject }) => subject === "connect-redis");
  for (const { subject, read, memory } of figures.redis) {
    if (subject === "connect-redis" || subject === "koa-session-redis") continue;
    const { commandsPerRequest: commands, changesPerRequest: changes } = read;
    const most = subject === "anynode-redis-checked" ? 1 : 0.02;
    const bound = `<= ${most}`;
    all.push({ what: `${subject}, read: commands per request`, measured: commands, bound, passed: commands <= most });
    // What beats change is taken off by time, so a hundredth of a change per request is none.
    const unchanged = Math.abs(changes) < 0.01;
    all.push({ what: `${subject}, read: changes per request`, measured: changes, bound: "= 0", passed: unchanged });
    if (theirs === undefined) continue;
    const weight = memory.keyBytes / theirs.memory.keyBytes;
    // Salt, nonce, tag and the key's id are 48 bytes or so.
    const heaviest = subject === "anynode-redis-sealed" ? 1.2 : 1.12;
    all.push({
      what: `${subject}: memory per session ÷ connect-redis`,
      measured: weight,
      bound: `<= ${heaviest.toFixed(2)}`,
      passed: weight <= heaviest,
    });
  }
  return [...middlewareBars(figures), ...sealingBars(figures), ...all, ...latencyBars(figures), ...alternationBars(figures)];
}

/** Of reads from the near cache. */
function middlewareBars({ middleware }: Figures): Bar[] {
  const cheaper = middleware?.cheaper.find((one) => one.middleware === "native-redis" && one.use === "read");
  const growth = middleware?.growth.find((one) => one.middleware === "native-redis" && one.use === "read");
  const all: Bar[] = [];
  if (cheaper !== undefined) {
    const measured = cheaper.ratio.low;
    const what = "native-redis vs memory-store, alone, read: efficiency, lower end";
    all.push({ what, measured, bound: ">= 6", passed: measured >= 6 });
  }
  if (growth !== undefined) {
    const [byBytes, perAttribute] = [growth.byBytes.mean, growth.perAttribute.mean];
    // What doesn't grow is still two figures of a few microseconds, each the difference of two that are measured.
    all.push(
      { what: "native-redis, alone, read: 50 KB ÷ 0.5 KB", measured: byBytes, bound: "<= 1.1", passed: byBytes <= 1.1 },
      {
        what: "native-redis, alone, read: µs per attribute",
        measured: perAttribute,
        bound: "<= 0.4",
        passed: perAttribute <= 0.4,
      },
    );
  }
  return all;
}

/** The dearer kilobyte is the first one. */
function sealingBars({ sealing = [] }: Figures): Bar[] {
  return sealing.map(({ verb, firstMicros: { mean } }) => ({
    what: `to ${verb} a record of 1 KB: µs`,
    measured: mean,
    bound: "<= 15",
    passed: mean <= 15,
  }));
}

/** Of those that read from copies; the others' figures are there to compare. */
function latencyBars({ latencies }: Figures): Bar[] {
  return latencies
    .filter(({ subject }) => subject === "anynode-redis" || subject === "anynode-ioredis")
    .map(({ subject, addedMs }) => ({
      what: `${subject}, read, Redis 1 ms away: added ms, median`,
      measured: addedMs,
      bound: "<= 0.3",
      passed: addedMs <= 0.3,
    }));
}

function alternationBars({ alternations }: Figures): Bar[] {
  return alternations
    .filter(({ ours }) => ours === "anynode-redis")
    .map(({ ours, other, throughput }) => ({
      what: `${ours} vs ${other}, written by nodes in turn: throughput`,
      measured: throughput.mean,
      bound: ">= 0.8",
      passed: throughput.mean >= 0.8,
    }));
}
