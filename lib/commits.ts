/**
 * The write path to the engine. A node's concurrent commits to one key become one: while a commit is under way, the next ones gather
 * and go out together, so a hot session costs a bounded number of round trips. On a conflict all changes are merged into what is there
 * now and tried again. A failed call is *unknown*: it is reported to everybody whose change was in it, never repeated.
 */
import type { Copies, Writing } from "./cache/copies.js";
import type { Clock, EngineClock } from "./clock.js";
import type { Deadlines, Engine, Found } from "./engines/engine.js";
import { AnynodeError, type ErrorCode } from "./errors.js";
import type { Key } from "./names.js";
import { type Codec, unreadable } from "./session/codec.js";
import { deadlinesOf, type Loaded, NOBODY, type SessionRecord } from "./session/record.js";

export type CommitOutcome =
  | { readonly outcome: "committed"; readonly loaded: Loaded }
  /** The session ended or expired: nothing was stored. */
  | { readonly outcome: "gone"; readonly ended: boolean };

/** The session goes on under another key: nothing was stored, and what is wanted is to be asked there. */
export interface MovedOn {
  readonly outcome: "moved";
  readonly to: Key;
}

/**
 * What one caller wants, as a pure function of what is there: it may run again. Giving back the very same record means nothing to store.
 * `undefined` = there is no record; only asked when `mayCreate`. If it throws, this caller alone gets the error.
 */
export interface Wish {
  readonly mayCreate: boolean;
  /** The id was made just now: nobody can know anything of it. */
  readonly fresh?: boolean;
  /** Whether this node would like a copy of what is stored. Default true. */
  readonly keeps?: boolean;
  /** Whether a record that nobody will ever read again (damaged, not sealed, its key revoked) counts as an empty one. Default false. */
  readonly overwrites?: boolean;
  apply(current: SessionRecord | undefined): SessionRecord;
}

interface Job extends Wish {
  readonly loaded: Loaded | undefined;
  readonly askedAt: number;
  readonly resolve: (outcome: CommitOutcome | MovedOn) => void;
  readonly reject: (error: unknown) => void;
}

const NOTHING: SessionRecord = {
  header: { createdAt: 0, absoluteAt: 0, idleMs: 0, ...NOBODY, cookie: "", movedTo: "" },
  attributes: new Map(),
};

export class Commits {
  /** Per key, the jobs that wait behind a commit under way. */
  readonly #lanes = new Map<Key, Job[]>();
  readonly #engine: Engine;
  readonly #clock: Clock;
  readonly #engineClock: EngineClock;
  readonly #copies: Copies;
  readonly #codec: Codec;
  readonly #deadlineMs: number;

  constructor(engine: Engine, clock: Clock, engineClock: EngineClock, copies: Copies, codec: Codec, deadlineMs: number) {
    this.#engine = engine;
    this.#copies = copies;
    this.#clock = clock;
    this.#engineClock = engineClock;
    this.#codec = codec;
    this.#deadlineMs = deadlineMs;
  }

  commit(key: Key, loaded: Loaded | undefined, wish: Wish): Promise<CommitOutcome | MovedOn> {
    return new Promise((resolve, reject) => {
      const askedAt = this.#clock.monotonic();
      const { mayCreate, fresh = false, keeps = true, overwrites = false } = wish;
      const job: Job = {
        mayCreate,
        fresh,
        keeps,
        overwrites,
        apply: (current) => wish.apply(current),
        loaded,
        askedAt,
        resolve,
        reject,
      };
      const lane = this.#lanes.get(key);
      if (lane !== undefined) {
        lane.push(job);
        return;
      }
      const opened = [job];
      this.#lanes.set(key, opened);
      void this.#run(key, opened);
    });
  }

  async #run(key: Key, lane: Job[]): Promise<void> {
    let current: Loaded | undefined;
    let alone = 0;
    while (lane.length > 0) {
      const jobs = lane.splice(0, alone > 0 ? 1 : lane.length);
      alone -= 1;
      for (const { loaded } of jobs) {
        if (loaded !== undefined && (current === undefined || loaded.version > current.version)) current = loaded;
      }
      try {
        current = await this.#settle(key, current, jobs);
      } catch (error) {
        current = undefined;
        if (jobs.length > 1 && isCode(error, "SESSION_TOO_LARGE")) {
          // One of them is to blame, and nothing was sent: each has its say alone, so that the others aren't lost.
          alone = jobs.length;
          lane.unshift(...jobs);
        } else {
          for (const job of jobs) job.reject(error);
          // Whoever waited behind a timeout has waited long enough: sent now, it would take another deadline to fail.
          if (isCode(error, "ENGINE_TIMEOUT")) for (const job of lane.splice(0)) job.reject(notSent(error));
        }
      }
    }
    this.#lanes.delete(key);
  }

  /** Settles every job of one batch; what it throws is the outcome of those that are left. Returns what is stored now. */
  async #settle(key: Key, start: Loaded | undefined, jobs: Job[]): Promise<Loaded | undefined> {
    let current = start;
    for (;;) {
      this.#giveUp(jobs);
      const record = this.#fold(current, jobs);
      if (jobs.length === 0 || record === undefined) return current;
      if (record === current?.record) return this.#resolve(jobs, current);
      const sentAt = this.#clock.monotonic();
      const body = this.#codec.encode(record, key, current?.record);
      const writing = this.#copies.writing(
        key,
        jobs.every((job) => job.keeps),
      );
      const fresh = jobs.some((job) => job.fresh);
      const result = await this.#store(writing, current, body, deadlinesOf(record.header), fresh);
      if (result.outcome === "committed") {
        this.#engineClock.observe(sentAt, this.#clock.monotonic(), result.now);
        const loaded = { key, version: result.version, idleAt: result.idleAt, record };
        this.#copies.stored(writing, loaded, result.counts === true);
        const settled = this.#copies.settled(writing, result.waitFor);
        if (settled === undefined) return this.#resolve(jobs, loaded);
        // Complete once nobody trusts an older copy; what comes next in the lane needn't wait for that.
        void settled.then(() => this.#resolve(jobs, loaded));
        return loaded;
      }
      this.#copies.refused(writing);
      if (result.outcome === "gone") {
        const { ended } = result;
        remove(jobs, (job) => {
          if (!ended && job.mayCreate) return false;
          job.resolve({ outcome: "gone", ended });
          return true;
        });
        current = undefined;
      } else {
        current = this.#read(key, result.current, jobs);
      }
    }
  }

  /** Those whose deadline is over have waited long enough: nothing of theirs is under way. */
  #giveUp(jobs: Job[]): void {
    const deadlineMs = this.#deadlineMs;
    const now = this.#clock.monotonic();
    remove(jobs, (job) => {
      if (now - job.askedAt < deadlineMs) return false;
      job.reject(
        new AnynodeError(
          "CONTENDED",
          `Others kept committing to the same session for ${deadlineMs} ms (deadlineMs); nothing was stored.`,
        ),
      );
      return true;
    });
  }

  /** All jobs, one after the other, on what is there now. Those that can't are settled and leave. */
  #fold(current: Loaded | undefined, jobs: Job[]): SessionRecord | undefined {
    let record = current?.record;
    const to = record?.header.movedTo ?? "";
    if (to !== "") {
      for (const job of jobs.splice(0)) job.resolve({ outcome: "moved", to });
      return undefined;
    }
    remove(jobs, (job) => {
      // A session that began later under the same id (`genid`) is another one.
      const another = job.loaded !== undefined && record?.header.createdAt !== job.loaded.record.header.createdAt;
      if (!job.mayCreate && (record === undefined || another)) {
        job.resolve({ outcome: "gone", ended: false });
        return true;
      }
      try {
        record = job.apply(record);
        return false;
      } catch (error) {
        job.reject(error);
        return true;
      }
    });
    return record;
  }

  async #store(writing: Writing, current: Loaded | undefined, body: Buffer, deadlines: Deadlines, fresh: boolean) {
    const { key, by } = writing;
    try {
      return current === undefined
        ? await this.#engine.create(key, body, deadlines, by, fresh)
        : await this.#engine.commit(key, current.version, body, deadlines, by);
    } catch (error) {
      this.#copies.unknown(writing);
      throw error;
    }
  }

  #resolve(jobs: readonly Job[], loaded: Loaded): Loaded {
    for (const job of jobs) job.resolve({ outcome: "committed", loaded });
    return loaded;
  }

  /** What another node stored. One that can't be read is not ours to overwrite. */
  #read(key: Key, { version, idleAt, body }: Found, jobs: readonly Job[]): Loaded {
    const decoded = this.#codec.decode(body, key);
    if (decoded.outcome === "record") return { key, version, idleAt, record: decoded.record };
    const isLost = decoded.outcome !== "key-missing" && decoded.outcome !== "unknown";
    if (isLost && jobs.every((job) => job.overwrites)) return { key, version, idleAt, record: NOTHING };
    throw unreadable(decoded);
  }
}

function isCode(error: unknown, code: ErrorCode): boolean {
  return error instanceof AnynodeError && error.code === code;
}

function notSent(cause: unknown): AnynodeError {
  return new AnynodeError("ENGINE_UNAVAILABLE", "The session engine didn't answer an earlier change; nothing was sent.", {
    cause,
  });
}

/** Takes out of `jobs`, in place, those for which `settled` says yes. */
function remove(jobs: Job[], settled: (job: Job) => boolean): void {
  let left = 0;
  for (const job of jobs) if (!settled(job)) jobs[left++] = job;
  jobs.length = left;
}
