/**
 * The door of an environment: nobody commits while somebody opens it. LMDB (3.5.6 of lmdb-js, mdb_env_open2) reads the newest
 * transaction's number when it opens, and writes it back into the lock file a moment later, without the writer lock: what another process
 * committed in between is unseen by readers from then on, and overwritten by the next writer. So whoever opens says so (a file
 * `opening.<process>`), then waits for the batch under way; whoever has the writer lock says so (the mode of `busy.<process>`), then looks
 * whether anybody opens.
 * LIMIT: Linux' /proc tells who is gone. One that was stopped in the middle of its batch isn't waited for, and may go on at that very
 * moment; one that was stopped while it opens holds up the others' writes.
 */
import { closeSync, fchmodSync, openSync, readdirSync, readFileSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as nextTurn, setTimeout as pause } from "node:timers/promises";
import type { Clock } from "../../clock.js";
import { AnynodeError } from "../../errors.js";

const OPENING = "opening.";
const BUSY = "busy.";
const FREE_MODE = 0o600;
const BUSY_MODE = 0o700;
/** How often somebody who waits for those that open looks again. */
const LOOK_MS = 1;
let doors = 0;

export class Door {
  readonly #dir: string;
  readonly #clock: Clock;
  readonly #name = `${process.pid}.${startOf(process.pid) ?? 0}.${doors++}`;
  #busy: number | undefined;

  constructor(dir: string, clock: Clock) {
    this.#dir = dir;
    this.#clock = clock;
  }

  /** Whether a file of that name is one of a door's. */
  static owns(name: string): boolean {
    return name.startsWith(OPENING) || name.startsWith(BUSY);
  }

  /** Opens the environment while nobody commits. Rejects with ENGINE_TIMEOUT if somebody's batch doesn't end within `ms`. */
  async open<T>(ms: number, work: () => Promise<T>): Promise<T> {
    const opening = join(this.#dir, OPENING + this.#name);
    writeFileSync(opening, "", { mode: FREE_MODE });
    try {
      const until = this.#clock.monotonic() + ms;
      while (this.#some(BUSY, isBusy)) {
        if (this.#clock.monotonic() >= until) throw busy(ms);
        // Not by a timer, which wouldn't keep a script alive; a batch takes milliseconds.
        await nextTurn();
      }
      return await work();
    } finally {
      remove(opening);
    }
  }

  /** With the writer lock: whether a batch may begin, until `leave`. */
  enter(): boolean {
    this.#say(BUSY_MODE);
    if (!this.#some(OPENING, isThere)) return true;
    this.#say(FREE_MODE);
    return false;
  }

  /** Never throws. Where it can't be said the file goes, so that nobody waits for it. */
  leave(): void {
    try {
      if (this.#busy !== undefined) this.#say(FREE_MODE);
    } catch {
      // The next batch makes a new one, or fails.
    }
  }

  /** Resolves once nobody opens, or nothing is `wanted` any more. */
  async free(wanted: () => boolean): Promise<void> {
    // By a timer that keeps a script alive; whoever opens takes milliseconds, unless it was stopped.
    while (wanted() && this.#some(OPENING, isThere)) await pause(LOOK_MS);
  }

  close(): void {
    if (this.#busy !== undefined) closeSync(this.#busy);
    this.#forget();
  }

  #forget(): void {
    this.#busy = undefined;
    remove(join(this.#dir, BUSY + this.#name));
  }

  /** By its mode: a disk that is full has room for that. */
  #say(mode: number): void {
    this.#busy ??= openSync(join(this.#dir, BUSY + this.#name), "w", FREE_MODE);
    const busy = this.#busy;
    try {
      fchmodSync(busy, mode);
    } catch (error) {
      this.#forget();
      // Somebody else has closed it: by now the number may be that of their file.
      if (!(error instanceof Error && "code" in error && error.code === "EBADF")) closeSync(busy);
      throw error;
    }
  }

  /** Whether another has such a file that counts. Those of processes that are gone are removed. */
  #some(kind: string, counts: (file: string, state: string) => boolean): boolean {
    for (const name of readdirSync(this.#dir)) {
      if (!name.startsWith(kind)) continue;
      const file = join(this.#dir, name);
      const [pid, start] = name.slice(kind.length).split(".");
      const state = stateOf(Number(pid), start ?? "");
      if (state === undefined) remove(file);
      else if (name !== kind + this.#name && counts(file, state)) return true;
    }
    return false;
  }
}

function isThere(): boolean {
  return true;
}

/** A stopped one can't commit. */
function isBusy(file: string, state: string): boolean {
  try {
    return !"Tt".includes(state) && (statSync(file).mode & 0o777) === BUSY_MODE;
  } catch {
    return false;
  }
}

function busy(ms: number): AnynodeError {
  return new AnynodeError("ENGINE_TIMEOUT", `Another process' write to LMDB didn't end within ${ms} ms (deadlineMs); try again.`);
}

function remove(file: string): void {
  try {
    unlinkSync(file);
  } catch {
    // Somebody else has.
  }
}

/** One letter, as /proc has it; undefined: the process is gone, be it that another one has its number now. */
function stateOf(pid: number, start: string): string | undefined {
  const fields = fieldsOf(pid);
  const state = fields?.[0];
  return state === undefined || fields?.[START] !== start || "ZX".includes(state) ? undefined : state;
}

function startOf(pid: number): string | undefined {
  return fieldsOf(pid)?.[START];
}

/** Of /proc/<pid>/stat, what comes after the name: the state first; the 22nd of all is when the process started. */
const START = 19;
function fieldsOf(pid: number): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined;
  }
}
