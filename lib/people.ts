/**
 * People's sessions: who is signed in where. Of each person there is an index, an ordinary record (session/entry.ts), with an entry a
 * session; it is read and written past all copies, so everybody sees one order of its changes.
 * The invariant: a session that somebody can use is in its person's index. It is entered before it is stored, and taken out only once it
 * is over; whoever wants it to end marks the entry first, and a sign-in or move under way that then finds its entry marked, or gone, ends
 * what it has just stored before anybody hears of its id. So each sign-in is before an `endAll`, or after it, never half.
 */

import type { CommitOutcome, Wish } from "./commits.js";
import type { Reach } from "./ends.js";
import { AnynodeError } from "./errors.js";
import type { Key } from "./names.js";
import { type Entries, type Entry, entriesOf, recordOf } from "./session/entry.js";
import type { Loaded } from "./session/record.js";
import { entryNameOf, handleIdOf, parseHandleId, userKeyOf } from "./session/user-key.js";

/** One of a person's sessions, as applications see it. */
export interface Handle {
  /** To end it by; neither its id nor its key. It stays the same for as long as the session lives. */
  readonly id: string;
  /** When the person signed in; milliseconds on the engine's clock, as the others. */
  readonly createdAt: number;
  /** When it was last used: to a tenth of its idle timeout, 60 s at the most. */
  readonly lastSeenAt: number;
  /** When it ends unless it is used, and when it ends in any case. */
  readonly expiresAt: number;
  readonly absoluteExpiresAt: number;
  /** At sign-in, if the option `record` says so; else "". */
  readonly address: string;
  readonly agent: string;
  /** It is the one that was named to `of`. */
  readonly current: boolean;
}

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

const NOWHERE: Reach = { closed: 0, pending: [], nodes: 0 };

/** What this needs of Sessions. */
export interface Doors {
  /** What is stored under a key now, past all copies. */
  peek(key: Key): Promise<Loaded | "unreadable" | "ended" | "missing">;
  commit(key: Key, loaded: Loaded | undefined, wish: Wish): Promise<CommitOutcome>;
  /** Ends the session of a key, on all nodes, be it that nothing is stored there yet. */
  end(key: Key): Promise<Reach & { readonly ended: boolean }>;
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

export class People {
  readonly #doors: Doors;
  readonly #namespace: string;
  readonly #bound: Bound;

  constructor(doors: Doors, namespace: string, bound: Bound) {
    this.#doors = doors;
    this.#namespace = namespace;
    this.#bound = bound;
  }

  /**
   * Enters a session, has it stored, and makes sure that it wasn't ended meanwhile: then the outcome is `gone`. Rejects with
   * TOO_MANY_SESSIONS, before anything is stored, where the bound refuses; else the oldest are over before `store` runs.
   */
  async signIn(entrance: Entrance, store: () => Promise<CommitOutcome>): Promise<CommitOutcome> {
    const index = userKeyOf(entrance.user, this.#namespace);
    const name = entryNameOf(entrance.key);
    const ending = await this.#enter(index, name, entrance);
    try {
      await this.#endAll(ending);
      const outcome = await store();
      if (outcome.outcome === "committed" && (await this.#stands(index, name, entrance.key))) return outcome;
      if (outcome.outcome === "committed") await this.#giveUp(index, name, entrance.key);
      else await this.#strike(index, [name]);
      return { outcome: "gone", ended: outcome.outcome === "committed" || outcome.ended };
    } catch (error) {
      // What isn't known to be stored must not be left: nobody would have its id. If that fails, too, the entry stays, and does no harm.
      await this.#giveUp(index, name, entrance.key).catch(() => {});
      throw error;
    }
  }

  /** The same for a session that goes on under another key. What fails may leave the entry with a key too many. */
  async move(user: string, from: Loaded, to: Key, store: () => Promise<CommitOutcome>): Promise<CommitOutcome> {
    const index = userKeyOf(user, this.#namespace);
    const name = await this.#widen(index, from, to);
    if (name === undefined) return { outcome: "gone", ended: true };
    const outcome = await store();
    const isStored = outcome.outcome === "committed" && outcome.loaded.key === to;
    const stands = isStored && (await this.#stands(index, name, to));
    if (isStored && !stands) await this.#doors.end(to);
    const over = stands ? from.key : to;
    await this.#change(index, (entries) => {
      const entry = entries.get(name);
      const keys = entry?.keys.filter((key) => key !== over) ?? [];
      if (entry === undefined || keys.length === 0) return false;
      entries.set(name, { ...entry, keys });
      return true;
    });
    return stands || !isStored ? outcome : { outcome: "gone", ended: true };
  }

  /** A person's live sessions, the latest sign-in first. One read of the index, and one a session. */
  async of(user: string, current: Key | undefined): Promise<Handle[]> {
    const index = userKeyOf(user, this.#namespace);
    const found = await this.#index(index);
    if (found === undefined) return [];
    const handles = await eachOf([...entriesOf(found.record)], async ([name, entry]) => {
      const loaded = entry.ending ? undefined : await this.#sessionOf(entry);
      return loaded && this.#handleOf(handleIdOf(index, name), entry, loaded, current);
    });
    return handles.filter((handle) => handle !== undefined).sort((a, b) => b.createdAt - a.createdAt);
  }

  /** Ends one of a person's sessions, wherever it is by now. */
  async end(handleId: string): Promise<Reach & { readonly ended: boolean }> {
    const parsed = parseHandleId(handleId);
    if (parsed === undefined) return { ...NOWHERE, ended: false };
    const reach = await this.#endThose(parsed.index, (name) => name === parsed.name);
    return { ...reach, ended: reach.ended > 0 };
  }

  /** Ends all sessions of a person but the one under `except`. Resolves with how many there were once none is served anywhere any more. */
  async endAll(user: string, except: Key | undefined): Promise<Reach & { readonly ended: number }> {
    const index = userKeyOf(user, this.#namespace);
    return this.#endThose(index, (_, { keys }) => except === undefined || !keys.includes(except));
  }

  /** First the entries are marked, in one step; so what is entered later is later. Then their sessions end, those not yet stored, too. */
  async #endThose(index: Key, picks: (name: string, entry: Entry) => boolean): Promise<Reach & { readonly ended: number }> {
    let picked: [string, Entry][] = [];
    await this.#change(index, (entries) => {
      picked = [...entries].filter(([name, entry]) => picks(name, entry));
      for (const [name, entry] of picked) entries.set(name, { ...entry, ending: true });
      return picked.length > 0;
    });
    const reach = await this.#endAll(picked.map(([, entry]) => entry));
    await this.#strike(
      index,
      picked.map(([name]) => name),
    );
    return reach;
  }

  async #endAll(entries: readonly Entry[]): Promise<Reach & { readonly ended: number }> {
    const all = await eachOf(entries, ({ keys }) => Promise.all(keys.map((key) => this.#doors.end(key))));
    const each = all.flat();
    const sum = (of: "closed" | "nodes") => each.reduce((total, reach) => total + reach[of], 0);
    const pending = [...new Set(each.flatMap((reach) => reach.pending))];
    return {
      ended: all.filter((ends) => ends.some(({ ended }) => ended)).length,
      closed: sum("closed"),
      pending,
      nodes: sum("nodes"),
    };
  }

  /** Decides the bound in the very step that enters the session. Returns the entries that must be ended before it is stored. */
  async #enter(index: Key, name: string, { key, from, absoluteAt, address, agent }: Entrance): Promise<Entry[]> {
    const { sessions, over } = this.#bound;
    const found = await this.#readable(index);
    const dead = await this.#deadIn(found);
    let ending: Entry[] = [];
    await this.#doors.commit(index, found, {
      ...INDEX,
      mayCreate: true,
      overwrites: true,
      apply: (current) => {
        const now = this.#doors.now();
        const entries: Entries = current === undefined ? new Map() : entriesOf(current);
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
        return recordOf(current, entries, now);
      },
    });
    return ending;
  }

  /** The entries whose sessions are over. One that isn't stored yet counts as live for a while. */
  async #deadIn(found: Loaded | undefined): Promise<Map<string, Entry>> {
    const entries: Entries = found === undefined ? new Map() : entriesOf(found.record);
    const dead: Entries = new Map();
    if (this.#bound.sessions === 0 && (entries.size === 0 || (entries.size % LOOK_EVERY > 0 && entries.size < MAX_SESSIONS)))
      return dead;
    const now = this.#doors.now();
    await eachOf([...entries], async ([name, entry]) => {
      // In their order: a session that moves meanwhile is then found in one place or the other.
      for (const key of entry.keys) {
        const there = await this.#doors.peek(key);
        if (there !== "ended" && (there !== "missing" || now - entry.at < SIGN_IN_MS)) return;
      }
      dead.set(name, entry);
    });
    return dead;
  }

  /** Gives an entry one more key; undefined: it is being ended. An entry that was lost, with its index, is made anew. */
  async #widen(index: Key, { key, record }: Loaded, to: Key): Promise<string | undefined> {
    let widened: string | undefined;
    const found = await this.#readable(index);
    await this.#doors.commit(index, found, {
      ...INDEX,
      mayCreate: true,
      overwrites: true,
      apply: (current) => {
        const now = this.#doors.now();
        const entries: Entries = current === undefined ? new Map() : entriesOf(current);
        const own = entryNameOf(key);
        const [name, entry] = [...entries].find(([, { keys }]) => keys.includes(key)) ?? [own, entries.get(own)];
        widened = entry?.ending ? undefined : name;
        if (current !== undefined && entry?.ending) return current;
        const { createdAt: at, absoluteAt } = record.header;
        const made = entry ?? { keys: [key], at, absoluteAt, address: "", agent: "", ending: false };
        entries.set(name, { ...made, keys: [...made.keys, to] });
        return recordOf(current, entries, now);
      },
    });
    return widened;
  }

  /** Whether a session that is stored by now may be told of. */
  async #stands(index: Key, name: string, key: Key): Promise<boolean> {
    const found = await this.#index(index);
    const entry = found && entriesOf(found.record).get(name);
    return entry !== undefined && !entry.ending && entry.keys.includes(key);
  }

  async #giveUp(index: Key, name: string, key: Key): Promise<void> {
    await this.#doors.end(key);
    await this.#strike(index, [name]);
  }

  async #strike(index: Key, names: readonly string[]): Promise<void> {
    if (names.length === 0) return;
    await this.#change(index, (entries) => {
      let isChanged = false;
      for (const name of names) if (entries.delete(name)) isChanged = true;
      return isChanged;
    });
  }

  /** Changes the entries that there are; without an index nothing is to be changed. `change`: whether it changed any. */
  async #change(index: Key, change: (entries: Entries) => boolean): Promise<void> {
    for (;;) {
      const found = await this.#index(index);
      if (found === undefined) return;
      const apply = (current = found.record) => {
        const entries = entriesOf(current);
        return change(entries) ? recordOf(current, entries, this.#doors.now()) : current;
      };
      const { outcome } = await this.#doors.commit(index, found, { ...INDEX, mayCreate: false, apply });
      // Else it went meanwhile, with all its sessions, and perhaps another one has come.
      if (outcome === "committed") return;
    }
  }

  /** One that can't be read must not keep a person from signing in: it is begun anew, unless other nodes can read it. */
  async #readable(index: Key): Promise<Loaded | undefined> {
    const found = await this.#doors.peek(index);
    return typeof found === "string" ? undefined : found;
  }

  async #index(index: Key): Promise<Loaded | undefined> {
    const found = await this.#doors.peek(index);
    if (found === "unreadable") {
      throw new AnynodeError(
        "RECORD_UNREADABLE",
        "The index of this person's sessions can't be read by this node. sessions.endEveryone() ends their sessions all the same.",
      );
    }
    return typeof found === "string" ? undefined : found;
  }

  async #sessionOf({ keys }: Entry): Promise<Loaded | undefined> {
    for (const key of keys.toReversed()) {
      const there = await this.#doors.peek(key);
      if (typeof there !== "string" && there.record.header.movedTo === "") return there;
    }
    return undefined;
  }

  #handleOf(id: string, { at, address, agent, keys }: Entry, loaded: Loaded, current: Key | undefined): Handle {
    const { version, idleAt, record } = loaded;
    const { idleMs, absoluteAt } = record.header;
    // Whoever wrote it used it; and whoever touched it set its deadline.
    const lastSeenAt = Math.min(Math.max(version, idleAt - idleMs), this.#doors.now());
    const isCurrent = current !== undefined && keys.includes(current);
    return {
      id,
      createdAt: at,
      lastSeenAt,
      expiresAt: idleAt,
      absoluteExpiresAt: absoluteAt,
      address,
      agent,
      current: isCurrent,
    };
  }
}

/** An index isn't copied by anybody, so nobody needs to be told of what becomes of it. */
const INDEX = { fresh: true, keeps: false } as const;

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
async function eachOf<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let from = 0; from < items.length; from += AT_ONCE) {
    results.push(...(await Promise.all(items.slice(from, from + AT_ONCE).map(work))));
  }
  return results;
}
