/**
 * Group commit: what is asked to be written while a batch is under way goes into the next one, in order, and each piece of work
 * settles when its batch is on disk, or at its deadline. One batch is under way at a time.
 * The invariant: work that has timed out before its batch began is never done; answers leave only after the commit.
 */
import { type Clock, within } from "../../clock.js";
import { AnynodeError } from "../../errors.js";
import type { Door } from "./door.js";
import type { Environment } from "./environment.js";

/** Works in one batch: bounds how long a batch holds the writer lock and this event loop. */
const BATCH = 500;
/** MDB_MAP_FULL, MDB_TXN_FULL, EFBIG, ENOSPC, EDQUOT, and EIO, which is how LMDB reports that only a part could be written. */
const FULL_CODES: ReadonlySet<unknown> = new Set([-30792, -30788, 27, 28, 122, 5]);

/** What a piece of work needs: `room` for something new, or `none` because it replaces, shrinks or removes. */
export type Need = "room" | "none";

interface Work {
  readonly need: Need;
  /** Does the work; gives back how to hand out its answer. Throws what is wrong with this work alone. */
  readonly run: () => () => void;
  readonly reject: (error: unknown) => void;
  /** Its batch failed for want of room that others needed: it goes into a batch without them, once. */
  again: boolean;
}

export interface WriterOptions {
  readonly clock: Clock;
  readonly deadlineMs: number;
  /** Bytes in use from which on work that needs room is refused. */
  readonly limitBytes: number;
}

export class Writer {
  readonly #environment: Environment;
  readonly #door: Door;
  readonly #options: WriterOptions;
  readonly #queue = new Set<Work>();
  #underWay: Promise<void> | undefined;
  /** What a put of the batch under way failed with: nothing of that batch will be stored. */
  #broken: unknown;

  constructor(environment: Environment, door: Door, options: WriterOptions) {
    this.#environment = environment;
    this.#door = door;
    this.#options = options;
  }

  /** Resolves with what `work` returns when it is on disk. `work` reads and puts at once, in one transaction with its batch. */
  write<T>(need: Need, work: () => T): Promise<T> {
    const { clock, deadlineMs } = this.#options;
    const { promise, resolve, reject } = promiseOf<T>();
    const entry: Work = {
      need,
      run: () => {
        const answer = work();
        return () => resolve(answer);
      },
      reject,
      again: false,
    };
    this.#queue.add(entry);
    this.#underWay ??= this.#writeAll();
    return within(clock, deadlineMs, promise, () => this.#queue.delete(entry));
  }

  put(key: Buffer, value: Buffer): void {
    try {
      this.#environment.put(key, value);
    } catch (error) {
      this.#broken = error;
      throw error;
    }
  }

  /** Only inside of a batch, like `put`. */
  remove(key: Buffer): void {
    try {
      this.#environment.remove(key);
    } catch (error) {
      this.#broken = error;
      throw error;
    }
  }

  /** Resolves when nothing is under way or waiting, however long that takes. */
  async settled(): Promise<void> {
    await this.#underWay;
  }

  async #writeAll(): Promise<void> {
    while (this.#queue.size > 0) await this.#writeBatch();
    this.#underWay = undefined;
  }

  async #writeBatch(): Promise<void> {
    const begun: Work[] = [];
    const answers: (() => void)[] = [];
    this.#broken = undefined;
    let mayBegin = false;
    try {
      process.once("exit", leaveAtOnce);
      await this.#environment.transaction(() => {
        // From here on LMDB's thread needs nothing more of the event loop: an exit waits for the commit, and no longer.
        process.removeListener("exit", leaveAtOnce);
        mayBegin = this.#door.enter();
        if (mayBegin) this.#runBatch(begun, answers);
      });
      // Else nothing was put: what waits goes into the next batch.
      if (!mayBegin) await this.#door.free(() => this.#queue.size > 0);
    } catch (error) {
      process.removeListener("exit", leaveAtOnce);
      await this.#failBatch(begun, this.#broken ?? error);
      return;
    } finally {
      this.#door.leave();
    }
    for (const answer of answers) answer();
  }

  #runBatch(begun: Work[], answers: (() => void)[]): void {
    const full = this.#environment.usedBytes() >= this.#options.limitBytes;
    const apart = [...this.#queue].some((work) => work.again);
    for (const work of this.#queue) {
      if (begun.length === BATCH) break;
      if (apart && work.need === "room") continue;
      this.#queue.delete(work);
      if (full && work.need === "room") {
        work.reject(fullError());
        continue;
      }
      begun.push(work);
      try {
        answers.push(work.run());
      } catch (error) {
        if (this.#broken !== undefined) throw error;
        work.reject(error);
      }
    }
  }

  async #failBatch(begun: readonly Work[], error: unknown): Promise<void> {
    const cause = await rootOf(error);
    const full = FULL_CODES.has(codeOf(cause));
    const othersNeededRoom = begun.some((work) => work.need === "room");
    // Without a single begun work the environment itself refuses: so it does for all that wait.
    const failed = begun.length > 0 ? begun : [...this.#queue];
    for (const work of failed) {
      this.#queue.delete(work);
      if (full && work.need === "none" && othersNeededRoom && !work.again) {
        work.again = true;
        this.#queue.add(work);
      } else {
        work.reject(full ? fullError(cause) : unavailableError(cause));
      }
    }
  }
}

/**
 * `process.exit()` waits for LMDB's thread, which waits for its turn on the event loop, which is over: this process would hang for
 * ever, and hold the machine-wide writer lock if it has it. Killed, it lets go of the lock, and the batch never happened.
 */
function leaveAtOnce(): void {
  process.kill(process.pid, "SIGKILL");
}

function promiseOf<T>() {
  let resolve: (value: T) => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const promise = new Promise<T>((onValue, onError) => {
    resolve = onValue;
    reject = onError;
  });
  return { promise, resolve, reject };
}

/** lmdb-js rejects a failed commit with an error whose `commitError` is a promise that rejects with the reason. */
async function rootOf(error: unknown): Promise<unknown> {
  if (typeof error !== "object" || error === null || !("commitError" in error)) return error;
  try {
    return (await error.commitError) ?? error;
  } catch (cause) {
    return cause;
  }
}

function codeOf(error: unknown): unknown {
  return typeof error === "object" && error !== null && "code" in error ? error.code : undefined;
}

function fullError(cause?: unknown): AnynodeError {
  return new AnynodeError(
    "ENGINE_FULL",
    "The LMDB environment has no room: its disk is full, or mapSizeBytes is reached. Nothing was stored; make room or raise it.",
    { cause },
  );
}

function unavailableError(cause: unknown): AnynodeError {
  return new AnynodeError("ENGINE_UNAVAILABLE", "LMDB could not commit. Nothing was stored.", { cause });
}
