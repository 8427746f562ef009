/**
 * People's sessions: who is signed in where. Of each person there is an index (indexes.ts) with an entry a session.
 * The invariant: a session that somebody can use is in its person's index. It is entered before it is stored, and taken out only once it
 * is over; whoever wants it to end marks the entry first, and a sign-in or move under way that then finds its entry marked, or gone, ends
 * what it has just stored before anybody hears of its id. So each sign-in is before an `endAll`, or after it, never half.
 */
import type { CommitOutcome } from "./commits.js";
import type { Reach } from "./ends.js";
import { type Bound, type Entrance, eachOf, Indexes, type Records } from "./indexes.js";
import type { Key } from "./names.js";
import { type Entry, entriesOf } from "./session/entry.js";
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

const NOWHERE: Reach = { closed: 0, pending: [], nodes: 0 };

/** What this needs of Sessions. */
export interface Doors extends Records {
  /** Ends the session of a key, on all nodes, be it that nothing is stored there yet. */
  end(key: Key): Promise<Reach & { readonly ended: boolean }>;
}

export class People {
  readonly #doors: Doors;
  readonly #namespace: string;
  readonly #indexes: Indexes;

  constructor(doors: Doors, namespace: string, bound: Bound) {
    this.#doors = doors;
    this.#namespace = namespace;
    this.#indexes = new Indexes(doors, bound);
  }

  /**
   * Enters a session, has it stored, and makes sure that it wasn't ended meanwhile: then the outcome is `gone`. Rejects with
   * TOO_MANY_SESSIONS, before anything is stored, where the bound refuses; else the oldest are over before `store` runs.
   */
  async signIn(entrance: Entrance, store: () => Promise<CommitOutcome>): Promise<CommitOutcome> {
    const index = userKeyOf(entrance.user, this.#namespace);
    const name = entryNameOf(entrance.key);
    const ending = await this.#indexes.enter(index, name, entrance);
    try {
      await this.#endAll(ending);
      const outcome = await store();
      if (outcome.outcome === "committed" && (await this.#indexes.stands(index, name, entrance.key))) return outcome;
      if (outcome.outcome === "committed") await this.#giveUp(index, name, entrance.key);
      else await this.#indexes.strike(index, [name]);
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
    const name = await this.#indexes.widen(index, from, to);
    if (name === undefined) return { outcome: "gone", ended: true };
    const outcome = await store();
    const isStored = outcome.outcome === "committed" && outcome.loaded.key === to;
    const stands = isStored && (await this.#indexes.stands(index, name, to));
    if (isStored && !stands) await this.#doors.end(to);
    const over = stands ? from.key : to;
    await this.#indexes.change(index, (entries) => {
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
    const found = await this.#indexes.found(index);
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
    await this.#indexes.change(index, (entries) => {
      picked = [...entries].filter(([name, entry]) => picks(name, entry));
      for (const [name, entry] of picked) entries.set(name, { ...entry, ending: true });
      return picked.length > 0;
    });
    const reach = await this.#endAll(picked.map(([, entry]) => entry));
    await this.#indexes.strike(
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

  async #giveUp(index: Key, name: string, key: Key): Promise<void> {
    await this.#doors.end(key);
    await this.#indexes.strike(index, [name]);
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
