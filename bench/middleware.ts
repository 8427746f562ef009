/**
 * The middleware alone: no Express, no network, no load generator. Each in a process of its own, which tells its own CPU time; what
 * node's request and response cost by themselves, in that process and right then, is taken off, and what is left is what the session adds
 * to a request.
 */
import { type RedisServer, startRedis } from "../test/support/redis.js";
import { cases, FEW, LARGE, MANY, type SessionName, type Shape, SMALL, sessionNames, type Use, uses } from "./cases.js";
import { Child } from "./child.js";
import { type Interval, interval, median, type Ratio, ratio } from "./ratio.js";
import { shuffled } from "./shuffled.js";

/** What one middleware adds to a request of one case, in microseconds of CPU time: the median over the rounds. */
export interface Added {
  readonly middleware: SessionName;
  readonly use: Use;
  readonly shape: Shape;
  readonly addedMicros: number;
}
/** How one middleware's cost grows with what the handler leaves alone. */
export interface Growth {
  readonly middleware: SessionName;
  readonly use: Use;
  /** Added with 50 KB ÷ added with 0.5 KB, of 5 attributes both. */
  readonly byBytes: Ratio;
  /** Microseconds for each attribute more, between 5 and 50 of them, of 5 KB both. */
  readonly perAttribute: Interval;
}
export interface MiddlewareFigures {
  /** A request without any session: the median over the rounds. */
  readonly noneMicros: number;
  readonly added: readonly Added[];
  readonly growth: readonly Growth[];
  /** What MemoryStore adds ÷ what ours adds; 0.5 KB. */
  readonly cheaper: readonly { readonly middleware: SessionName; readonly use: Use; readonly ratio: Ratio }[];
}

export interface Effort {
  readonly rounds: number;
  /** Requests of each case before the first round. */
  readonly warmUp: number;
  /** The CPU time that a slice is to take, so that what costs a hundred times as much doesn't take a hundred times as long. */
  readonly sliceMicros: number;
}

type Session = "with" | "without";

/** Requests of a slice. */
const [LEAST, MOST] = [60, 8_000];

/** Of those that are named. */
export async function middlewareAlone(names: readonly string[], effort: Effort): Promise<MiddlewareFigures | undefined> {
  // What has no process of its own among the servers goes with what has.
  const measured = sessionNames.filter((name) => names.includes(name === "native-redis-checked" ? "native-redis" : name));
  if (measured.length === 0) return undefined;
  const alone: Alone[] = [];
  try {
    for (const name of measured) alone.push(await Alone.start(name));
    for (const one of alone) await one.warmUp(effort);
    await rounds(alone, effort.rounds);
  } finally {
    for (const one of alone) await one.stop();
  }
  return figuresOf(alone, measured);
}

/** One middleware that runs. */
class Alone {
  readonly name: SessionName;
  /** What it adds to a request, by case and round. */
  readonly added: readonly number[][] = cases.map(() => []);
  /** Of requests without a session, likewise. */
  readonly none: readonly number[][] = cases.map(() => []);
  /** Of a slice, by case. */
  readonly #requests: number[] = [];
  readonly #child: Child;
  readonly #redis: RedisServer | undefined;

  private constructor(name: SessionName, child: Child, redis: RedisServer | undefined) {
    this.name = name;
    this.#child = child;
    this.#redis = redis;
  }

  static async start(name: SessionName): Promise<Alone> {
    // One each: nodes that read in different ways would be of one fleet, and so read in one way.
    const redis = name === "native-redis" || name === "native-redis-checked" ? await startRedis({ tcp: true }) : undefined;
    const child = new Child("middleware-process", [name, redis?.url ?? ""]);
    await child.answer("ready");
    return new Alone(name, child, redis);
  }

  async warmUp({ warmUp, sliceMicros }: Effort): Promise<void> {
    for (const at of cases.keys()) {
      await this.#run(at, warmUp, "without");
      await this.#run(at, warmUp / 2, "with");
      const each = await this.#run(at, warmUp / 2, "with");
      this.#requests[at] = Math.round(Math.min(Math.max(sliceMicros / each, LEAST), MOST));
    }
  }

  async slice(at: number): Promise<void> {
    const requests = this.#requests[at] ?? LEAST;
    const none = await this.#measured(at, MOST / 2, "without");
    this.none[at]?.push(none);
    this.added[at]?.push((await this.#measured(at, requests, "with")) - none);
  }

  async #measured(at: number, requests: number, session: Session): Promise<number> {
    // Unmeasured: by then the caches are its own again, the processor's and that of sessions.
    await this.#run(at, Math.ceil(requests / 3), session);
    return this.#run(at, requests, session);
  }

  /** CPU time of each. */
  async #run(at: number, requests: number, session: Session): Promise<number> {
    const micros = Number(await this.#child.answer("micros", { at, requests, without: session === "without" }));
    return micros / requests;
  }

  async stop(): Promise<void> {
    await this.#child.stop();
    await this.#redis?.stop();
  }
}

/** All of them on one case, one right after the other. */
async function rounds(alone: readonly Alone[], count: number): Promise<void> {
  for (let round = 0; round < count; round++)
    for (const at of shuffled([...cases.keys()])) for (const one of shuffled(alone)) await one.slice(at);
}

/** Everything by pairs of one round, in which the two lie a moment apart. */
function figuresOf(alone: readonly Alone[], names: readonly SessionName[]): MiddlewareFigures {
  const at = (use: Use, shape: Shape) => cases.findIndex((one) => one.use === use && one.shape === shape);
  const added = (name: SessionName, use: Use, shape: Shape) =>
    alone.find((one) => one.name === name)?.added[at(use, shape)] ?? [];
  const each = <T>(figure: (middleware: SessionName, use: Use) => T) =>
    uses.flatMap((use) => names.map((middleware) => figure(middleware, use)));
  return {
    noneMicros: median(alone.flatMap(({ none }) => none[at("nothing", SMALL)] ?? [])),
    added: names.flatMap((middleware) =>
      cases.map(({ use, shape }) => ({ middleware, use, shape, addedMicros: median(added(middleware, use, shape)) })),
    ),
    growth: each((middleware, use) => ({
      middleware,
      use,
      byBytes: ratio(added(middleware, use, LARGE), added(middleware, use, SMALL)),
      perAttribute: interval(
        less(added(middleware, use, MANY), added(middleware, use, FEW)).map((more) => more / (MANY.attributes - FEW.attributes)),
      ),
    })),
    cheaper: names.includes("memory-store")
      ? each((middleware, use) => ({
          middleware,
          use,
          ratio: ratio(added("memory-store", use, SMALL), added(middleware, use, SMALL)),
        })).filter(({ middleware }) => middleware !== "memory-store")
      : [],
  };
}

function less(figures: readonly number[], others: readonly number[]): number[] {
  return figures.map((figure, round) => figure - (others[round] ?? Number.NaN));
}
