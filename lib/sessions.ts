/**
 * Sessions: open, load, save, end. Everything that a front end asks for, told in order: the read path, then the write path.
 * Data flows one way: front end → here → engine. All policy is here and in session/; an engine only compares, swaps and keeps time.
 */
import { Copies, type CopyCounts, type Writing } from "./cache/copies.js";
import { KeyCache } from "./cache/key-cache.js";
import type { Reading, Ticket } from "./cache/tickets.js";
import { Touches } from "./cache/touches.js";
import { type Clock, EngineClock } from "./clock.js";
import { type CommitOutcome, Commits, type Wish } from "./commits.js";
import { Ends, type Reach } from "./ends.js";
import type { Engine, Found, Gone, Holder, Listed, MaybePromise, Same, Waiting } from "./engines/engine.js";
import { AnynodeError } from "./errors.js";
import { type EventMap, type EventName, Events } from "./events.js";
import type { Key, Sid } from "./names.js";
import type { Settings } from "./options.js";
import { type Handle, People } from "./people.js";
import { Connections } from "./registry/connections.js";
import type { Dispose, Hold, HoldOptions } from "./registry/hold.js";
import { BEAT_MS, Registry } from "./registry/registry.js";
import { attachSocket, type Socket } from "./registry/socket.js";
import { Watermark } from "./registry/watermark.js";
import { type AttributeTexts, type Changes, changesOfView, viewOf } from "./session/attributes.js";
import { type Client, changedSince, digestOf, recordedOf } from "./session/client.js";
import { Codec, type Unreadable, unreadable } from "./session/codec.js";
import { isRandomSid, isSid, sharesTag } from "./session/id.js";
import { Keyring } from "./session/keyring.js";
import { merge } from "./session/merge.js";
import { deadlinesOf, type Header, idleAtOf, type Loaded, NOBODY, type SessionRecord, touchIsDue } from "./session/record.js";
import { checkUser, isUserKey } from "./session/user-key.js";
import { VERSION } from "./version.js";
import { visitorOf } from "./visitor.js";

/** How long a session of somebody who signed in lives at the most, if the options don't say; under native front ends, any session. */
const ABSOLUTE_MS = 30 * 86_400_000;
/** When a session began that comes from elsewhere. Not 0: no watermark was ever raised that low. */
const LONG_AGO = 1;
/** More moves in a row than an old id's grace has room for. */
const MAX_HOPS = 8;

/** What a front end may say of a session besides its attributes; what it leaves out stays. */
export interface HeaderPatch {
  /** The idle timeout; "default" = that of the options. */
  readonly idleMs?: number | "default";
  readonly cookie?: string;
  /** A session that begins has an absolute deadline: that of the options, or 30 days. */
  readonly isBounded?: boolean;
}

/** A sign-in, as a front end has worked it out. */
export interface SignIn {
  readonly user: string;
  /** What of the session is carried over. */
  readonly attributes: AttributeTexts;
  readonly patch?: HeaderPatch;
  /** How long the session lives at the most. Default: as the options say, or 30 days. */
  readonly absoluteMs?: number | undefined;
  readonly client?: Client;
}

export interface EndResult extends Reach {
  /** This call ended a live session; false if it was over already, or never was. */
  readonly ended: boolean;
  /** Whether as many replicas have it as the engine's `durability` asks for; absent without that option. */
  readonly durable?: boolean;
}

export type UpdateOutcome<T> = { readonly outcome: "committed"; readonly value: T } | { readonly outcome: "gone" };

export class Sessions {
  /** Who is alive, at which address; and this node's own state. */
  readonly registry: Registry;
  /** What records are sealed with: `replace()` rotates keys at run time, `primary` is the one that seals now. */
  readonly keyring: Keyring;
  readonly #engine: Engine;
  readonly #owned: boolean;
  readonly #settings: Settings;
  readonly #engineClock: EngineClock;
  readonly #events = new Events();
  readonly #codec: Codec;
  readonly #commits: Commits;
  readonly #keys: KeyCache;
  readonly #copies: Copies;
  readonly #connections: Connections;
  readonly #ends: Ends;
  readonly #people: People;
  readonly #watermark: Watermark;
  readonly #touches = new Touches();
  /** By key and version: a touch of an older version would do nothing for a newer one. */
  readonly #touching = new Map<string, Promise<CommitOutcome>>();
  readonly #reported = new Set<string>();
  #state: "new" | "open" | "closed" = "new";
  #opening: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  #cancelRetry: () => void = () => {};

  /** @internal Made by `anynode()`. `owned`: the engine is ours to close. */
  constructor(engine: Engine, owned: boolean, settings: Settings) {
    const { clock, name, address, reads, keyring, maxBytes, deadlineMs } = settings;
    this.#engine = engine;
    this.#owned = owned;
    this.#settings = settings;
    this.#engineClock = new EngineClock(clock);
    this.#keys = new KeyCache(engine.namespace);
    this.#copies = new Copies(engine, clock, this.#engineClock, reads);
    // What a revoked key sealed isn't served from memory either.
    this.keyring = new Keyring(keyring, () => this.#copies.clear());
    this.#codec = new Codec(maxBytes, engine.namespace, this.keyring);
    this.#commits = new Commits(engine, clock, this.#engineClock, this.#copies, this.#codec, deadlineMs);
    this.#people = new People(
      {
        peek: (key) => this.#peek(key),
        commit: (key, loaded, wish) => this.#commit(key, loaded, wish),
        end: (key) => this.#end(key),
        now: () => this.#engineClock.earliest(),
      },
      engine.namespace,
      { sessions: settings.maxPerUser, over: settings.overMax },
    );
    const about = { name, address, version: VERSION, reads: this.#copies.mode };
    this.#watermark = new Watermark(engine, clock, () => this.#copies.clear());
    const clocks = [clock, this.#engineClock] as const;
    this.registry = new Registry(engine, ...clocks, this.#events, this.#copies, about, this.keyring, this.#watermark);
    this.registry.holdersOf = async (sid) => (isSid(sid) ? this.#engine.holders(await this.#keyNow(sid)) : []);
    this.#connections = new Connections(engine, clock, this.#engineClock, {
      identity: () => this.registry.identity,
      run: () => this.#copies.run,
      listen: () => this.#copies.listen(),
      extend: (key) => this.#extend(key),
      failed: (error) => this.#events.emit("dispose-failed", { error }),
    });
    this.#copies.onEnded = (key) => this.#connections.ended(key);
    this.#ends = new Ends(engine, this.#copies, this.#connections, this.registry);
    this.#copies.onMode = (mode, why) => {
      this.registry.sayReads(mode);
      this.#events.emit("reads", { mode, why });
    };
    // A node announces itself even before its first request. Whoever wants to know how that went asks ready().
    this.#cancelRetry = clock.after(0, () => this.#keepOpening());
  }

  /** Resolves when the engine answers and this node has joined the registry; rejects with what is in the way, and the cure. */
  ready(): Promise<void> {
    // Nobody would ever close what is opened from now on.
    if (this.#closing !== undefined) return Promise.reject(closed());
    this.#opening ??= this.#open();
    return this.#opening;
  }

  on<N extends EventName>(name: N, listener: (event: EventMap[N]) => void): this {
    this.#events.on(name, listener);
    return this;
  }
  off<N extends EventName>(name: N, listener: (event: EventMap[N]) => void): this {
    this.#events.off(name, listener);
    return this;
  }

  /** Whether the engine answers reads at once (memory, LMDB), or by a round trip. */
  get local(): boolean {
    return this.#engine.local === true;
  }

  /** @internal For what front ends wait for besides the engine. */
  get clock(): Clock {
    return this.#settings.clock;
  }
  /** @internal */
  get deadlineMs(): number {
    return this.#settings.deadlineMs;
  }

  /** How sessions were read so far, and what this node's copies cost: for metrics. `mode`: from copies on lease, or by asking each time. */
  get reads(): Readonly<CopyCounts> & { readonly mode: "leased" | "checked"; readonly entries: number; readonly bytes: number } {
    const { mode, size, bytes } = this.#copies;
    return { ...this.#copies.counts, mode, entries: size, bytes };
  }

  // ── The read path ─────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * The session of an id, as of now; undefined if there is none: never was, expired, ended, or unreadable (see the event `unreadable`).
   * An id that isn't well-formed costs nothing. Rejects if the engine doesn't answer, or if this node lacks the key that the record was
   * sealed with (RECORD_UNREADABLE): never "no session" in place of a real one.
   */
  load(sid: string): MaybePromise<Loaded | undefined> {
    if (!isSid(sid)) return undefined;
    if (this.#state !== "open") return this.ready().then(() => this.load(sid));
    if (!this.#watermark.isRecent) return this.#watermark.look().then(() => this.load(sid));
    const found = this.#at(this.#keys.keyOf(sid));
    if (found instanceof Promise) return found.then((loaded) => this.#here(loaded));
    return this.#here(found);
  }

  #at(key: Key): MaybePromise<Loaded | undefined> {
    return this.#copies.copy(key) ?? this.#join(key) ?? this.#ask(key);
  }

  /** Shares a fill under way. One that doesn't count (no room to write it down) proves nothing to those who came after it was sent. */
  #join(key: Key): Promise<Loaded | undefined> | undefined {
    const filling = this.#copies.joinable(key);
    return filling?.then(({ loaded, counts }) => (counts || loaded === undefined ? loaded : this.#ask(key)));
  }

  /** A session that goes on under another key is found there, for as long as its old id leads to it. */
  #here(loaded: Loaded | undefined, hops = 0): MaybePromise<Loaded | undefined> {
    const to = loaded?.record.header.movedTo ?? "";
    if (to === "") return loaded;
    if (hops >= MAX_HOPS) return undefined;
    const found = this.#at(to);
    if (found instanceof Promise) return found.then((next) => this.#here(next, hops + 1));
    return this.#here(found, hops + 1);
  }

  /** Whether an id is the present one of the session that it leads to: an old one is never given out again. */
  isCurrent(sid: Sid, loaded: Loaded): boolean {
    return this.#keys.keyOf(sid) === loaded.key;
  }

  /** What is stored under a key now, past all copies. */
  async #peek(key: Key): Promise<Loaded | "unreadable" | "ended" | "missing"> {
    const read = await this.#engine.read(key);
    if (read.outcome === "gone") return read.ended ? "ended" : "missing";
    if (read.outcome === "same") return "unreadable";
    const decoded = this.#codec.decode(read.body, key);
    if (decoded.outcome !== "record") return "unreadable";
    const loaded = { key, version: read.version, idleAt: read.idleAt, record: decoded.record };
    return this.#isOver(loaded) ? "ended" : (this.#unexpired(loaded) ?? "missing");
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
        ? this.#readable(key, read)
        : known && this.#unexpired({ key, version, idleAt, record: known.record });
    if (loaded === undefined) return undefined;
    if ("outcome" in loaded) throw unreadable(loaded);
    // What another node extended meanwhile is news too.
    if (read.outcome === "found" || counts || known?.idleAt !== idleAt) this.#copies.keep(loaded, ticket, counts);
    return loaded;
  }

  /** A value whose very layout the engine doesn't know is like a record of a newer format: no session here, not an error for ever. */
  #foreign(key: Key, error: unknown): undefined {
    if (!(error instanceof AnynodeError) || error.code !== "RECORD_UNREADABLE") throw error;
    this.#reportUnreadable(key, "unknown");
  }

  /** How long a loaded session has yet to live if nobody touches it, in ms; coalesced touches of this node count. */
  remainingMs({ key, version, idleAt }: Loaded): number {
    return this.#touches.idleAt(key, version, idleAt) - this.#engineClock.latest();
  }

  /** How long it lives from now, in ms, if this request extends it, and at the most; Infinity = there is no absolute deadline. */
  livesMs({ record: { header } }: Loaded): { readonly idleMs: number; readonly absoluteMs: number } {
    const now = this.#engineClock.latest();
    const absoluteMs = header.absoluteAt > 0 ? header.absoluteAt - now : Number.POSITIVE_INFINITY;
    return { idleMs: idleAtOf(header, now) - now, absoluteMs };
  }

  /** How long ago the person showed last who they are, in ms, at the longest; Infinity = nobody is signed in. */
  sinceSignInMs({ record: { header } }: Loaded): number {
    return header.authenticatedAt > 0 ? this.#engineClock.latest() - header.authenticatedAt : Number.POSITIVE_INFINITY;
  }

  /**
   * Which of the properties that were recorded at sign-in the client of a request doesn't have any more. Told by event, too, once a
   * session on this node; what to do about it is the application's say.
   */
  clientChanges({ key, record: { header } }: Loaded, client: Client): readonly ("address" | "agent")[] {
    if (header.client === "") return [];
    const changed = changedSince(header.client, recordedOf(client, this.#settings.record));
    if (changed.length > 0 && this.#isNews(`client ${key}`)) this.#events.emit("client-changed", { changed });
    return changed;
  }

  /** All live sessions that this node can read, in no order. */
  async *list(): AsyncGenerator<Loaded> {
    if (this.#state !== "open") await this.ready();
    for await (const listed of this.#engine.list()) {
      if (isUserKey(listed.key)) continue;
      const loaded = this.#readable(listed.key, listed);
      if (loaded !== undefined && !("outcome" in loaded) && loaded.record.header.movedTo === "") yield loaded;
    }
  }

  /**
   * Bytes from the engine are judged, not trusted. What can't be read counts as no session, is reported once, and left as it is; what only
   * this node can't read, for lack of a key, comes back as that.
   */
  #readable(key: Key, { version, idleAt, body }: Omit<Found, "outcome"> | Listed): Loaded | Unreadable | undefined {
    const decoded = this.#codec.decode(body, key);
    if (decoded.outcome !== "record") {
      this.#reportUnreadable(`${key}${version}`, decoded.outcome);
      return decoded.outcome === "key-missing" ? decoded : undefined;
    }
    return this.#unexpired({ key, version, idleAt, record: decoded.record });
  }

  #unexpired(loaded: Loaded): Loaded | undefined {
    const { absoluteAt } = loaded.record.header;
    if (this.#isOver(loaded)) return undefined;
    return absoluteAt > 0 && this.#engineClock.latest() >= absoluteAt ? undefined : loaded;
  }

  /** Whether everyone's sessions were ended since this one began. */
  #isOver({ key, record }: Loaded): boolean {
    return this.#watermark.covers(record.header.createdAt) && !isUserKey(key);
  }

  // ── The write path ────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Stores what a request changed: merged, attribute by attribute, with whatever others stored meanwhile. Nothing changed = a touch.
   * `gone`: the session ended or expired; nothing was stored and nothing comes back. Rejects with CONFLICT under `conflict: "reject"`.
   */
  save(loaded: Loaded, changes: Changes, patch: HeaderPatch = {}): MaybePromise<CommitOutcome> {
    if (this.#isOver(loaded)) return this.#settled(loaded.key, { outcome: "gone", ended: true });
    const { header } = loaded.record;
    const same = changes.size === 0 && this.#patched(header, patch) === header;
    return same ? this.touch(loaded) : this.#save(loaded, changes, patch);
  }

  async #save(loaded: Loaded, changes: Changes, patch: HeaderPatch): Promise<CommitOutcome> {
    if (this.#state === "closed") throw closed();
    let conflicts: readonly string[] = [];
    const outcome = await this.#commit(loaded.key, loaded, {
      mayCreate: false,
      apply: (current = loaded.record) => {
        const merged = merge(current.attributes, changes, this.#settings.conflict);
        conflicts = merged.conflicts;
        return { header: this.#patched(current.header, patch), attributes: merged.attributes };
      },
    });
    if (outcome.outcome === "committed" && conflicts.length > 0) this.#events.emit("conflict", { attributes: conflicts });
    return this.#settled(loaded.key, outcome);
  }

  /** Commits where the session is by now. */
  async #commit(key: Key, loaded: Loaded | undefined, wish: Wish): Promise<CommitOutcome> {
    let outcome = await this.#commits.commit(key, loaded, wish);
    for (let hops = 0; outcome.outcome === "moved"; hops++) {
      const next = hops < MAX_HOPS ? await this.#peek(outcome.to) : "missing";
      if (next === "unreadable") throw unreadable({ outcome: "damaged" });
      if (typeof next === "string") return { outcome: "gone", ended: next === "ended" };
      outcome = await this.#commits.commit(next.key, next, wish);
    }
    return outcome;
  }

  /** Stores a first session under an id that was made just now. */
  create(sid: string, attributes: AttributeTexts, patch: HeaderPatch = {}): Promise<CommitOutcome> {
    return this.#put(sid, attributes, patch, isRandomSid(sid));
  }

  /** Stores a whole session under an id, in place of what is there. `gone` only if the session of this id was ended. */
  replace(sid: string, attributes: AttributeTexts, patch: HeaderPatch = {}): Promise<CommitOutcome> {
    return this.#put(sid, attributes, patch, false);
  }

  /**
   * Stores a session that comes from elsewhere, if there is none of that id; gives what is stored then. Undefined: it was ended here, or
   * everyone's sessions were. When it began nobody knows; that counts as before any `endEveryone`.
   */
  async adopt(sid: string, attributes: AttributeTexts, patch: HeaderPatch = {}): Promise<Loaded | undefined> {
    const key = this.#keyOf(sid);
    if (this.#state !== "open") await this.ready();
    const outcome = await this.#commit(key, undefined, {
      mayCreate: true,
      apply: (current) => {
        if (current !== undefined) return current;
        const header = { ...this.#freshHeader(this.#settings.absoluteMs || ABSOLUTE_MS), createdAt: LONG_AGO };
        return { header: this.#patched(header, patch), attributes };
      },
    });
    if (outcome.outcome !== "committed") return undefined;
    if (!this.#watermark.isRecent) await this.#watermark.look();
    return this.#isOver(outcome.loaded) ? undefined : outcome.loaded;
  }

  async #put(sid: string, attributes: AttributeTexts, patch: HeaderPatch, fresh: boolean): Promise<CommitOutcome> {
    const key = this.#keyOf(sid);
    if (this.#state !== "open") await this.ready();
    const outcome = await this.#commit(key, undefined, {
      mayCreate: true,
      fresh,
      apply: (current) => {
        const isOver = current === undefined || this.#watermark.covers(current.header.createdAt);
        const header = isOver
          ? this.#freshHeader(this.#settings.absoluteMs || (patch.isBounded ? ABSOLUTE_MS : 0))
          : current.header;
        return { header: this.#patched(header, patch), attributes };
      },
    });
    return this.#settled(key, outcome);
  }

  /** @internal A front end tells that a request changed its session after the first byte of its response. */
  reportLate(event: EventMap["late-change"]): void {
    this.#events.emit("late-change", event);
  }

  /**
   * An atomic read-modify-write: `fn` changes the attributes it is given, and nobody's change comes between. It may run again on
   * a newer state, so it must be synchronous and pure. What it throws comes back, with nothing stored. Resolves with what it returned.
   */
  async update<T>(sid: string, fn: (attributes: Record<string, unknown>) => T): Promise<UpdateOutcome<T>> {
    const loaded = await this.load(sid);
    if (loaded === undefined) return { outcome: "gone" };
    let value: { readonly is: T } | undefined;
    const outcome = await this.#commit(loaded.key, loaded, {
      mayCreate: false,
      apply: (current = loaded.record) => {
        const view = viewOf(current.attributes);
        value = { is: fn(view) };
        if (value.is instanceof Promise) {
          value.is.catch(() => {});
          throw new AnynodeError("OPTION_INVALID", "The function given to update() returned a promise; it must be synchronous.");
        }
        const changes = changesOfView(current.attributes, view);
        if (changes.size === 0) return current;
        return { header: current.header, attributes: merge(current.attributes, changes, "last").attributes };
      },
    });
    await this.#settled(loaded.key, outcome);
    return outcome.outcome === "committed" && value !== undefined
      ? { outcome: "committed", value: value.is }
      : { outcome: "gone" };
  }

  /** Extends the idle deadline. Coalesced: written only once it lags by a tenth of the idle timeout, 60 s at the most; until then done at once. */
  touch(loaded: Loaded): MaybePromise<CommitOutcome> {
    if (this.#state === "closed") return Promise.reject(closed());
    if (this.#isOver(loaded)) return this.#settled(loaded.key, { outcome: "gone", ended: true });
    const { header } = loaded.record;
    const now = this.#engineClock.latest();
    if (!touchIsDue(header, loaded.idleAt, now)) {
      this.#touches.remember(loaded, idleAtOf(header, now));
      return { outcome: "committed", loaded };
    }
    const which = `${loaded.key}${loaded.version}`;
    const underWay = this.#touching.get(which);
    if (underWay !== undefined) return underWay;
    const touching = this.#touchNow(loaded).finally(() => this.#touching.delete(which));
    this.#touching.set(which, touching);
    return touching;
  }

  async #touchNow(loaded: Loaded): Promise<CommitOutcome> {
    const { key, version, record } = loaded;
    const sentAt = this.#settings.clock.monotonic();
    const touched = await this.#engine.touch(key, version, deadlinesOf(record.header));
    if (touched.outcome === "gone") return this.#settled(key, { outcome: "gone", ended: touched.ended });
    // Whoever wrote a newer version set its deadline at that time, by its own idle timeout: as good as our touch.
    if (touched.outcome === "moved") return { outcome: "committed", loaded };
    this.#engineClock.observe(sentAt, this.#settings.clock.monotonic(), touched.now);
    this.#touches.forget(key);
    this.#copies.extended(key, version, touched.idleAt);
    return { outcome: "committed", loaded: { ...loaded, idleAt: touched.idleAt } };
  }

  /**
   * Ends a session, for good: once this has resolved no node starts serving it, no slow request, touch or retry brings it back, and what was
   * live of it (see `hold`) is closed, but on nodes that are told of as `pending`. May be repeated; ending what isn't there does no harm.
   */
  async end(session: string | Pick<Handle, "id">): Promise<EndResult> {
    const key = typeof session === "string" ? this.#keyOf(session) : undefined;
    if (this.#state !== "open") await this.ready();
    return typeof session === "object" ? this.#people.end(session.id) : this.#end(key ?? this.#keyOf(session));
  }

  /** A person's live sessions, for a page that lists their devices. `current`: the id of the session that is asking. */
  async of(user: string, { current }: { readonly current?: string | undefined } = {}): Promise<Handle[]> {
    checkUser(user);
    if (this.#state !== "open") await this.ready();
    return this.#people.of(user, await this.#whereIs(current));
  }

  /**
   * Ends all sessions of a person, but the one of the id `except`: after a change of the password, or to lock an account out. Once it has
   * resolved none that existed before is served anywhere. A sign-in at the same time is before it, and rejects, or after it, never half.
   */
  async endAll(
    user: string,
    { except }: { readonly except?: string | undefined } = {},
  ): Promise<Reach & { readonly ended: number }> {
    checkUser(user);
    if (this.#state !== "open") await this.ready();
    return this.#people.endAll(user, await this.#whereIs(except));
  }

  /**
   * Ends every session of the fleet, signed in or not: after a breach. One write, however many there are; resolves once no node serves
   * any of them any more, which takes a lease (2.4 s). Sessions that begin meanwhile live.
   */
  async endEveryone(): Promise<void> {
    if (this.#state !== "open") await this.ready();
    await this.#watermark.raise();
  }

  async #whereIs(sid: string | undefined): Promise<Key | undefined> {
    return sid === undefined ? undefined : this.#keyNow(sid);
  }

  /** Ends a session that was listed. */
  async endListed(loaded: Loaded): Promise<EndResult> {
    if (this.#state === "closed") throw closed();
    return this.#end(loaded.key);
  }

  async #end(key: Key): Promise<EndResult> {
    this.#touches.forget(key);
    const writing = this.#copies.writing(key, false);
    const { outcome, now, waitFor, holders, was, durable } = await this.#sent(writing, this.#engine.end(key, writing.by));
    // Its old id led to a session: that is what was meant.
    const to = was === undefined ? "" : this.#movedTo(was, key);
    const over = this.#over(writing, now, now, waitFor, holders);
    const [there, reach] = await Promise.all([to === "" ? undefined : this.#end(to), over]);
    return there ?? { ended: outcome === "ended", ...reach, ...(durable === undefined ? {} : { durable }) };
  }

  #movedTo(body: Buffer, key: Key): Key | "" {
    const decoded = this.#codec.decode(body, key);
    return decoded.outcome === "record" ? decoded.record.header.movedTo : "";
  }

  /** A failed write is unknown: it may still run. */
  async #sent<T>(writing: Writing, work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      this.#copies.unknown(writing);
      this.#connections.doubt(writing.key);
      throw error;
    }
  }

  /** The session of that key ended: resolves once no node serves it from memory any more, and what was live of it is closed. */
  #over(writing: Writing, version: number, now: number, waitFor: readonly Waiting[], holders: readonly Holder[]): Promise<Reach> {
    this.#engineClock.observe(writing.sentAt, this.#settings.clock.monotonic(), now);
    return this.#ends.everywhere(writing, version, waitFor, holders);
  }

  /**
   * Ends the session of `from`, which was `loaded`, and stores `attributes` under `to`: one atomic step if `to` was made by
   * `makeSid(from)`, else end, then insert. `gone`: the session ended or expired meanwhile, and nothing is stored.
   */
  async regenerate(
    from: Sid,
    loaded: Loaded,
    to: Sid,
    attributes: AttributeTexts,
    patch: HeaderPatch = {},
  ): Promise<CommitOutcome> {
    const record = { header: this.#patched(loaded.record.header, patch), attributes };
    return this.#inPlace(loaded, to, () => this.#move(from, loaded, to, () => record));
  }

  /**
   * Gives the session a new id and leaves the old one valid for `graceMs`: whoever comes with it, e.g. a request that was under way, reads
   * and writes the same session. Of two at once one moves it, and both give where it is. Not for sign-ins, where whoever knew the old id must be left behind: see `login`.
   */
  async rotate(from: Sid, loaded: Loaded, to: Sid, graceMs: number, patch: HeaderPatch = {}): Promise<CommitOutcome> {
    // Whatever others have stored meanwhile goes along.
    const asItIs = ({ header, attributes }: SessionRecord) => ({ header: this.#patched(header, patch), attributes });
    return this.#inPlace(loaded, to, () => this.#move(from, loaded, to, asItIs, graceMs));
  }

  /**
   * A person signs in: a new session under `to`, and the end of `from`, which was `loaded`, if there was one: whoever knew its id is left
   * behind. Of what it held only `attributes` go along. Resolves once the old one is dead everywhere and the new one is in the person's
   * index. `gone`: the session ended meanwhile, or the person's sessions were (`endAll`). Rejects with TOO_MANY_SESSIONS (`maxPerUser`).
   */
  async login(from: Sid | undefined, loaded: Loaded | undefined, to: Sid, signIn: SignIn): Promise<CommitOutcome> {
    const { attributes, patch = {}, client = {}, absoluteMs } = signIn;
    const user = checkUser(signIn.user);
    const key = this.#keyOf(to);
    if (this.#state !== "open") await this.ready();
    const recorded = recordedOf(client, this.#settings.record);
    const fresh = this.#patched(this.#freshHeader(absoluteMs ?? (this.#settings.absoluteMs || ABSOLUTE_MS)), patch);
    const header = { ...fresh, user, authenticatedAt: fresh.createdAt, client: digestOf(recorded) };
    const record = { header, attributes };
    const entrance = { user, key, from: loaded?.key, absoluteAt: header.absoluteAt, ...recorded };
    return this.#people.signIn(entrance, () => {
      if (from !== undefined && loaded !== undefined) return this.#move(from, loaded, to, () => record);
      return this.#commit(key, undefined, { mayCreate: true, fresh: isRandomSid(to), apply: () => record });
    });
  }

  /** A session of somebody goes on in the same place of their index. */
  #inPlace(loaded: Loaded, to: Sid, store: () => Promise<CommitOutcome>): Promise<CommitOutcome> {
    const { user } = loaded.record.header;
    return user === "" ? store() : this.#people.move(user, loaded, this.#keyOf(to), store);
  }

  /** `recordOf`: what is stored under `to`, made from what `from` holds at last. */
  async #move(
    from: Sid,
    start: Loaded,
    to: Sid,
    recordOf: (current: SessionRecord) => SessionRecord,
    graceMs = 0,
  ): Promise<CommitOutcome> {
    const key = this.#keyOf(to);
    let loaded = start;
    if (!sharesTag(from, to)) {
      const { ended } = await this.#end(loaded.key);
      if (!ended) return this.#settled(loaded.key, { outcome: "gone", ended: true });
      return this.#settled(key, await this.#commit(key, undefined, { mayCreate: true, apply: () => recordOf(loaded.record) }));
    }
    const { clock, deadlineMs } = this.#settings;
    const startedAt = clock.monotonic();
    for (;;) {
      const record = recordOf(loaded.record);
      const body = this.#codec.encode(record, key);
      const writing = this.#copies.writing(loaded.key, false);
      const stays = graceMs > 0 ? { body: this.#leading(record.header, key, loaded.key), idleMs: graceMs } : undefined;
      const { header } = record;
      const work = this.#engine.regenerate(loaded.key, loaded.version, key, body, deadlinesOf(header), writing.by, stays);
      const result = await this.#sent(writing, work);
      if (result.outcome !== "committed") this.#copies.refused(writing);
      if (result.outcome === "gone") return this.#settled(loaded.key, { outcome: "gone", ended: result.ended });
      if (result.outcome === "committed") {
        this.#touches.forget(loaded.key);
        await this.#over(writing, result.version, result.now, result.waitFor, result.holders);
        return { outcome: "committed", loaded: { key, version: result.version, idleAt: result.idleAt, record } };
      }
      // Somebody changed it meanwhile: it moves, or ends, in that version, and from where it is by now.
      const next = await this.#current(loaded, result.current);
      if (typeof next === "string") return this.#settled(loaded.key, { outcome: "gone", ended: next === "ended" });
      // Of two rotations at once one moves it, and that is enough: else two responses would each bring the browser an id.
      if (graceMs > 0 && next.key !== loaded.key) return { outcome: "committed", loaded: next };
      loaded = next;
      if (clock.monotonic() - startedAt >= deadlineMs) {
        throw new AnynodeError(
          "CONTENDED",
          `Others kept committing to the session for ${deadlineMs} ms (deadlineMs); nothing was stored.`,
        );
      }
    }
  }

  async #current(loaded: Loaded, { version, idleAt, body }: Found): Promise<Loaded | "ended" | "missing"> {
    const decoded = this.#codec.decode(body, loaded.key);
    if (decoded.outcome !== "record") throw unreadable(decoded);
    const { movedTo } = decoded.record.header;
    if (movedTo === "") return { key: loaded.key, version, idleAt, record: decoded.record };
    const next = await this.#peek(movedTo);
    if (next === "unreadable") throw unreadable({ outcome: "damaged" });
    return next;
  }

  /** What stays under a key whose session goes on under another one. */
  #leading(header: Header, movedTo: Key, from: Key): Buffer {
    return this.#codec.encode({ header: { ...header, ...NOBODY, cookie: "", movedTo }, attributes: new Map() }, from);
  }

  // ── What lives as long as a session ───────────────────────────────────────────────────────────────────────────────

  /**
   * Keeps something live (an event stream, a socket, a long handler) for as long as its session lives. `dispose` is called once when it is
   * over: with "ended" before `end()` resolves, on whatever node that was called; with "expired", "draining", or "outage" (see the options).
   * `whose`: a request, context or session object whose front end knows the session, or an id. Undefined if the session is over already or this
   * node drains: `dispose` was called with why. Rejects if the engine doesn't answer. Call `release()` once it is over by itself.
   */
  async hold(whose: object | string, dispose: Dispose, options: HoldOptions = {}): Promise<Hold | undefined> {
    const sid = visitorOf(whose);
    if (sid === undefined || !isSid(sid)) return this.#connections.refuse(dispose);
    return this.#connections.hold(await this.#keyNow(sid), dispose, options);
  }

  /** Where the session of an id is by now: it may have moved (`rotate`). */
  async #keyNow(sid: string): Promise<Key> {
    return (await this.load(sid))?.key ?? this.#keyOf(sid);
  }

  /**
   * Keeps a WebSocket (of `ws`, or alike) for as long as its session lives: closed with 4401 when that is over, with 1001 when this node drains.
   * Its messages wait while this node can't prove that the session lives. Undefined if it was closed instead; never rejects.
   */
  attach(socket: Socket, whose: object | string, options: HoldOptions = {}): Promise<Hold | undefined> {
    return attachSocket(socket, this.#settings.clock, (dispose) => this.hold(whose, dispose, options));
  }

  /** Traffic counts as a request. */
  async #extend(key: Key): Promise<void> {
    const loaded = await (this.#copies.copy(key) ?? this.#join(key) ?? this.#ask(key));
    if (loaded !== undefined) await this.touch(loaded);
  }

  #freshHeader(absoluteMs: number): Header {
    const createdAt = this.#engineClock.earliest();
    const absoluteAt = absoluteMs > 0 ? createdAt + absoluteMs : 0;
    return { createdAt, absoluteAt, idleMs: this.#settings.idleMs, ...NOBODY, cookie: "", movedTo: "" };
  }

  /** The header itself if the patch changes nothing. */
  #patched(header: Header, { idleMs = header.idleMs, cookie = header.cookie }: HeaderPatch): Header {
    const ms = idleMs === "default" ? this.#settings.idleMs : idleMs;
    return ms === header.idleMs && cookie === header.cookie ? header : { ...header, idleMs: ms, cookie };
  }

  #settled(key: Key, outcome: CommitOutcome): CommitOutcome {
    this.#touches.forget(key);
    if (outcome.outcome === "gone") {
      this.#copies.forget(key);
      this.#events.emit("write-dropped", { ended: outcome.ended });
    }
    return outcome;
  }

  // ── Coming and going ──────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Says goodbye: readiness says no, what is live is asked to come back elsewhere, coalesced touches are written, the registry row is given up. Requests are still served. Never rejects: an
   * engine that is down (see the event `engine-down`) must not keep a process from ending, and what can't be told now, the lease tells.
   */
  async drain(): Promise<void> {
    await this.#opening?.catch(() => {});
    if (this.#state !== "open" || this.registry.state === "left") return;
    await this.registry.drain().catch(() => {});
    await this.#connections.drain();
    await this.#touches.flush(this.#engine, () => this.#engineClock.latest()).catch(() => {});
    await this.registry.leave().catch(() => {});
  }

  /** Drains as well as it can, then closes the engine if anynode opened it. Verbs afterwards reject with CLOSED. May be repeated. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#cancelRetry();
    await this.drain();
    this.#state = "closed";
    this.#connections.stop();
    await this.#copies.stop();
    if (this.#owned) await this.#engine.close();
  }

  async #open(): Promise<void> {
    try {
      await this.registry.join();
      if (this.#state === "new") this.#sayUnsealed();
      if (this.#state === "new") this.#state = "open";
    } catch (error) {
      this.#opening = undefined;
      throw error;
    }
  }

  #keepOpening(): void {
    if (this.#state !== "new") return;
    this.ready().catch(() => {
      this.#cancelRetry = this.#settings.clock.after(BEAT_MS, () => this.#keepOpening());
    });
  }

  /** Once, and not for engines that keep nothing; the library can't tell production from a developer's machine. */
  #sayUnsealed(): void {
    if (this.#settings.keyring.length > 0 || this.#engine.kind === "memory") return;
    if (this.#events.emit("unsealed", { engine: this.#engine.kind })) return;
    process.emitWarning(
      `Sessions are stored unsealed: whoever can read the ${this.#engine.kind} engine can read them, and whoever can write to it can make them. ` +
        'Give anynode({ keyring: [{ id, key }] }), or keyring: ["plain"] to say that this is meant.',
      { code: "ANYNODE_UNSEALED" },
    );
  }

  #keyOf(sid: string): Key {
    if (this.#state === "closed") throw closed();
    if (!isSid(sid)) throw new AnynodeError("ID_MALFORMED", "A session id must be a well-formed string of 1–256 bytes.");
    return this.#keys.keyOf(sid);
  }

  #reportUnreadable(which: string, why: Unreadable["outcome"]): void {
    if (this.#isNews(which)) this.#events.emit("unreadable", { why });
  }

  /** Whether this is the first time, as far as this remembers. */
  #isNews(which: string): boolean {
    if (this.#reported.has(which)) return false;
    if (this.#reported.size >= 1000) this.#reported.clear();
    this.#reported.add(which);
    return true;
  }
}

function closed(): AnynodeError {
  return new AnynodeError("CLOSED", "These sessions were closed. Make new ones with anynode().");
}
