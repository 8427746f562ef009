/**
 * What every part of the contract suite stands on: a fresh medium per test, the engines opened on it, names, waiting, and a
 * seeded source of chance. Closes whatever a test opened.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { type Committed, ENDED_MARK_MS, type Engine, REGISTRY_LEASE_MS } from "../engines/engine.js";
import { isKey, isNodeId, isVersion, type Key, type NodeId, type Version } from "../names.js";

/** One fresh, empty place where records live, and the engines of the nodes that share it. */
export interface Medium {
  /** One more node's engine on this medium; of a `shared` candidate the same object each time. */
  engine(): Engine | Promise<Engine>;
  /**
   * Moves the engine's clock, which otherwise **stands still**; `ms` may be negative. Leave it out where the clock is real:
   * the suite then waits in real time, and leaves out what would take minutes.
   */
  advance?(ms: number): void | Promise<void>;
  /** Removes the medium. The suite has closed the engines before. */
  remove?(): void | Promise<void>;
}

/** The functions of Jest, Vitest or node:test that the suite needs. */
export interface Runner {
  readonly describe: (name: string, define: () => void) => unknown;
  readonly test: (name: string, run: () => Promise<void>, timeoutMs?: number) => unknown;
}

export interface Stage {
  engine(): Promise<Engine>;
  /** Lets `ms` go by on the engine's clock, by moving or by waiting; a real wait overshoots rather than falls short. */
  wait(ms: number): Promise<void>;
  /** Present where the medium has an `advance`. */
  readonly advance?: (ms: number) => Promise<void>;
}

/** `test("…", async ({ engine, wait }) => …)`: the runner's `test`, with a stage of its own for each. */
export type StagedTest = (name: string, run: (stage: Stage) => Promise<void>, timeoutMs?: number) => void;

/** What a part of the suite gets. */
export interface Part {
  readonly describe: Runner["describe"];
  readonly test: StagedTest;
  /** Like `test`, where an engine's clock must be moved: not registered for a medium without `advance`. */
  readonly timed: (name: string, run: (stage: Required<Stage>) => Promise<void>) => void;
  /** Like `test`, where every node must have an engine object of its own: not registered for a shared one. */
  readonly separate: StagedTest;
  /** Like `test`, where a registry lease must go by: with a real clock only registered when slow tests were asked for. */
  readonly leased: StagedTest;
}

export interface Candidate {
  /** Called once per test. */
  readonly medium: () => Medium | Promise<Medium>;
  /** `moved`: by the medium's `advance`; `real`: it can't be moved; `slow`: neither, but there is time to wait. */
  readonly clock: "moved" | "real" | "slow";
  /** All nodes of a medium share one engine object (an engine of one process). */
  readonly shared?: boolean;
}

export function partOf(runner: Runner, { medium, clock, shared }: Candidate): Part {
  const staged = (run: (stage: Stage) => Promise<void>) => async () => {
    const place = await medium();
    const opened = new Set<Engine>();
    const advance = place.advance?.bind(place);
    const stage: Stage = {
      async engine() {
        const engine = await place.engine();
        opened.add(engine);
        await engine.open();
        return engine;
      },
      wait: async (ms) => (advance ? advance(ms) : sleep(ms + 15)),
      ...(advance ? { advance: async (ms: number) => advance(ms) } : {}),
    };
    try {
      await run(stage);
    } finally {
      for (const engine of opened) await engine.close();
      await place.remove?.();
    }
  };
  const test: StagedTest = (name, run, timeoutMs) => void runner.test(name, staged(run), timeoutMs);
  return {
    describe: runner.describe,
    test,
    timed: (name, run) => {
      if (clock !== "moved") return;
      test(name, async ({ advance, ...stage }) => {
        assert.ok(advance, "this medium was announced with a clock that can be moved, and has no advance()");
        await run({ ...stage, advance });
      });
    },
    separate: (name, run) => {
      if (shared !== true) test(name, run);
    },
    leased: (name, run) => {
      if (clock !== "real") test(name, run, 8 * REGISTRY_LEASE_MS);
    },
  };
}

/** Waits, and fails when the outcome is another one than that. */
export async function got<const O extends string, T extends { readonly outcome: string }>(
  outcome: O,
  reply: T | Promise<T>,
): Promise<Extract<T, { outcome: O }>> {
  const settled = await reply;
  if (isOutcome(settled, outcome)) return settled;
  assert.equal(settled.outcome, outcome);
  throw new Error("unreachable");
}

function isOutcome<O extends string, T extends { readonly outcome: string }>(
  reply: T,
  outcome: O,
): reply is Extract<T, { outcome: O }> {
  return reply.outcome === outcome;
}

/** A key that nobody used before. Two keys of one tag may be regenerated into each other. */
export function newKey(tag = randomBytes(4).toString("base64url")): Key {
  const key = `{${tag}}${randomBytes(24).toString("base64url")}`;
  if (!isKey(key)) throw new Error("the suite made a malformed key");
  return key;
}

export function newNodeId(): NodeId {
  const id = randomBytes(12).toString("base64url");
  if (!isNodeId(id)) throw new Error("the suite made a malformed node id");
  return id;
}

/** A version that the record at hand doesn't have. */
export function otherThan(version: Version): Version {
  const other = version - 1;
  if (!isVersion(other)) throw new Error("the engine gave a malformed version");
  return other;
}

/** Deadlines that don't come during a test. */
export const later = { idleMs: 2 * ENDED_MARK_MS, absoluteAt: 0 } as const;

/** A first record at `key`. */
export function stored(engine: Engine, key: Key, body = "first", idleMs: number = later.idleMs): Promise<Committed> {
  return got("committed", engine.create(key, Buffer.from(body), { idleMs, absoluteAt: 0 }));
}

/** Fails unless `key` holds exactly this. */
export async function holds(engine: Engine, key: Key, body: string | Buffer, version?: Version): Promise<void> {
  const found = await got("found", engine.read(key));
  assert.ok(found.body.equals(Buffer.from(body)), "the body isn't the one that was stored");
  if (version !== undefined) assert.equal(found.version, version);
}

/** Fails unless `key` holds nothing (`ended: false`) or an ended mark (`ended: true`). */
export async function isGone(engine: Engine, key: Key, ended: boolean): Promise<void> {
  assert.deepEqual({ ...(await got("gone", engine.read(key))) }, { outcome: "gone", ended });
}

export async function listed(engine: Engine): Promise<Map<Key, { version: Version; idleAt: number; body: Buffer }>> {
  const records = new Map<Key, { version: Version; idleAt: number; body: Buffer }>();
  for await (const { key, ...record } of engine.list()) records.set(key, record);
  return records;
}

/** Asks again and again, in real time, until it is so. For what arrives by itself, such as a message. */
export async function until(what: string, isSo: () => boolean | Promise<boolean>, boundMs = 5_000): Promise<void> {
  const givingUpAt = performance.now() + boundMs;
  while (!(await isSo())) {
    assert.ok(performance.now() < givingUpAt, `within ${boundMs} ms: ${what}`);
    await sleep(2);
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Seeded chance (mulberry32): `chance(n)` is a whole number from 0 to n - 1, the same ones for the same seed. */
export function chanceOf(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}
