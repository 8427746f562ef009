/**
 * The indexes of people's sessions: ordinary records (session/entry.ts), one a person, with an entry a session. Read and written past all
 * copies, so everybody sees one order of their changes; each change is one step.
 */
import type { CommitOutcome, Wish } from "./commits.js";
import { AnynodeError } from "./errors.js";
import type { Key } from "./names.js";
import { type Entries, type Entry, entriesOf, recordOf } from "./session/entry.js";
import type { Loaded } from "./session/record.js";
import { entryNameOf } from "./session/user-key.js";

/** A session that is about to be stored. */
export interface Entrance {
  readonly user: string;
  readonly key: Key;
  /** The session that it takes the place of, which ends. */
  readonly from: Key | undefined;
  readonly absoluteAt: number;
  readonly address: string;
  readonly agent: string;
}

/** What this needs of the read path and the write path. */
export interface Records {
  /** What is stored under a key now, past all copies. */
  peek(key: Key): Promise<Loaded | "unreadable" | "ended" | "missing">;
  commit(key: Key, loaded: Loaded | undefined, wish: Wish): Promise<CommitOutcome>;
  /** The engine's clock, at the earliest. */
  now(): number;
}

/** How many sessions a person may have. `sessions` 0 = as many as the index takes. */
export interface Bound {
  readonly sessions: number;
  readonly over: "refuse" | "end-oldest";
}

/** A sign-in that takes longer has failed, or will. */
const SIGN_IN_MS = 30_000;
const MAX_SESSIONS = 500;
/** Without a bound entries of sessions that are over go when so many have come. */
const LOOK_EVERY = 32;
const AT_ONCE = 32;

/** An index isn't copied by anybody, so nobody needs to be told of what becomes of it. */
const INDEX = { fresh: true, keeps: false } as const;

export class Indexes {
  readonly #records: Records;
  readonly #bound: Bound;

  constructor(records: Records, bound: Bound) {
    this.#records = records;
    this.#bound = bound;
  }

  /** Decides the bound in the very step that enters the session. Returns the entries that must be ended before it is stored. */
  async enter(index: Key, name: string, { key, from, absoluteAt, address, agent }: Entrance): Promise<Entry[]> {
    const { sessions, over } = this.#bound;
    const found = await this.#readable(index);
    const dead = await this.#deadIn(found);
    let ending: Entry[] = [];
    await this.#amend(index, found, (entries, now) => {
      for (const [dying, entry] of entries) {
        if (entry.absoluteAt <= now || isSame(dead.get(dying), entry)) entries.delete(dying);
      }
      const counted = [...entries].filter(([, entry]) => !entry.ending && (from === undefined || !entry.keys.includes(from)));
      const most = sessions > 0 ? Math.min(sessions, MAX_SESSIONS) : MAX_SESSIONS;
      const tooMany = counted.length + 1 - most;
      if (tooMany > 0 && (over === "refuse" || sessions === 0)) throw tooManySessions(most);
      const oldest = counted.sort(([, a], [, b]) => a.at - b.at).slice(0, Math.max(0, tooMany));
      for (const [old, entry] of oldest) entries.set(old, { ...entry, ending: true });
      ending = [...entries.values()].filter((entry) => entry.ending);
      entries.set(name, { keys: [key], at: now, absoluteAt, address, agent, ending: false });
      return true;
    });
    return ending;
  }

  /** The entries whose sessions are over. One that isn't stored yet counts as live for a while. */
  async #deadIn(found: Loaded | undefined): Promise<Map<string, Entry>> {
    const entries: Entries = found === undefined ? new Map() : entriesOf(found.record);
    const dead: Entries = new Map();
    if (this.#bound.sessions === 0 && (entries.size === 0 || (entries.size % LOOK_EVERY > 0 && entries.size < MAX_SESSIONS)))
      return dead;
    const now = this.#records.now();
    await eachOf([...entries], async ([name, entry]) => {
      // In their order: a session that moves meanwhile is then found in one place or the other.
      for (const key of entry.keys) {
        const there = await this.#records.peek(key);
        if (there !== "ended" && (there !== "missing" || now - entry.at < SIGN_IN_MS)) return;
      }
      dead.set(name, entry);
    });
    return dead;
  }

  /** Gives an entry one more key; undefined: it is being ended. An entry that was lost, with its index, is made anew. */
  async widen(index: Key, { key, record }: Loaded, to: Key): Promise<string | undefined> {
    let widened: string | undefined;
    const found = await this.#readable(index);
    await this.#amend(index, found, (entries) => {
      const own = entryNameOf(key);
      const [name, entry] = [...entries].find(([, { keys }]) => keys.includes(key)) ?? [own, entries.get(own)];
      widened = entry?.ending ? undefined : name;
      if (entry?.ending) return false;
      const { createdAt: at, absoluteAt } = record.header;
      const made = entry ?? { keys: [key], at, absoluteAt, address: "", agent: "", ending: false };
      entries.set(name, { ...made, keys: [...made.keys, to] });
      return true;
    });
    return widened;
  }

  /** Changes an index, which is made if there is none. `change`: whether it changed any entry. */
  async #amend(index: Key, found: Loaded | undefined, change: (entries: Entries, now: number) => boolean): Promise<void> {
    await this.#records.commit(index, found, {
      ...INDEX,
      mayCreate: true,
      overwrites: true,
      apply: (current) => {
        const now = this.#records.now();
        const entries: Entries = current === undefined ? new Map() : entriesOf(current);
        return change(entries, now) || current === undefined ? recordOf(current, entries, now) : current;
      },
    });
  }

  /** Whether a session that is stored by now may be told of. */
  async stands(index: Key, name: string, key: Key): Promise<boolean> {
    const found = await this.found(index);
    const entry = found && entriesOf(found.record).get(name);
    return entry !== undefined && !entry.ending && entry.keys.includes(key);
  }

  /** Takes entries out. */
  async strike(index: Key, names: readonly string[]): Promise<void> {
    if (names.length === 0) return;
    await this.change(index, (entries) => {
      let isChanged = false;
      for (const name of names) if (entries.delete(name)) isChanged = true;
      return isChanged;
    });
  }

  /** Changes the entries that there are; without an index nothing is to be changed. `change`: whether it changed any. */
  async change(index: Key, change: (entries: Entries) => boolean): Promise<void> {
    for (;;) {
      const found = await this.found(index);
      if (found === undefined) return;
      const apply = (current = found.record) => {
        const entries = entriesOf(current);
        return change(entries) ? recordOf(current, entries, this.#records.now()) : current;
      };
      const { outcome } = await this.#records.commit(index, found, { ...INDEX, mayCreate: false, apply });
      // Else it went meanwhile, with all its sessions, and perhaps another one has come.
      if (outcome === "committed") return;
    }
  }

  /** One that can't be read must not keep a person from signing in: it is begun anew, unless other nodes can read it. */
  async #readable(index: Key): Promise<Loaded | undefined> {
    const found = await this.#records.peek(index);
    return typeof found === "string" ? undefined : found;
  }

  /** A person's index, if there is one. */
  async found(index: Key): Promise<Loaded | undefined> {
    const found = await this.#records.peek(index);
    if (found === "unreadable") {
      throw new AnynodeError(
        "RECORD_UNREADABLE",
        "The index of this person's sessions can't be read by this node. sessions.endEveryone() ends their sessions all the same.",
      );
    }
    return typeof found === "string" ? undefined : found;
  }
}

function isSame(one: Entry | undefined, other: Entry): boolean {
  return one !== undefined && one.keys.length === other.keys.length && one.keys.every((key, i) => key === other.keys[i]);
}

function tooManySessions(most: number): AnynodeError {
  return new AnynodeError(
    "TOO_MANY_SESSIONS",
    `This person has ${most} sessions, which is the limit (maxPerUser). Nothing was stored.`,
  );
}

/** Bounded, so that a person with many sessions doesn't hold up others. */
export async function eachOf<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let from = 0; from < items.length; from += AT_ONCE) {
    results.push(...(await Promise.all(items.slice(from, from + AT_ONCE).map(work))));
  }
  return results;
}
