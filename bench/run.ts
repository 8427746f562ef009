/**
 * `npm run bench`: every subject in a process of its own, slices of load on each in turn, in an order that is drawn anew for every
 * round, so that whatever drifts meets all of them alike. Prints the figures and writes bench/results/latest.json.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { alternations } from "./alternation.js";
import { bars, comparisons, type Figures, type RedisFigures } from "./bars.js";
import { latencies } from "./latency.js";
import { type Effort, middlewareAlone } from "./middleware.js";
import { average, ratio } from "./ratio.js";
import { redisCost } from "./redis-cost.js";
import { redisMemory } from "./redis-memory.js";
import { report } from "./report.js";
import { sealing } from "./sealing.js";
import { shuffled } from "./shuffled.js";
import { type Route, routes, type Slice, Subject } from "./subject.js";
import { isSubjectName, type SubjectName, subjectNames } from "./subjects.js";

const HELP = `npm run bench -- [options]
  --rounds N     rounds, of which each gives a pair of figures to every comparison (default 40; 15 or more tell something)
  --only a,b     only these subjects: ${subjectNames.join(", ")}
                 (the middleware alone, in process: memory-store, native-memory, native-redis)
  --alone        only the middleware alone, in process; no servers
  --quick        3 short rounds: whether it works, not how fast it is
  --help         this text

npm run bench -- --profile [subject] [options]
                 where the microseconds of the subject's server go (default native-redis), by a CPU profile under load
  --route R      read (default) or write
  --keep FILE    also writes the profile there, for a browser's developer tools (FILE.cpuprofile)
  --quick        fewer requests`;

const CONNECTIONS = 16;
const SESSIONS = 200;
/** Rounds of what takes several processes for a subject. */
const FEW = 15;
/** Rounds of the middleware alone, of which each is 15 cases. */
const MIDDLEWARE_ROUNDS = 40;
/**
 * Every subject is started anew so many times, each time for a share of the rounds: what V8 compiles, and where memory lies, differs from
 * process to process by more than some of what is compared.
 */
const STARTS = 4;
/**
 * Requests before each slice, unmeasured. A process that had nothing to do for some seconds (the others had their turns) comes back cold:
 * V8 has collected the hidden classes of what was alive no more, and with them the code that was compiled for those. That takes some
 * thousand requests to make up for, or half a second (in slices of 400 after 15 s of idleness the first cost two to three times as much);
 * what is measured is a server at work.
 */
const WARM_IN = { requests: 2_000, micros: 500_000 };

interface Options {
  readonly rounds: number;
  readonly starts: number;
  /** Those with a server. */
  readonly names: readonly SubjectName[];
  /** Those whose middleware is measured alone. */
  readonly alone: readonly SubjectName[];
  readonly effort: Effort;
  readonly sealing: { readonly rounds: number; readonly repeats: number };
  readonly requests: number;
  readonly warmUp: number;
  readonly redisSessions: number;
}

async function main(): Promise<void> {
  const options = readOptions();
  if (options === undefined) return console.log(HELP);
  // A Redis on its way out doesn't keep this process up, and for a moment there may be nothing else that does.
  const upright = setInterval(() => {}, 60_000);
  try {
    // First, while nothing else runs.
    console.log("measuring the middleware alone");
    const middleware = await middlewareAlone(options.alone, options.effort);
    const sealed = sealing(options.sealing);
    const figures = { ...(await measure(options)), middleware, sealing: sealed };
    console.log(`\n${report(figures)}`);
    const folder = join(__dirname, "results");
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "latest.json"), `${JSON.stringify({ ...figures, bars: bars(figures) }, rounded, 2)}\n`);
  } finally {
    clearInterval(upright);
  }
}

async function measure(options: Options): Promise<Figures> {
  const slices = new Map<string, Slice[]>();
  let redis: RedisFigures[] = [];
  let version = "not used";
  for (let start = 1; options.names.length > 0 && start <= options.starts; start++) {
    const subjects: Subject[] = [];
    try {
      console.log(`starting ${options.names.join(", ")} (${start} of ${options.starts})`);
      const warmIns = new Map<string, number>();
      for (const name of options.names) subjects.push(await started(name, options.warmUp, warmIns));
      await rounds(subjects, slices, { ...options, warmIns }, start);
      if (start < options.starts) continue;
      redis = await redisFigures(subjects, options);
      version = await redisVersion(subjects);
    } finally {
      for (const subject of subjects) await subject.stop();
    }
  }
  const of = (name: SubjectName, route: Route, figure: keyof Slice) =>
    (slices.get(`${name} ${route}`) ?? []).map((slice) => slice[figure]);
  return {
    machine: { cpus: availableParallelism(), node: process.version, redis: version },
    date: new Date().toISOString(),
    options: {
      rounds: options.rounds,
      starts: options.starts,
      warmInPerSlice: WARM_IN,
      requestsPerSlice: options.requests,
      connections: CONNECTIONS,
    },
    routes: routes.flatMap((route) =>
      options.names.map((subject) => ({
        subject,
        route,
        cpuMicrosPerRequest: average(of(subject, route, "cpuMicrosPerRequest")),
        requestsPerSecond: average(of(subject, route, "requestsPerSecond")),
      })),
    ),
    comparisons: comparisons
      .filter(({ ours, other }) => options.names.includes(ours) && options.names.includes(other))
      .flatMap(({ ours, other }) =>
        routes.map((route) => ({
          ours,
          other,
          route,
          efficiency: ratio(of(other, route, "cpuMicrosPerRequest"), of(ours, route, "cpuMicrosPerRequest")),
          throughput: ratio(of(ours, route, "requestsPerSecond"), of(other, route, "requestsPerSecond")),
        })),
      ),
    redis,
    latencies: await latencies(options.names, Math.min(options.rounds, FEW)),
    alternations: await alternations(options.names, Math.min(options.rounds, FEW)),
  };
}

async function started(name: SubjectName, warmUp: number, warmIns: Map<string, number>): Promise<Subject> {
  const subject = await Subject.start(name, CONNECTIONS);
  await subject.signIn(SESSIONS);
  for (const route of routes) {
    await subject.slice(route, warmUp / 2);
    const { cpuMicrosPerRequest } = await subject.slice(route, warmUp / 2);
    warmIns.set(`${name} ${route}`, Math.max(WARM_IN.requests, Math.round(WARM_IN.micros / cpuMicrosPerRequest)));
  }
  return subject;
}

/** The rounds of one start. */
async function rounds(
  subjects: readonly Subject[],
  slices: Map<string, Slice[]>,
  { rounds, starts, requests, warmIns }: Options & { readonly warmIns: ReadonlyMap<string, number> },
  start: number,
): Promise<void> {
  const last = Math.round((start * rounds) / starts);
  for (let round = Math.round(((start - 1) * rounds) / starts) + 1; round <= last; round++) {
    const startedAt = performance.now();
    // All subjects on one route, one right after the other: what is compared lies some seconds apart at the most.
    for (const route of shuffled(routes))
      for (const subject of shuffled(subjects)) {
        const name = `${subject.name} ${route}`;
        await subject.slice(route, warmIns.get(name) ?? WARM_IN.requests);
        slices.set(name, [...(slices.get(name) ?? []), await subject.slice(route, requests)]);
      }
    if (round % 10 === 0 || round === last)
      console.log(`round ${round} of ${rounds}: ${((performance.now() - startedAt) / 1_000).toFixed(1)} s`);
  }
}

async function redisFigures(subjects: readonly Subject[], { requests, redisSessions }: Options): Promise<RedisFigures[]> {
  const figures: RedisFigures[] = [];
  for (const subject of subjects) {
    if (!subject.redis) continue;
    console.log(`counting what ${subject.name} asks of Redis`);
    figures.push({
      subject: subject.name,
      read: await redisCost(subject, "read", requests),
      write: await redisCost(subject, "write", requests),
      memory: await redisMemory(subject, redisSessions),
    });
  }
  return figures;
}

async function redisVersion(subjects: readonly Subject[]): Promise<string> {
  const server = subjects.find(({ redis }) => redis)?.redis;
  const info = String(await server?.command("info", "server"));
  return /^redis_version:(\S+)/m.exec(info)?.[1] ?? "not used";
}

function readOptions(): Options | undefined {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string" },
      only: { type: "string" },
      alone: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  const names = values.only?.split(",") ?? subjectNames;
  for (const name of names)
    if (!isSubjectName(name)) throw new RangeError(`--only ${name}: the subjects are ${subjectNames.join(", ")}`);
  const rounds = Number(values.rounds ?? (values.quick ? 3 : 40));
  if (!Number.isInteger(rounds) || rounds < 2) throw new RangeError(`--rounds ${values.rounds}: a whole number, 2 or more`);
  const size = values.quick
    ? { starts: 1, requests: 500, warmUp: 1_000, redisSessions: 200, sealing: { rounds: 3, repeats: 200 } }
    : { starts: STARTS, requests: 2_000, warmUp: 8_000, redisSessions: 801, sealing: { rounds: 20, repeats: 2_000 } };
  const effort = values.quick
    ? { rounds, warmUp: 300, sliceMicros: 10_000 }
    : { rounds: Math.min(rounds, MIDDLEWARE_ROUNDS), warmUp: 1_200, sliceMicros: 120_000 };
  const named = names.filter(isSubjectName);
  return { rounds, names: values.alone ? [] : named, alone: named, effort, ...size };
}

function rounded(_key: string, value: unknown): unknown {
  return typeof value === "number" ? Number(value.toPrecision(6)) : value;
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
