/**
 * The port that every engine implements: a versioned register with compare-and-swap, holders, registry rows and a channel.
 *
 * The contract, in prose; `anynode/testing` is the same contract as a test suite.
 *
 * - A key holds a *record* (version, idle deadline, body), an *ended mark*, or nothing. The body is opaque bytes.
 * - Expected outcomes are values. A verb rejects only with an AnynodeError (ENGINE_TIMEOUT: unknown whether it happened;
 *   ENGINE_UNAVAILABLE, ENGINE_FULL: it didn't happen; RECORD_UNREADABLE: what lies there isn't of this engine's make; CLOSED), and
 *   settles within the engine's deadline.
 * - All instants (`…At`) are milliseconds on **the engine's clock**, which all nodes share; `now` in a reply is that clock.
 * - A record whose idle deadline has come (`idleAt <= now`) is *missing*, on every verb, at once, swept or not.
 * - `version = max(current version + 1, now)`: it grows even across end, expiry and re-creation.
 * - An ended mark stays for {@link ENDED_MARK_MS}. Until then create, commit, touch and regenerate answer `gone` with `ended: true`,
 *   and nothing revives the key. After that the key is merely missing.
 * - All verbs on one key are atomic and have one order for all nodes.
 * - Buffers that a caller passes are not changed later by either side; buffers that an engine returns belong to the caller, read-only.
 */
import type { Key, NodeId, Version } from "../names.js";

/** How long an ended mark answers late writes, touches, retries and parallel ends. */
export const ENDED_MARK_MS = 300_000;
/** How long a registry row lives without a beat. */
export const REGISTRY_LEASE_MS = 10_000;
/** How long a node trusts a copy of a record without asking the engine (remote engines), from when it sent the beat that proves it. */
export const COPY_LEASE_MS = 2_000;
/** Engines count copy leases longer, by what a node's idea of the engine's clock may be wrong unnoticed. */
export const LEASE_MARGIN_MS = 250;
/** Node numbers are 0 … MAX_NODES - 1: a bit each in a record's `copies`; the last bit means everybody. */
export const MAX_NODES = 63;

/** An end shows what it ended if it isn't longer than this. */
export const SHOWN_BYTES = 512;

/** What a regenerate leaves under the old key, for so long at the most, in place of an ended mark: a record like any other. */
export interface Stays {
  readonly body: Buffer;
  readonly idleMs: number;
}

/** When a record shall expire: `idleMs` from the engine's now, but never after `absoluteAt` (engine's clock; 0 = no absolute deadline). */
export interface Deadlines {
  readonly idleMs: number;
  readonly absoluteAt: number;
}

export interface Found {
  readonly outcome: "found";
  readonly version: Version;
  readonly idleAt: number;
  readonly body: Buffer;
}
/** The record still has the version that the caller knows: no body is sent again. */
export interface Same {
  readonly outcome: "same";
  readonly version: Version;
  readonly idleAt: number;
}
/** No record: it ended (a mark is there), or is missing: expired, evicted or never was. */
export interface Gone {
  readonly outcome: "gone";
  readonly ended: boolean;
}
/**
 * Another node that may still trust a copy of what was replaced, and for how long at the most; it was told (see {@link Engine.fill}).
 * `number` -1: somebody that the engine doesn't know, who can't answer.
 */
export interface Waiting {
  readonly number: number;
  readonly leftMs: number;
}
/** A write that a node was told of. */
export interface Dropped {
  readonly key: Key;
  readonly version: number;
}
/** Who writes. Engines without copies don't look at it. */
export interface Writer {
  /** Its number and epoch in the registry; -1 and 0 before it joined. */
  readonly number: number;
  readonly epoch: number;
  /** It opened a fill ticket: its copy of the new value shall count. */
  readonly keep: boolean;
  /** The earliest that the engine's clock can show as this is sent, as far as the writer knows it; 0: it doesn't. */
  readonly sentAt: number;
  /** `clock`: it can't vouch for its idea of the engine's clock over the last copy lease; `nodes`: nor that the registry has all nodes. */
  readonly doubt: "none" | "clock" | "nodes";
  /** Grows whenever this node gives a write up: one that runs after a copy was filled with a higher generation is known for late. */
  readonly generation: number;
  /** What the answers to drops of this write shall name. */
  readonly serial: number;
}
/** Who fills a copy. */
export type Filler = Pick<Writer, "number" | "epoch" | "generation">;
/** A writer that is no node: it keeps nothing. */
export const NO_NODE: Writer = { number: -1, epoch: 0, keep: false, sentAt: 0, doubt: "none", generation: 0, serial: 0 };
export interface Committed {
  readonly outcome: "committed";
  readonly version: Version;
  readonly idleAt: number;
  readonly now: number;
  /** Whom the writer waits for before it resolves: the answer of each, or the end of its lease. Empty for engines without copies. */
  readonly waitFor: readonly Waiting[];
  /** The engine may not publish: nobody was told, so no answers come. */
  /** The copy that the writer wanted to keep is written down. Absent for engines without copies. */
  readonly counts?: boolean;
  readonly unannounced?: boolean;
}
/** Somebody else wrote: what is there now. Nothing was stored. */
export interface Conflict {
  readonly outcome: "conflict";
  readonly current: Found;
}
export interface Touched {
  readonly outcome: "touched";
  readonly idleAt: number;
  readonly now: number;
}
/** The record has another version than the one touched: whoever wrote it set its deadline. Nothing was changed. */
export interface Moved {
  readonly outcome: "moved";
}
/**
 * `ended`: a record was there and this call ended it. `marked`: somebody had ended it before. `missing`: there was no record.
 * In every case an ended mark stands now, for a full ENDED_MARK_MS from now.
 */
export interface Ended {
  readonly outcome: "ended" | "marked" | "missing";
  readonly now: number;
  /** The body of the record that was ended, if it has no more than {@link SHOWN_BYTES}: it may lead on to another record. */
  readonly was?: Buffer | undefined;
  /** As for `Committed`. An end that finds a mark waits for those whom the first one told. */
  readonly waitFor: readonly Waiting[];
  readonly unannounced?: boolean;
  /** Who held something live of it when it ended. An end that finds a mark is given the same ones, but for those that detached. */
  readonly holders: readonly Holder[];
  /** Whether as many replicas have it as the engine was told to ask for; absent: it wasn't told to. */
  readonly durable?: boolean;
}
/** As `Committed`; `holders`: of the session that ended by it. */
export interface Regenerated extends Committed {
  readonly holders: readonly Holder[];
}
/** A node that has something live of a session: a socket, an event stream, any resource. Who it is, as its row in the registry says. */
export interface Holder {
  readonly nodeId: NodeId;
  readonly number: number;
  readonly epoch: number;
  /** Grows with what a node holds, so that a `detach` which comes late removes nothing newer. */
  readonly turn: number;
}
/** The session is live, and whoever ends it from now on is told of this holder. */
export interface Attached {
  readonly outcome: "attached";
  readonly version: Version;
  readonly idleAt: number;
  readonly now: number;
}
/** One step of `list()`. */
export interface Listed {
  readonly key: Key;
  readonly version: Version;
  readonly idleAt: number;
  readonly body: Buffer;
}

/** A registry row: one node. `about` is the core's JSON text (name, address, state …); the engine keeps it as it is. */
export interface Row {
  readonly nodeId: NodeId;
  /** 0 … 62, unique among the rows. */
  readonly number: number;
  readonly epoch: number;
  /** It said goodbye: the row stays for one lease, so that the others can tell leaving from being lost. */
  readonly left: boolean;
  readonly about: string;
}
/**
 * `taken`: the row of this nodeId has another epoch than `lastEpoch`: another process uses the id (a clone); draw a new one.
 * `full`: all numbers are in use.
 */
export type Joined =
  | {
      readonly outcome: "joined";
      readonly number: number;
      readonly epoch: number;
      readonly now: number;
      readonly revision: number;
      /** See {@link Engine.endedBefore}; left out by engines without it. */
      readonly endedBefore?: number;
    }
  | { readonly outcome: "taken" }
  | { readonly outcome: "full" };
/** `revision` grows whenever a row comes, goes or changes, so a node fetches the rows only when it differs. */
export type Beaten =
  | {
      readonly outcome: "beaten";
      readonly now: number;
      readonly revision: number;
      readonly grace: boolean;
      /** The echo that was asked for may not be published. */
      readonly mute?: boolean;
      readonly endedBefore?: number;
      /** Which server answers. When it is another one, versions that were known before say nothing: it may have lost the last writes. */
      readonly server?: string;
    }
  /** The row is missing, left or has another epoch: this node is nobody until it has joined again. */
  | { readonly outcome: "fenced"; readonly now: number };

/** What a beat carries besides: the engine publishes it, with the drop count, to the node's own channel. */
export interface Echo {
  readonly serial: number;
  /** Whether the node means to trust copies for {@link COPY_LEASE_MS} from now on. */
  readonly trusts: boolean;
}

/** The channel of the node with that number: echoes of its beats, drops, and what other nodes tell it. */
export function nodeChannel(number: number): string {
  return `node-${number}`;
}

export interface Subscription {
  close(): Promise<void>;
  /** Makes the subscription anew, over a new connection if it has one: it may lead to nowhere without showing it. */
  renew?(): Promise<void>;
}

/** What a filling read answers: `counts` if the engine has written down that this node has a copy. */
export type Filled = { readonly counts: boolean; readonly read: Found | Same | Gone };

/** Local engines answer at once, remote ones by promise. `await` takes both; the read path doesn't pay for a promise it doesn't need. */
export type MaybePromise<T> = T | Promise<T>;

export interface Engine {
  /** For people: "memory", "lmdb", "redis", or a name of your own. */
  readonly kind: string;
  /** Part of what session ids are hashed with, so that a key means nothing in another namespace. Sessions of one fleet share it. */
  readonly namespace: string;
  /** `read` answers at once and costs no round trip: it pays to ask whether a known version is still current. Default false. */
  readonly local?: boolean;

  /**
   * Connects; may be called often, at any time, and again after it failed. Rejects with what is wrong and the cure
   * (unreachable server, unwritable directory, missing package, unsupported client). Every other verb opens by itself.
   */
  open(): Promise<void>;

  /** `found`, `gone`, or, when `known` is the current version, `same`. Writes nothing, so it works when the engine has no room. */
  read(key: Key, known?: Version): MaybePromise<Found | Same | Gone>;
  /**
   * Only of engines with copies: a read that, in the same step, writes down that this node has a copy from now on. From then on
   * whoever writes tells that node (`drop` on its channel), and waits for its answer or for the end of its copy lease. Reads on when the copy
   * can't be written down (no room): then it doesn't count.
   */
  fill?(key: Key, by: Filler, known?: Version): Promise<Filled>;
  /**
   * Only of engines with copies: publishes what the node of that number answers to drops, and no longer counts it, for these very versions,
   * among those who were told and may not have heard yet.
   */
  answer?(channel: string, message: string, number: number, answered: readonly Dropped[]): Promise<void>;
  /**
   * Stores a first record. `conflict` if there is one already, `gone` (`ended: true`) if an ended mark stands.
   * `fresh`: the id was made just now, so nobody can have a copy of an earlier record that the engine lost.
   */
  create(key: Key, body: Buffer, deadlines: Deadlines, by?: Writer, fresh?: boolean): Promise<Committed | Conflict | Gone>;
  /** Replaces the record if its version is `expected`, in one atomic step. Missing or ended: `gone`, nothing is stored. */
  commit(key: Key, expected: Version, body: Buffer, deadlines: Deadlines, by?: Writer): Promise<Committed | Conflict | Gone>;
  /**
   * Extends the idle deadline of the record of that version; never shortens it, but for the absolute deadline. Neither body nor version
   * change. Works when the engine has no room.
   */
  touch(key: Key, expected: Version, deadlines: Deadlines): Promise<Touched | Moved | Gone>;
  /** Puts an ended mark in place of whatever is there. May be repeated freely. Works when the engine has no room. */
  end(key: Key, by?: Writer): Promise<Ended>;
  /**
   * One atomic step: if `from` has a record of version `expected`, ends it and stores `body` under `to`.
   * `from` and `to` have the same tag. Otherwise nothing changes: `conflict` (another version), `gone` (`from` is missing or ended).
   * If `to` is taken, which random ids never are: `conflict` or `gone`, as `create` would answer.
   * `stays`: what `from` holds afterwards, in a newer version, until its own deadline or `absoluteAt`; left out: an ended mark.
   */
  regenerate(
    from: Key,
    expected: Version,
    to: Key,
    body: Buffer,
    deadlines: Deadlines,
    by?: Writer,
    stays?: Stays,
  ): Promise<Regenerated | Conflict | Gone>;

  /**
   * Writes down that a node holds something live of the session, in place of what that node wrote before. `gone`: there is no session, and
   * nothing is written. So whatever ends the session afterwards is given this holder. Works when the engine has no room.
   */
  attach(key: Key, holder: Holder): Promise<Attached | Gone>;
  /** The node holds nothing of it any more. Does nothing unless that very holder, `turn` included, is written down. */
  detach(key: Key, holder: Holder): Promise<void>;
  /** Who holds something live of the session, in no order; nobody if there is no session. They live as long as the record, however extended. */
  holders(key: Key): Promise<readonly Holder[]>;

  /** All live records, in no order, in batches, without holding up others. A record that changes meanwhile may be seen or not. */
  list(): AsyncIterable<Listed>;

  /** Writes this node's row, draws a number and an epoch = max(last epoch of all, now) + 1. `lastEpoch`: of its own earlier join, else 0. */
  join(nodeId: NodeId, lastEpoch: number, about: string): Promise<Joined>;
  /**
   * Renews the row for {@link REGISTRY_LEASE_MS}, stores `about` if it changed, and removes rows whose lease is over: any node's beat (and
   * join) does, there is no leader. If nobody had beaten for half a lease, or the clock went back, nobody is removed for one lease (`grace`).
   */
  beat(nodeId: NodeId, epoch: number, about: string, echo?: Echo): Promise<Beaten>;
  /** Marks the row as left, if its epoch is `epoch`. Repeating does no harm. */
  leave(nodeId: NodeId, epoch: number): Promise<void>;
  /** The rows, those that left within the last lease included, in order of their number, and the revision they belong to. */
  nodes(): Promise<{ readonly rows: readonly Row[]; readonly revision: number }>;

  /**
   * Only of engines whose joins and beats tell it: the instant up to which whatever began is over, for the whole fleet; 0: none. `raise`:
   * it is now, from now on. It never goes back, and costs one write, however many records there are.
   */
  endedBefore?(raise: boolean): Promise<number>;

  /** Delivers `message` to whoever is subscribed to `channel` at that time: in order per publisher, at most once, in every process. */
  publish(channel: string, message: string): Promise<void>;
  /** Resolves when the subscription stands: what is published afterwards is delivered. An `onMessage` that throws is the caller's bug. */
  subscribe(channel: string, onMessage: (message: string) => void): Promise<Subscription>;

  /**
   * Gives up what this engine opened, within its deadline. Verbs afterwards reject with CLOSED, and no message is delivered any more;
   * closing again does nothing.
   */
  close(): Promise<void>;
}
