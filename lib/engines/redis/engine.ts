/**
 * The engine on Redis (6.2 and later, or what speaks its protocol): one primary, or a client that follows it.
 * Every verb is one command and settles within the deadline. The invariant: all verbs on a key are atomic, since each is one plain read
 * or one script; and an error never says that nothing happened when something may have.
 */
import type { ConnectionOptions } from "node:tls";
import { type Clock, systemClock, within } from "../../clock.js";
import { AnynodeError } from "../../errors.js";
import type { Key, NodeId, Version } from "../../names.js";
import { isVersion } from "../../names.js";
import {
  type Attached,
  type Beaten,
  type Committed,
  type Conflict,
  type Deadlines,
  type Dropped,
  type Echo,
  ENDED_MARK_MS,
  type Ended,
  type Engine,
  type Filled,
  type Filler,
  type Found,
  type Gone,
  type Holder,
  type Joined,
  type Listed,
  type Moved,
  NO_NODE,
  type Regenerated,
  type Row,
  type Same,
  SHOWN_BYTES,
  type Stays,
  type Subscription,
  type Touched,
  type Waiting,
  type Writer,
} from "../engine.js";
import { factsOf } from "../holders.js";
import { Channel } from "./channel.js";
import { failure, replyCode } from "./failure.js";
import { attached, holdersOf } from "./holdings.js";
import { Keys } from "./keys.js";
import { Link } from "./link.js";
import { Registry } from "./registry.js";
import { Scripts } from "./scripts.js";
import { type GivenClient, sourceOf } from "./source.js";
import { header, readable, whole } from "./value.js";

export interface RedisEngineOptions {
  /** `redis://user:password@host:port/database`, `rediss://…`, `redis+unix:///path/to/socket`. Default: `redis://localhost:6379`. */
  readonly url?: string;
  /** For `rediss://`: what `node:tls` shall know besides, e.g. `{ ca }` for a private authority, `{ cert, key }` for a server that asks. */
  readonly tls?: ConnectionOptions;
  /** Instead of a URL: a client that the application has. It is never closed, subscribed on or configured. */
  readonly client?: GivenClient;
  /** What all our keys and channels begin with; also the namespace of the fleet's sessions. Default: `anynode:`. */
  readonly prefix?: string;
  /**
   * How many replicas must have a session's end before it resolves (WAIT), and for how long to wait for them: at the most `deadlineMs`. When
   * they don't answer in time, `end()` resolves with `durable: false`: a failover could undo it. Default: none is asked.
   */
  readonly durability?: { readonly replicas: number; readonly timeoutMs: number };
  /** How long a verb may take, connecting included. Default: 1000. */
  readonly deadlineMs?: number;
  readonly clock?: Clock;
}

export { aclRules } from "./acl.js";

/** So many commands under way mean that Redis doesn't keep up: more are refused instead of piling up. */
const MAX_UNDER_WAY = 10_000;
const OLDEST_REDIS = 6.2;
/** How many keys a step of list() looks at: Redis serves others between the steps. */
const LIST_STEP = "100";
const MARK_STAYS = String(ENDED_MARK_MS);
const SHOWN = String(SHOWN_BYTES);

/** Throws OPTION_INVALID or ENGINE_UNSUPPORTED for options that can't work; connects with the first verb, or by `open()`. */
export function redisEngine(options: RedisEngineOptions = {}): Engine {
  return new RedisEngine(options);
}

class RedisEngine implements Engine {
  readonly kind = "redis";
  readonly namespace: string;
  readonly #keys: Keys;
  readonly #clock: Clock;
  readonly #deadlineMs: number;
  readonly #own: boolean;
  readonly #sentinel: boolean;
  readonly #link: Link;
  readonly #channel: Channel;
  readonly #scripts: Scripts;
  readonly #registry: Registry;
  readonly #durably:
    | { readonly replicas: number; readonly timeoutMs: number; readonly link: Link; readonly scripts: Scripts }
    | undefined;
  #opening: Promise<void> | undefined;
  #opened = false;
  #closed = false;
  #underWay = 0;

  constructor(options: RedisEngineOptions) {
    const { url, tls, client, prefix = "anynode:", deadlineMs = 1_000, durability, clock = systemClock } = options;
    this.#keys = new Keys(prefix);
    this.namespace = prefix;
    this.#clock = clock;
    this.#deadlineMs = checkDeadline(deadlineMs);
    const source = sourceOf(url, client, deadlineMs, tls);
    this.#own = source.own;
    this.#sentinel = source.sentinel === true;
    this.#link = new Link(source.commands, clock, deadlineMs);
    this.#channel = new Channel(source.separate, clock, deadlineMs);
    this.#scripts = new Scripts((args) => this.#link.call(args));
    this.#registry = new Registry(this.#scripts, this.#keys);
    if (durability !== undefined) {
      // WAIT holds up its connection, and speaks of what was written over that one only.
      const link = new Link(source.separate, clock, deadlineMs);
      this.#durably = { ...checkDurability(durability, deadlineMs), link, scripts: new Scripts((args) => link.call(args)) };
    }
  }

  open(): Promise<void> {
    return this.#within(() => this.#link.connect());
  }

  read(key: Key, known?: Version): Promise<Found | Same | Gone> {
    const name = this.#keys.record(key);
    return known === undefined
      ? this.#within(() => this.#link.call(["GET", name])).then(whole)
      : this.fill(key, NO_NODE, known).then(({ read }) => read);
  }

  async fill(key: Key, by: Filler, known?: Version): Promise<Filled> {
    const args = [
      this.#keys.record(key),
      this.#keys.ledger,
      String(by.number),
      String(by.epoch),
      String(by.generation),
      String(known ?? 0),
    ];
    return filled(await this.#within(() => this.#scripts.run("fill-2", args)), known);
  }

  create(key: Key, body: Buffer, deadlines: Deadlines, by = NO_NODE, fresh = false): Promise<Committed | Conflict | Gone> {
    const args = [...this.#keys.toldAll(key), ...texts(deadlines), body, fresh ? "1" : "0", writer(by)];
    return this.#within(() => this.#scripts.run("create-4", args)).then(committed);
  }

  commit(key: Key, expected: Version, body: Buffer, deadlines: Deadlines, by = NO_NODE): Promise<Committed | Conflict | Gone> {
    const args = [...this.#keys.told(key), String(expected), ...texts(deadlines), body, writer(by)];
    return this.#within(() => this.#scripts.run("commit-3", args)).then(committed);
  }

  async touch(key: Key, expected: Version, deadlines: Deadlines): Promise<Touched | Moved | Gone> {
    const args = [this.#keys.record(key), this.#keys.holders(key), String(expected), ...texts(deadlines)];
    const reply = await this.#within(() => this.#scripts.run("touch-2", args));
    if (Array.isArray(reply)) return { outcome: "touched", idleAt: Number(reply[0]), now: Number(reply[1]) };
    const facts = header(reply);
    return "outcome" in facts ? facts : { outcome: "moved" };
  }

  async end(key: Key, by = NO_NODE): Promise<Ended> {
    const args = [...this.#keys.toldAll(key), MARK_STAYS, SHOWN, writer(by)];
    if (this.#durably === undefined) return ended(await this.#within(() => this.#scripts.run("end-4", args)));
    const { link, scripts, replicas, timeoutMs } = this.#durably;
    const done = await this.#within(async () => {
      await link.connect();
      return ended(await scripts.run("end-4", args));
    });
    // The end stands, whatever comes of this.
    const have = within(this.#clock, this.#deadlineMs, link.call(["WAIT", String(replicas), String(timeoutMs)]));
    return { ...done, durable: Number(await have.catch(() => 0)) >= replicas };
  }

  async regenerate(
    from: Key,
    expected: Version,
    to: Key,
    body: Buffer,
    deadlines: Deadlines,
    by = NO_NODE,
    stays?: Stays,
  ): Promise<Regenerated | Conflict | Gone> {
    const keys = [this.#keys.record(from), this.#keys.record(to), this.#keys.holders(from), this.#keys.ledger];
    const left = stays === undefined ? [MARK_STAYS, "0", ""] : [MARK_STAYS, whole6(stays.idleMs), stays.body];
    const args = [...keys, String(expected), ...texts(deadlines), body, ...left, writer(by)];
    const reply = await this.#within(() => this.#scripts.run("regenerate-4", args));
    if (!Array.isArray(reply)) return refused(reply);
    const [version, idleAt, now, holders, ...rest] = reply;
    const done = committed([version, idleAt, now, ...rest]);
    return done.outcome === "committed" ? { ...done, holders: holdersOf(holders) } : done;
  }

  async attach(key: Key, holder: Holder): Promise<Attached | Gone> {
    const args = [this.#keys.record(key), this.#keys.holders(key), holder.nodeId, factsOf(holder)];
    const reply = await this.#within(() => this.#scripts.run("attach-2", args));
    return attached(reply);
  }

  async detach(key: Key, holder: Holder): Promise<void> {
    await this.#within(() => this.#scripts.run("detach-1", [this.#keys.holders(key), holder.nodeId, factsOf(holder)]));
  }

  async holders(key: Key): Promise<readonly Holder[]> {
    const args = [this.#keys.record(key), this.#keys.holders(key)];
    return holdersOf(await this.#within(() => this.#scripts.run("holders-2", args)));
  }

  /** A record that Redis' SCAN returns twice (its table grew or shrank meanwhile) is yielded twice. */
  async *list(): AsyncIterable<Listed> {
    let cursor = "0";
    do {
      const scan = ["SCAN", cursor, "MATCH", this.#keys.pattern, "COUNT", LIST_STEP];
      const reply = await this.#within(() => this.#link.call(scan));
      const [next, found] = Array.isArray(reply) ? reply : ["0", []];
      cursor = String(next);
      yield* await this.#records(new Set(Array.isArray(found) ? found.map(String) : []));
    } while (cursor !== "0");
  }

  async #records(names: ReadonlySet<string>): Promise<Listed[]> {
    const keys = [...names].map((name) => this.#keys.keyOf(name)).filter((key) => key !== undefined);
    if (keys.length === 0) return [];
    const values = await this.#within(() => this.#link.call(["MGET", ...keys.map((key) => this.#keys.record(key))]));
    if (!Array.isArray(values)) return [];
    return keys.flatMap((key, i) => {
      const record = readable(values[i]);
      return record?.outcome === "found" ? [{ key, version: record.version, idleAt: record.idleAt, body: record.body }] : [];
    });
  }

  join(nodeId: NodeId, lastEpoch: number, about: string): Promise<Joined> {
    return this.#within(() => this.#registry.join(nodeId, lastEpoch, about));
  }

  beat(nodeId: NodeId, epoch: number, about: string, echo?: Echo): Promise<Beaten> {
    return this.#within(() => this.#registry.beat(nodeId, epoch, about, echo));
  }

  leave(nodeId: NodeId, epoch: number): Promise<void> {
    return this.#within(() => this.#registry.leave(nodeId, epoch));
  }

  nodes(): Promise<{ readonly rows: readonly Row[]; readonly revision: number }> {
    return this.#within(() => this.#registry.nodes());
  }

  endedBefore(raise: boolean): Promise<number> {
    return this.#within(() => this.#registry.endedBefore(raise));
  }

  async publish(channel: string, message: string): Promise<void> {
    await this.#within(() => this.#link.call(["PUBLISH", this.#keys.channel(channel), message]));
  }

  async answer(channel: string, message: string, number: number, answered: readonly Dropped[]): Promise<void> {
    const keys = answered.map(({ key }) => this.#keys.record(key));
    const versions = answered.map(({ version }) => String(version));
    const args = [...keys, String(number), this.#keys.channel(channel), message, ...versions];
    await this.#within(() => this.#scripts.run("answer-n", args, keys.length));
  }

  async subscribe(channel: string, onMessage: (message: string) => void): Promise<Subscription> {
    const renew = (error: unknown) => this.#channel.renew(error);
    const subscription = await this.#within(() => this.#channel.subscribe(this.#keys.channel(channel), onMessage), renew);
    return {
      close: () => (this.#closed ? Promise.resolve() : this.#within(() => subscription.close(), renew)),
      renew: async () => this.#channel.renew(new Error("nothing was heard on it")),
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#channel.close();
    this.#link.close();
    this.#durably?.link.close();
  }

  /**
   * Does the work of a verb, connected, within the deadline; rejects with an AnynodeError only. A connection of our own that kept
   * silent for the whole deadline is half open, or its server frozen; one to a READONLY server leads to a demoted primary: both are
   * given up for a new one.
   */
  async #within<T>(work: () => Promise<T>, onSilence?: (error: unknown) => void): Promise<T> {
    if (this.#closed) throw new AnynodeError("CLOSED", "The session engine is closed.");
    if (this.#underWay >= MAX_UNDER_WAY)
      throw new AnynodeError("ENGINE_UNAVAILABLE", `More than ${MAX_UNDER_WAY} commands wait for Redis. Nothing was sent.`);
    const heard = this.#link.heard;
    this.#underWay++;
    try {
      return await within(this.#clock, this.#deadlineMs, this.#opened ? work() : this.#open().then(work));
    } catch (error) {
      const failed = failure(error);
      if (failed === error && failed.code === "ENGINE_TIMEOUT") {
        if (onSilence !== undefined) onSilence(error);
        else if (this.#own && heard === this.#link.heard) this.#link.renew(error);
      } else if (this.#own && replyCode(error) === "READONLY") this.#link.renew(error);
      throw failed;
    } finally {
      this.#underWay--;
    }
  }

  #open(): Promise<void> {
    this.#opening ??= this.#connect().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  async #connect(): Promise<void> {
    await this.#link.connect();
    const version = await this.#serverVersion();
    if (version < OLDEST_REDIS)
      throw new AnynodeError(
        "ENGINE_UNSUPPORTED",
        `Redis ${version} is too old: anynode needs ${OLDEST_REDIS} or later. Upgrade it.`,
      );
    if (this.#sentinel && !this.#opened) await this.#warnOfSplits();
    this.#opened = true;
  }

  /** A primary that is cut off from its replicas, and goes on taking writes, makes two: then nothing here is promised. */
  async #warnOfSplits(): Promise<void> {
    // Who may not ask for the setting (ACL) isn't told.
    const reply: unknown = await this.#link.call(["CONFIG", "GET", "min-replicas-to-write"]).catch(() => []);
    const [, value] = Array.isArray(reply) ? reply.map(String) : [];
    if (value !== "0") return;
    process.emitWarning(
      "Redis follows a Sentinel, but min-replicas-to-write is 0: a primary that is cut off goes on taking writes, which are lost later. Set it to 1.",
      { code: "ANYNODE_SPLIT" },
    );
  }

  /** Major and minor version, as a number; what doesn't tell (ACL, other makes) is taken for new enough. */
  async #serverVersion(): Promise<number> {
    try {
      const info = String(await this.#link.call(["INFO", "server"]));
      return Number(/redis_version:(\d+\.\d)/.exec(info)?.[1] ?? OLDEST_REDIS);
    } catch (error) {
      const code = replyCode(error);
      if (code === "NOPERM" || code === "ERR") return OLDEST_REDIS;
      throw error;
    }
  }
}

function committed(reply: unknown): Committed | Conflict | Gone {
  if (Array.isArray(reply)) {
    const [version, idleAt, now, counts, unannounced, ...waits] = reply;
    const number = Number(version);
    if (isVersion(number)) {
      return {
        outcome: "committed",
        version: number,
        idleAt: Number(idleAt),
        now: Number(now),
        counts: Number(counts) === 1,
        ...told(unannounced, waits),
      };
    }
  }
  return refused(reply);
}

/** What was in the way: a value, or nothing. */
function refused(reply: unknown): Conflict | Gone {
  const current = whole(reply);
  return current.outcome === "found" ? { outcome: "conflict", current } : current;
}

function ended(reply: unknown): Ended {
  const [state, now, holders, body, , unannounced, ...waits] = Array.isArray(reply) ? reply : [];
  const outcomes: Record<string, Ended["outcome"]> = { missing: "missing", ended: "marked" };
  const outcome = outcomes[String(state)] ?? "ended";
  const was = Buffer.isBuffer(body) && body.length > 0 ? { was: body } : {};
  return { outcome, now: Number(now), holders: holdersOf(holders), ...was, ...told(unannounced, waits) };
}

/** What lua/copies.lua appends to a reply: whether nobody could be told, then numbers and milliseconds in turn. */
function told(unannounced: unknown, waits: readonly unknown[]): Pick<Committed, "waitFor" | "unannounced"> {
  const waitFor: Waiting[] = [];
  for (let i = 0; i + 1 < waits.length; i += 2) waitFor.push({ number: Number(waits[i]), leftMs: Number(waits[i + 1]) });
  return Number(unannounced) === 1 ? { waitFor, unannounced: true } : { waitFor };
}

const DOUBTS = { none: 0, clock: 1, nodes: 2 } as const;

/** A writer as lua/copies.lua reads it. */
function writer({ number, epoch, keep, sentAt, doubt, generation, serial }: Writer): string {
  return `${number} ${epoch} ${keep ? 1 : 0} ${sentAt} ${DOUBTS[doubt]} ${generation} ${serial}`;
}

function filled(reply: unknown, known: Version | undefined): Filled {
  const [counts, value] = Array.isArray(reply) ? reply : [0, null];
  const facts = header(value);
  if ("outcome" in facts) return { counts: false, read: facts };
  const { version, idleAt } = facts;
  return { counts: Number(counts) === 1, read: version === known ? { outcome: "same", version, idleAt } : whole(value) };
}

/** Whole milliseconds that fit the 6 bytes of the layout. */
function texts({ idleMs, absoluteAt }: Deadlines): [idleMs: string, absoluteAt: string] {
  return [whole6(idleMs), whole6(absoluteAt)];
}
function whole6(ms: number): string {
  return String(Math.min(Math.floor(ms), 2 ** 47));
}

function checkDurability({ replicas, timeoutMs }: { replicas: number; timeoutMs: number }, deadlineMs: number) {
  if (Number.isInteger(replicas) && replicas >= 1 && Number.isInteger(timeoutMs) && timeoutMs >= 1 && timeoutMs < deadlineMs) {
    return { replicas, timeoutMs };
  }
  throw new AnynodeError(
    "OPTION_INVALID",
    `durability is { replicas: ${replicas}, timeoutMs: ${timeoutMs} }. Both must be whole numbers from 1, timeoutMs below deadlineMs (${deadlineMs}).`,
  );
}

function checkDeadline(ms: number): number {
  if (Number.isFinite(ms) && ms >= 1 && ms <= 60_000) return ms;
  throw new AnynodeError("OPTION_INVALID", `deadlineMs is ${ms}. It must be 1 to 60000 milliseconds; 1000 is the default.`);
}
