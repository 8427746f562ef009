/**
 * Sessions: open, load, save, end. Everything that a front end asks for, told in order: the read path, then the write path.
 * Data flows one way: front end → here → engine. All policy is here and in session/; an engine only compares, swaps and keeps time.
 */
import { KeyCache } from "./cache/key-cache.js";
import { NearCache } from "./cache/near-cache.js";
import { Touches } from "./cache/touches.js";
import { EngineClock } from "./clock.js";
import { type CommitOutcome, Commits } from "./commits.js";
import type { Engine, Found, Gone, Listed, MaybePromise, Same } from "./engines/engine.js";
import { AnynodeError } from "./errors.js";
import { type EventMap, type EventName, Events } from "./events.js";
import type { Key, Sid } from "./names.js";
import type { Settings } from "./options.js";
import { BEAT_MS, Registry } from "./registry/registry.js";
import { type AttributeTexts, type Changes, changesOfView, viewOf } from "./session/attributes.js";
import { decode, encode } from "./session/codec.js";
import { isSid, sharesTag } from "./session/id.js";
import { merge } from "./session/merge.js";
import { deadlinesOf, type Header, idleAtOf, type Loaded, type SessionRecord, touchIsDue } from "./session/record.js";
import { VERSION } from "./version.js";

/** What a front end may say of a session besides its attributes; what it leaves out stays. */
export interface HeaderPatch {
  /** The idle timeout; "default" = that of the options. */
  readonly idleMs?: number | "default";
  readonly cookie?: string;
}

/** `ended`: this call ended a live session; false if it was over already, or never was. */
export interface EndResult {
  readonly ended: boolean;
}

export type UpdateOutcome<T> = { readonly outcome: "committed"; readonly value: T } | { readonly outcome: "gone" };

export class Sessions {
  /** Who is alive, at which address; and this node's own state. */
  readonly registry: Registry;
  readonly #engine: Engine;
  readonly #owned: boolean;
  readonly #settings: Settings;
  readonly #engineClock: EngineClock;
  readonly #events = new Events();
  readonly #commits: Commits;
  readonly #keys: KeyCache;
  readonly #near = new NearCache();
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
    const { clock, name, address } = settings;
    this.#engine = engine;
    this.#owned = owned;
    this.#settings = settings;
    this.#engineClock = new EngineClock(clock);
    this.#keys = new KeyCache(engine.namespace);
    this.#commits = new Commits(engine, clock, this.#engineClock, settings);
    this.registry = new Registry(engine, clock, this.#engineClock, this.#events, { name, address, version: VERSION });
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

  // ── The read path ─────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * The session of an id, as of now; undefined if there is none: never was, expired, ended, or unreadable (see the event `unreadable`).
   * An id that isn't well-formed costs nothing. Rejects if the engine doesn't answer: never "no session" in place of a real one.
   */
  load(sid: string): MaybePromise<Loaded | undefined> {
    if (!isSid(sid)) return undefined;
    if (this.#state !== "open") return this.ready().then(() => this.load(sid));
    const key = this.#keys.keyOf(sid);
    const known = this.local ? this.#near.get(key) : undefined;
    try {
      const result = this.#engine.read(key, known?.version);
      if (!(result instanceof Promise)) return this.#found(key, known?.record, result);
      return result.then(
        (settled) => this.#found(key, known?.record, settled),
        (error: unknown) => this.#unread(key, error),
      );
    } catch (error) {
      return this.#unread(key, error);
    }
  }

  #found(key: Key, known: SessionRecord | undefined, result: Found | Same | Gone): Loaded | undefined {
    if (result.outcome === "gone") return undefined;
    if (result.outcome === "same")
      return known && this.#unexpired({ key, version: result.version, idleAt: result.idleAt, record: known });
    const loaded = this.#readable(key, result);
    if (loaded !== undefined) this.#keep(loaded);
    return loaded;
  }

  /** A value whose very layout the engine doesn't know is like a record of a newer format: no session here, not an error for ever. */
  #unread(key: Key, error: unknown): undefined {
    if (!(error instanceof AnynodeError) || error.code !== "RECORD_UNREADABLE") throw error;
    this.#reportUnreadable(key, "unknown");
  }

  /** How long a loaded session has yet to live if nobody touches it, in ms; coalesced touches of this node count. */
  remainingMs({ key, version, idleAt }: Loaded): number {
    return this.#touches.idleAt(key, version, idleAt) - this.#engineClock.latest();
  }

  /** All live sessions that this node can read, in no order. */
  async *list(): AsyncGenerator<Loaded> {
    if (this.#state !== "open") await this.ready();
    for await (const listed of this.#engine.list()) {
      const loaded = this.#readable(listed.key, listed);
      if (loaded !== undefined) yield loaded;
    }
  }

  /** Bytes from the engine are judged, not trusted. What can't be read counts as no session, is reported once, and left as it is. */
  #readable(key: Key, { version, idleAt, body }: Omit<Found, "outcome"> | Listed): Loaded | undefined {
    const decoded = decode(body, key, this.#settings.maxBytes);
    if (decoded.outcome !== "record") {
      this.#reportUnreadable(`${key}${version}`, decoded.outcome);
      return undefined;
    }
    return this.#unexpired({ key, version, idleAt, record: decoded.record });
  }

  #unexpired(loaded: Loaded): Loaded | undefined {
    const { absoluteAt } = loaded.record.header;
    return absoluteAt > 0 && this.#engineClock.latest() >= absoluteAt ? undefined : loaded;
  }

  /** A decoded record, for the next load that finds its version unchanged. */
  #keep({ key, version, record }: Loaded): void {
    if (this.local) this.#near.put(key, version, record);
  }

  // ── The write path ────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Stores what a request changed: merged, attribute by attribute, with whatever others stored meanwhile. Nothing changed = a touch.
   * `gone`: the session ended or expired; nothing was stored and nothing comes back. Rejects with CONFLICT under `conflict: "reject"`.
   */
  save(loaded: Loaded, changes: Changes, patch: HeaderPatch = {}): MaybePromise<CommitOutcome> {
    const { header } = loaded.record;
    const same = changes.size === 0 && this.#patched(header, patch) === header;
    return same ? this.touch(loaded) : this.#save(loaded, changes, patch);
  }

  async #save(loaded: Loaded, changes: Changes, patch: HeaderPatch): Promise<CommitOutcome> {
    if (this.#state === "closed") throw closed();
    let conflicts: readonly string[] = [];
    const outcome = await this.#commits.commit(loaded.key, loaded, {
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

  /** Stores a whole session under an id, in place of what is there. `gone` only if the session of this id was ended. */
  async replace(sid: string, attributes: AttributeTexts, patch: HeaderPatch = {}): Promise<CommitOutcome> {
    const key = this.#keyOf(sid);
    if (this.#state !== "open") await this.ready();
    const outcome = await this.#commits.commit(key, undefined, {
      mayCreate: true,
      apply: (current) => ({ header: this.#patched(current?.header ?? this.#freshHeader(), patch), attributes }),
    });
    return this.#settled(key, outcome);
  }

  /** Stores the first record of an id that `makeSid` has just made. `gone` only if the id was ended meanwhile. */
  create(sid: Sid, attributes: AttributeTexts, patch: HeaderPatch = {}): Promise<CommitOutcome> {
    return this.replace(sid, attributes, patch);
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
    const outcome = await this.#commits.commit(loaded.key, loaded, {
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
    return { outcome: "committed", loaded: { ...loaded, idleAt: touched.idleAt } };
  }

  /**
   * Ends a session, for good: once this has resolved no node starts serving it, and no slow request, touch or retry brings it back.
   * May be repeated; ending what isn't there does no harm.
   */
  async end(sid: string): Promise<EndResult> {
    const key = this.#keyOf(sid);
    if (this.#state !== "open") await this.ready();
    this.#forget(key);
    const { outcome } = await this.#engine.end(key);
    return { ended: outcome === "ended" };
  }

  /** Ends a session that was listed. */
  async endListed(loaded: Loaded): Promise<EndResult> {
    if (this.#state === "closed") throw closed();
    this.#forget(loaded.key);
    const { outcome } = await this.#engine.end(loaded.key);
    return { ended: outcome === "ended" };
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
    if (!sharesTag(from, to)) {
      const { ended } = await this.end(from);
      return ended ? this.replace(to, attributes, patch) : this.#settled(loaded.key, { outcome: "gone", ended: true });
    }
    const key = this.#keyOf(to);
    const record = { header: this.#patched(loaded.record.header, patch), attributes };
    const body = encode(record, key, this.#settings.maxBytes);
    const { clock, deadlineMs } = this.#settings;
    const startedAt = clock.monotonic();
    let { version } = loaded;
    for (;;) {
      const result = await this.#engine.regenerate(loaded.key, version, key, body, deadlinesOf(record.header), false);
      if (result.outcome === "gone") return this.#settled(loaded.key, { outcome: "gone", ended: result.ended });
      if (result.outcome === "committed") {
        this.#forget(loaded.key);
        return { outcome: "committed", loaded: { key, version: result.version, idleAt: result.idleAt, record } };
      }
      // Somebody changed what is about to end anyway: it ends in that version.
      version = result.current.version;
      if (clock.monotonic() - startedAt >= deadlineMs) {
        throw new AnynodeError(
          "CONTENDED",
          `Others kept committing to the session for ${deadlineMs} ms (deadlineMs); nothing was stored.`,
        );
      }
    }
  }

  #forget(key: Key): void {
    this.#touches.forget(key);
    this.#near.drop(key);
  }

  #freshHeader(): Header {
    const createdAt = this.#engineClock.earliest();
    const { idleMs, absoluteMs } = this.#settings;
    return { createdAt, absoluteAt: absoluteMs > 0 ? createdAt + absoluteMs : 0, idleMs, user: "", cookie: "" };
  }

  /** The header itself if the patch changes nothing. */
  #patched(header: Header, { idleMs = header.idleMs, cookie = header.cookie }: HeaderPatch): Header {
    const ms = idleMs === "default" ? this.#settings.idleMs : idleMs;
    return ms === header.idleMs && cookie === header.cookie ? header : { ...header, idleMs: ms, cookie };
  }

  #settled(key: Key, outcome: CommitOutcome): CommitOutcome {
    this.#forget(key);
    if (outcome.outcome === "gone") this.#events.emit("write-dropped", { ended: outcome.ended });
    else this.#keep(outcome.loaded);
    return outcome;
  }

  // ── Coming and going ──────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Says goodbye: readiness says no, coalesced touches are written, the registry row is given up. Requests are still served. Never rejects: an
   * engine that is down (see the event `engine-down`) must not keep a process from ending, and what can't be told now, the lease tells.
   */
  async drain(): Promise<void> {
    await this.#opening?.catch(() => {});
    if (this.#state !== "open" || this.registry.state === "left") return;
    await this.registry.drain().catch(() => {});
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
    if (this.#owned) await this.#engine.close();
  }

  async #open(): Promise<void> {
    try {
      await this.registry.join();
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

  #keyOf(sid: string): Key {
    if (this.#state === "closed") throw closed();
    if (!isSid(sid)) throw new AnynodeError("ID_MALFORMED", "A session id must be a well-formed string of 1–256 bytes.");
    return this.#keys.keyOf(sid);
  }

  #reportUnreadable(which: string, why: "damaged" | "unknown"): void {
    if (this.#reported.has(which)) return;
    if (this.#reported.size >= 1000) this.#reported.clear();
    this.#reported.add(which);
    this.#events.emit("unreadable", { why });
  }
}

function closed(): AnynodeError {
  return new AnynodeError("CLOSED", "These sessions were closed. Make new ones with anynode().");
}
