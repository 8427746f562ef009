/**
 * The read path, in its order: a copy that this node may trust; a reading of the same key that is under way; the engine. What comes from
 * the engine is judged, then kept. A session that goes on under another key is found there.
 */
import type { Copies } from "./cache/copies.js";
import type { KeyCache } from "./cache/key-cache.js";
import type { Reading, Ticket } from "./cache/tickets.js";
import type { Engine, Found, Gone, MaybePromise, Same } from "./engines/engine.js";
import { AnynodeError } from "./errors.js";
import type { Judge } from "./judge.js";
import type { Key, Sid } from "./names.js";
import { closed, type Presence } from "./presence.js";
import type { Watermark } from "./registry/watermark.js";
import { unreadable } from "./session/codec.js";
import { isSid } from "./session/id.js";
import type { Loaded } from "./session/record.js";
import { isUserKey } from "./session/user-key.js";

/** More moves in a row than an old id's grace has room for. */
export const MAX_HOPS = 8;

export class ReadPath {
  readonly #engine: Engine;
  readonly #copies: Copies;
  readonly #keys: KeyCache;
  readonly #judge: Judge;
  readonly #watermark: Watermark;
  readonly #presence: Presence;

  constructor(engine: Engine, copies: Copies, keys: KeyCache, judge: Judge, watermark: Watermark, presence: Presence) {
    this.#engine = engine;
    this.#copies = copies;
    this.#keys = keys;
    this.#judge = judge;
    this.#watermark = watermark;
    this.#presence = presence;
  }

  /** See Sessions. */
  load(sid: string): MaybePromise<Loaded | undefined> {
    if (!isSid(sid)) return undefined;
    if (!this.#presence.isOpen) return this.#presence.ready().then(() => this.load(sid));
    if (!this.#watermark.isRecent) return this.#watermark.look().then(() => this.load(sid));
    const found = this.at(this.#keys.keyOf(sid));
    if (found instanceof Promise) return found.then((loaded) => this.#here(loaded));
    return this.#here(found);
  }

  /** What is under a key, wherever it is known from. */
  at(key: Key): MaybePromise<Loaded | undefined> {
    return this.#copies.copy(key) ?? this.#join(key) ?? this.#ask(key);
  }

  /** Shares a fill under way. One that doesn't count (no room to write it down) proves nothing to those who came after it was sent. */
  #join(key: Key): Promise<Loaded | undefined> | undefined {
    const filling = this.#copies.joinable(key);
    return filling?.then(({ loaded, counts }) => (counts || loaded === undefined ? loaded : this.#ask(key)));
  }

  /** Asks the engine: for the whole record, or, of one that was read before, whether it has changed. */
  #ask(key: Key): MaybePromise<Loaded | undefined> {
    this.#copies.counts.asked += 1;
    const known = this.#copies.known(key);
    const ticket = this.#copies.ticket(key);
    if (ticket !== undefined) {
      const filling = this.#fill(key, known, ticket);
      this.#copies.share(ticket, filling);
      return filling.then(({ loaded }) => loaded);
    }
    const reply = this.#engine.read(key, known?.version);
    // The local engines answer at once; a promise is made only where there is something to say besides.
    if (!(reply instanceof Promise)) {
      try {
        return this.#found(key, known, reply);
      } catch (error) {
        return Promise.reject(error);
      }
    }
    return reply.then(
      (read) => this.#found(key, known, read),
      (error) => this.#foreign(key, error),
    );
  }

  /** Asks, and has the engine write down that this node has a copy from now on. */
  async #fill(key: Key, known: Loaded | undefined, ticket: Ticket): Promise<Reading> {
    try {
      const filled = await this.#engine.fill?.(key, ticket, known?.version).catch((error) => this.#foreign(key, error));
      if (filled === undefined) return { loaded: undefined, counts: false };
      const { read, counts } = filled;
      return { loaded: this.#found(key, known, read, ticket, counts), counts };
    } finally {
      this.#copies.close(ticket);
    }
  }

  #found(key: Key, known: Loaded | undefined, read: Found | Same | Gone, ticket?: Ticket, counts = false): Loaded | undefined {
    if (read.outcome === "gone") return undefined;
    const { version, idleAt } = read;
    const loaded =
      read.outcome === "found"
        ? this.#judge.readable(key, read)
        : known && this.#judge.unexpired({ key, version, idleAt, record: known.record });
    if (loaded === undefined) return undefined;
    if ("outcome" in loaded) throw unreadable(loaded);
    // What another node extended meanwhile is news too.
    if (read.outcome === "found" || counts || known?.idleAt !== idleAt) this.#copies.keep(loaded, ticket, counts);
    return loaded;
  }

  /** A value whose very layout the engine doesn't know is like a record of a newer format: no session here, not an error for ever. */
  #foreign(key: Key, error: unknown): undefined {
    if (!(error instanceof AnynodeError) || error.code !== "RECORD_UNREADABLE") throw error;
    this.#judge.report(key, "unknown");
  }

  /** A session that goes on under another key is found there, for as long as its old id leads to it. */
  #here(loaded: Loaded | undefined, hops = 0): MaybePromise<Loaded | undefined> {
    const to = loaded?.record.header.movedTo ?? "";
    if (to === "") return loaded;
    if (hops >= MAX_HOPS) return undefined;
    const found = this.at(to);
    if (found instanceof Promise) return found.then((next) => this.#here(next, hops + 1));
    return this.#here(found, hops + 1);
  }

  /** What is stored under a key now, past all copies. */
  async peek(key: Key): Promise<Loaded | "unreadable" | "ended" | "missing"> {
    const read = await this.#engine.read(key);
    if (read.outcome === "gone") return read.ended ? "ended" : "missing";
    if (read.outcome === "same") return "unreadable";
    const seen = this.#judge.seen(key, read);
    if ("outcome" in seen) return "unreadable";
    return this.#judge.isOver(seen) ? "ended" : (this.#judge.unexpired(seen) ?? "missing");
  }

  /** See Sessions. */
  async *list(): AsyncGenerator<Loaded> {
    if (!this.#presence.isOpen) await this.#presence.ready();
    for await (const listed of this.#engine.list()) {
      if (isUserKey(listed.key)) continue;
      const loaded = this.#judge.readable(listed.key, listed);
      if (loaded !== undefined && !("outcome" in loaded) && loaded.record.header.movedTo === "") yield loaded;
    }
  }

  /** The key of an id. Throws for one that isn't well-formed, and once the sessions are closed. */
  keyOf(sid: string): Key {
    if (this.#presence.isClosed) throw closed();
    if (!isSid(sid)) throw new AnynodeError("ID_MALFORMED", "A session id must be a well-formed string of 1–256 bytes.");
    return this.#keys.keyOf(sid);
  }

  /** Where the session of an id is by now: it may have moved (`rotate`). */
  async keyNow(sid: string): Promise<Key> {
    return (await this.load(sid))?.key ?? this.keyOf(sid);
  }

  /** See Sessions. */
  isCurrent(sid: Sid, loaded: Loaded): boolean {
    return this.#keys.keyOf(sid) === loaded.key;
  }
}
