/**
 * The door of an environment: nobody commits while somebody opens it. LMDB (3.5.6 of lmdb-js) reads the newest transaction's number when it
 * opens, and writes it back into the lock file a moment later, without the writer lock: what another process committed in between is
 * unseen by readers from then on, and overwritten by the next writer. So whoever opens says so (a file `opening.<process>`), and waits
 * for the batches under way; whoever begins a batch says so (the mode of `busy.<process>`), then looks whether anybody opens.
 * LIMIT: a batch that doesn't end, e.g. because a stopped process has the writer lock, is waited for for 100 ms only, and may end at that
 * very moment.
 */
import { closeSync, fchmodSync, openSync, readdirSync, readFileSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Clock } from "../../clock.js";

const OPENING = "opening.";
const BUSY = "busy.";
const FREE_MODE = 0o600;
const BUSY_MODE = 0o700;
const PATIENCE_MS = 100;
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

  /** Opens the environment while nobody commits. */
  async open<T>(work: () => Promise<T>): Promise<T> {
    const opening = join(this.#dir, OPENING + this.#name);
    writeFileSync(opening, "", { mode: FREE_MODE });
    try {
      const until = this.#clock.monotonic() + PATIENCE_MS;
      while (this.#some(BUSY, isBusy) && this.#clock.monotonic() < until) await nextTurn();
      return await work();
    } finally {
      remove(opening);
    }
  }

  /** Before a batch: resolves once nobody opens. */
  async enter(): Promise<void> {
    for (;;) {
      this.#say(BUSY_MODE);
      if (!this.#some(OPENING, () => true)) return;
      this.#say(FREE_MODE);
      // Not by a timer, which wouldn't keep a script alive; an environment is opened within milliseconds.
      await nextTurn();
    }
  }

  /** After a batch. */
  leave(): void {
    this.#say(FREE_MODE);
  }

  close(): void {
    if (this.#busy === undefined) return;
    closeSync(this.#busy);
    this.#busy = undefined;
    remove(join(this.#dir, BUSY + this.#name));
  }

  /** By its mode: a disk that is full has room for that. */
  #say(mode: number): void {
    this.#busy ??= openSync(join(this.#dir, BUSY + this.#name), "w", FREE_MODE);
    fchmodSync(this.#busy, mode);
  }

  /** Whether a process that runs has such a file. Those of processes that are gone are removed. */
  #some(kind: string, counts: (file: string) => boolean): boolean {
    for (const name of readdirSync(this.#dir)) {
      if (!name.startsWith(kind)) continue;
      const file = join(this.#dir, name);
      const [pid, start] = name.slice(kind.length).split(".");
      const state = stateOf(Number(pid), start ?? "");
      if (state === "gone") remove(file);
      else if (state === "running" && name !== kind + this.#name && counts(file)) return true;
    }
    return false;
  }
}

function isBusy(file: string): boolean {
  try {
    return (statSync(file).mode & 0o777) === BUSY_MODE;
  } catch {
    return false;
  }
}

function remove(file: string): void {
  try {
    unlinkSync(file);
  } catch {
    // Somebody else has.
  }
}

function stateOf(pid: number, start: string): "running" | "stopped" | "gone" {
  const fields = fieldsOf(pid);
  if (fields === undefined) return "gone";
  const [state = ""] = fields;
  if (fields[START] !== start || "ZX".includes(state)) return "gone";
  return "Tt".includes(state) ? "stopped" : "running";
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
