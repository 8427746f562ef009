/**
 * The options of `anynode()`. Each check is a function of its own whose message names the value, the bound and the cure.
 * An option that is `undefined` counts as omitted; one that nobody knows is an error that names the nearest.
 */
import { hostname } from "node:os";
import { type Clock, systemClock } from "./clock.js";
import type { Engine } from "./engines/engine.js";
import { AnynodeError } from "./errors.js";
import type { RecordedOptions } from "./session/client.js";
import { type KeyringEntry, type Member, membersOf } from "./session/keyring.js";
import type { ConflictPolicy } from "./session/merge.js";

export interface AnynodeOptions {
  /**
   * Where sessions live: `"lmdb:<directory>"` (default `"lmdb:./data/sessions"`), `"redis://…"`, `"rediss://…"`, `"memory:"`, or an Engine.
   * An engine that you hand over is yours to close.
   */
  engine?: string | Engine | undefined;
  /** How long a session lives without a request, in ms, unless its cookie says otherwise. Default 24 h. */
  idleMs?: number | undefined;
  /** How long a session lives at the most, in ms, however active it is. Default: no limit; 30 days from each sign-in (see `login`). */
  absoluteMs?: number | undefined;
  /** What happens when two requests change the same attribute: `"last"` (default), `"reject"` (CONFLICT, 409), or a pure merge function. */
  conflict?: ConflictPolicy | undefined;
  /**
   * How sessions are read on Redis: `"leased"` (default): from this node's memory, at no cost, while writers see to it that nothing there is old;
   * `"checked"`: one small round trip a read, and writers need tell nobody. Both promise the same. Memory and LMDB are always checked, at no cost.
   */
  reads?: "leased" | "checked" | undefined;
  /** How long the engine may take for an answer, in ms. Default 1000. */
  deadlineMs?: number | undefined;
  /** The most bytes of a session before compression. Default 1 MiB. */
  maxBytes?: number | undefined;
  /**
   * What sessions are sealed with at rest: `[{ id, key }]`, the first seals, all open; `"plain"` among them: records that aren't sealed
   * are read, too. Default: nothing is sealed, and this is said once.
   */
  keyring?: readonly KeyringEntry[] | undefined;
  /** How many sessions one person may have at once (see `login`). Default: no limit below 500. */
  maxPerUser?: number | undefined;
  /** What happens to a sign-in beyond `maxPerUser`: `"refuse"` (default; TOO_MANY_SESSIONS, 403), or the oldest sessions end. */
  overMax?: "refuse" | "end-oldest" | undefined;
  /** What of the client is recorded at sign-in: `{ address: true | "truncated", agent: true }`. Default: nothing. */
  record?: RecordedOptions | undefined;
  /** What people call this node. Default `host:pid`. */
  name?: string | undefined;
  /** Where the other nodes reach this one, e.g. `"http://10.0.0.5:3000"`. Default none. */
  address?: string | undefined;
  /** Time, for tests. Default the system's. */
  clock?: Clock | undefined;
}

export type Settings = {
  readonly [K in Exclude<keyof AnynodeOptions, "absoluteMs" | "keyring">]-?: NonNullable<AnynodeOptions[K]>;
} & {
  /** 0 = no limit, but for whoever is signed in. */
  readonly absoluteMs: number;
  /** Empty = none was given. */
  readonly keyring: readonly Member[];
};

const DAY_MS = 86_400_000;
/** Times are stored in six bytes; a thousand years will do. */
const MAX_MS = 1000 * 365 * DAY_MS;
const KNOWN = [
  ...["engine", "idleMs", "absoluteMs", "conflict", "reads", "deadlineMs", "maxBytes", "keyring", "name", "address", "clock"],
  ...["maxPerUser", "overMax", "record"],
];

export function settingsOf(options: AnynodeOptions): Settings {
  knownOptions(options, KNOWN);
  // Defaults take the place of undefined only: null, as a lost setting often comes, is a bad value.
  const { engine = "lmdb:./data/sessions", idleMs = DAY_MS, absoluteMs, conflict = "last", deadlineMs = 1000 } = options;
  const { reads = "leased", maxBytes = 1_048_576, keyring, clock = systemClock } = options;
  const { maxPerUser = 0, overMax = "refuse", record = {} } = options;
  const { name = `${hostname()}:${process.pid}`, address = "" } = options;
  return {
    engine: engineGiven(engine),
    idleMs: whole("idleMs", idleMs, 1, MAX_MS),
    absoluteMs: absoluteMs === undefined ? 0 : whole("absoluteMs", absoluteMs, 1, MAX_MS),
    conflict: policy(conflict),
    reads: readMode(reads),
    deadlineMs: whole("deadlineMs", deadlineMs, 10, 60_000),
    maxBytes: whole("maxBytes", maxBytes, 1024, 268_435_456),
    keyring: keyring === undefined ? [] : membersOf(keyring),
    maxPerUser: options.maxPerUser === undefined ? 0 : whole("maxPerUser", maxPerUser, 1, 500),
    overMax: overMaxGiven(overMax),
    record: recordGiven(record),
    name: line("name", name),
    address: line("address", address),
    clock: clockGiven(clock),
  };
}

/** Refuses what isn't an object of options, and an option that nobody knows. */
export function knownOptions(options: object, known: readonly string[], prefix = ""): void {
  if (typeof options !== "object" || options === null) {
    throw invalid(`The options are ${shown(options)}; pass an object, or nothing.`);
  }
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    const nearest = known.toSorted((a, b) => distance(a, name) - distance(b, name))[0];
    throw invalid(
      `There is no option "${prefix}${name}"; did you mean "${prefix}${nearest}"? The options are ${known.join(", ")}.`,
    );
  }
}

function engineGiven(engine: unknown): string | Engine {
  if (typeof engine === "string" || isEngine(engine)) return engine;
  throw invalid(
    `The option engine is ${shown(engine)}; pass "memory:", "lmdb:<directory>", "redis://…", or an Engine, e.g. redisEngine({ client }).`,
  );
}

const VERBS = [
  ...["open", "read", "create", "commit", "touch", "end", "regenerate", "list"],
  ...["attach", "detach", "holders"],
  ...["join", "beat", "leave", "nodes", "publish", "subscribe", "close"],
];

/** Whether something looks like an engine: it has a namespace and the port's verbs. */
function isEngine(value: unknown): value is Engine {
  if (typeof value !== "object" || value === null || typeof Reflect.get(value, "namespace") !== "string") return false;
  return hasAll(value, VERBS);
}

function clockGiven(clock: Clock): Clock {
  if (typeof clock === "object" && clock !== null && hasAll(clock, ["now", "monotonic", "after"])) return clock;
  throw invalid(`The option clock is ${shown(clock)}; it must be an object with the functions now, monotonic and after.`);
}

function hasAll(value: object, verbs: readonly string[]): boolean {
  return verbs.every((verb) => typeof Reflect.get(value, verb) === "function");
}

export function whole(name: string, value: unknown, least: number, most: number): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= least && value <= most) return value;
  throw invalid(`The option ${name} is ${shown(value)}; it must be a whole number from ${least} to ${most}.`);
}

function policy(value: unknown): ConflictPolicy {
  if (value === "last" || value === "reject" || isFunction(value)) return value;
  throw invalid(
    `The option conflict is ${shown(value)}; it must be "last", "reject" or a function ({ name, base, mine, theirs }) => value.`,
  );
}
function isFunction(value: unknown): value is Exclude<ConflictPolicy, string> {
  return typeof value === "function";
}

function readMode(value: unknown): "leased" | "checked" {
  if (value === "leased" || value === "checked") return value;
  throw invalid(`The option reads is ${shown(value)}; it must be "leased" or "checked".`);
}

function overMaxGiven(value: unknown): "refuse" | "end-oldest" {
  if (value === "refuse" || value === "end-oldest") return value;
  throw invalid(`The option overMax is ${shown(value)}; it must be "refuse" or "end-oldest".`);
}

function recordGiven(value: unknown): RecordedOptions {
  if (typeof value !== "object" || value === null) {
    throw invalid(`The option record is ${shown(value)}; it must be an object such as { address: "truncated", agent: true }.`);
  }
  const { address, agent, ...more }: Partial<Record<string, unknown>> = { ...value };
  const [unknown] = Object.keys(more);
  if (unknown !== undefined)
    throw invalid(`There is no option "record.${unknown}"; the options are record.address and record.agent.`);
  if (address !== undefined && address !== "truncated" && typeof address !== "boolean") {
    throw invalid(`The option record.address is ${shown(address)}; it must be true, false or "truncated".`);
  }
  if (agent !== undefined && typeof agent !== "boolean") {
    throw invalid(`The option record.agent is ${shown(agent)}; it must be true or false.`);
  }
  return { address, agent };
}

/** A short text of one line. */
export function line(name: string, value: unknown): string {
  if (typeof value === "string" && value.length <= 256 && !/\p{Cc}/u.test(value)) return value;
  throw invalid(`The option ${name} is ${shown(value)}; it must be a text of at most 256 characters without control characters.`);
}

export function shown(value: unknown): string {
  if (typeof value === "string") return value.length > 60 ? `a text of ${value.length} characters` : JSON.stringify(value);
  if (typeof value === "function") return "a function";
  if (typeof value === "object" && value !== null) return "an object of another kind";
  return String(value);
}

export function invalid(message: string): AnynodeError {
  return new AnynodeError("OPTION_INVALID", message);
}

/** How many letters differ (Levenshtein), for "did you mean". */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...b].entries()) {
      next.push(Math.min((row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1, (row[j] ?? 0) + (letter === other ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
