/**
 * Sessions: open, load, save, end. Everything that a front end or an application asks for. Here the rooms meet; each verb is told where it
 * is done: read-path.ts, write-path.ts, moves.ts, ends.ts, people.ts, presence.ts.
 * Data flows one way: front end → here → engine. All policy is here and in session/; an engine only compares, swaps and keeps time.
 */
import { Copies, type CopyCounts } from "./cache/copies.js";
import { KeyCache } from "./cache/key-cache.js";
import { Touches } from "./cache/touches.js";
import { type Clock, EngineClock } from "./clock.js";
import { type CommitOutcome, Commits } from "./commits.js";
import { type EndResult, Ends, type Reach } from "./ends.js";
import type { Engine, MaybePromise } from "./engines/engine.js";
import { type EventMap, type EventName, Events } from "./events.js";
import { Judge } from "./judge.js";
import { Moves, type SignIn } from "./moves.js";
import type { Key, Sid } from "./names.js";
import type { Settings } from "./options.js";
import { type Handle, People } from "./people.js";
import { closed, Presence } from "./presence.js";
import { ReadPath } from "./read-path.js";
import { Connections } from "./registry/connections.js";
import type { Dispose, Hold, HoldOptions } from "./registry/hold.js";
import { Registry } from "./registry/registry.js";
import { attachSocket, type Socket } from "./registry/socket.js";
import { Watermark } from "./registry/watermark.js";
import type { AttributeTexts, Changes } from "./session/attributes.js";
import { type Client, changedSince, recordedOf } from "./session/client.js";
import { Codec } from "./session/codec.js";
import type { HeaderPatch } from "./session/header.js";
import { isRandomSid, isSid } from "./session/id.js";
import { Keyring } from "./session/keyring.js";
import { idleAtOf, type Loaded } from "./session/record.js";
import { checkUser } from "./session/user-key.js";
import { VERSION } from "./version.js";
import { visitorOf } from "./visitor.js";
import { type UpdateOutcome, WritePath } from "./write-path.js";

export type { HeaderPatch } from "./session/header.js";

export class Sessions {
  /** Who is alive, at which address; and this node's own state. */
  readonly registry: Registry;
  /** What records are sealed with: `replace()` rotates keys at run time, `primary` is the one that seals now. */
  readonly keyring: Keyring;
  readonly #engine: Engine;
  readonly #settings: Settings;
  readonly #engineClock: EngineClock;
  readonly #events = new Events();
  readonly #touches = new Touches();
  readonly #copies: Copies;
  readonly #connections: Connections;
  readonly #watermark: Watermark;
  readonly #presence: Presence;
  readonly #reads: ReadPath;
  readonly #writes: WritePath;
  readonly #ends: Ends;
  readonly #people: People;
  readonly #moves: Moves;

  /** @internal Made by `anynode()`. `owned`: the engine is ours to close. */
  constructor(engine: Engine, owned: boolean, settings: Settings) {
    const { clock, name, address, deadlineMs } = settings;
    const engineClock = new EngineClock(clock);
    const events = this.#events;
    const touches = this.#touches;
    const copies = new Copies(engine, clock, engineClock, settings.reads);
    const watermark = new Watermark(engine, clock, () => copies.clear());
    // What a revoked key sealed isn't served from memory either.
    this.keyring = new Keyring(settings.keyring, () => copies.clear());
    const codec = new Codec(settings.maxBytes, engine.namespace, this.keyring);

    const about = { name, address, version: VERSION, reads: copies.mode };
    const registry = new Registry(engine, clock, engineClock, events, copies, about, this.keyring, watermark);
    const connections = new Connections(engine, clock, engineClock, {
      identity: () => registry.identity,
      run: () => copies.run,
      listen: () => copies.listen(),
      extend: (key) => this.#extend(key),
      failed: (error) => events.emit("dispose-failed", { error }),
    });
    registry.holdersOf = async (sid) => (isSid(sid) ? engine.holders(await this.#reads.keyNow(sid)) : []);
    copies.onEnded = (key) => connections.ended(key);
    copies.onMode = (mode, why) => {
      registry.sayReads(mode);
      events.emit("reads", { mode, why });
    };
    const presence = new Presence(engine, owned, settings, engineClock, events, { registry, connections, copies, touches });

    const judge = new Judge(codec, engineClock, watermark, events);
    const reads = new ReadPath(engine, copies, new KeyCache(engine.namespace), judge, watermark, presence);
    const commits = new Commits(engine, clock, engineClock, copies, codec, deadlineMs);
    const around = { presence, watermark, judge, reads, commits, copies, touches, events };
    const writes = new WritePath(engine, settings, engineClock, around);
    const ends = new Ends(engine, clock, engineClock, codec, { copies, touches, connections, registry });
    const people = new People(
      {
        peek: (key) => reads.peek(key),
        commit: (key, loaded, wish) => writes.commit(key, loaded, wish),
        end: (key) => ends.end(key),
        now: () => engineClock.earliest(),
      },
      engine.namespace,
      { sessions: settings.maxPerUser, over: settings.overMax },
    );
    const moves = new Moves(engine, settings, copies, codec, { presence, judge, reads, writes, ends, people });

    this.registry = registry;
    this.#engine = engine;
    this.#settings = settings;
    this.#engineClock = engineClock;
    this.#copies = copies;
    this.#connections = connections;
    this.#watermark = watermark;
    this.#presence = presence;
    this.#reads = reads;
    this.#writes = writes;
    this.#ends = ends;
    this.#people = people;
    this.#moves = moves;
  }

  /** Resolves when the engine answers and this node has joined the registry; rejects with what is in the way, and the cure. */
  ready(): Promise<void> {
    return this.#presence.ready();
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

  // ── Reading ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * The session of an id, as of now; undefined if there is none: never was, expired, ended, or unreadable (see the event `unreadable`).
   * An id that isn't well-formed costs nothing. Rejects if the engine doesn't answer, or if this node lacks the key that the record was
   * sealed with (RECORD_UNREADABLE): never "no session" in place of a real one.
   */
  load(sid: string): MaybePromise<Loaded | undefined> {
    return this.#reads.load(sid);
  }

  /** All live sessions that this node can read, in no order. */
  list(): AsyncGenerator<Loaded> {
    return this.#reads.list();
  }

  /** Whether an id is the present one of the session that it leads to: an old one is never given out again. */
  isCurrent(sid: Sid, loaded: Loaded): boolean {
    return this.#reads.isCurrent(sid, loaded);
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
    if (changed.length > 0) this.#events.emitOnce(`client ${key}`, "client-changed", { changed });
    return changed;
  }

  // ── Writing ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Stores what a request changed: merged, attribute by attribute, with whatever others stored meanwhile. Nothing changed = a touch.
   * `gone`: the session ended or expired; nothing was stored and nothing comes back. Rejects with CONFLICT under `conflict: "reject"`.
   */
  save(loaded: Loaded, changes: Changes, patch: HeaderPatch = {}): MaybePromise<CommitOutcome> {
    return this.#writes.save(loaded, changes, patch);
  }

  /** Stores a first session under an id that was made just now. */
  create(sid: string, attributes: AttributeTexts, patch: HeaderPatch = {}): Promise<CommitOutcome> {
    return this.#writes.put(sid, attributes, patch, isRandomSid(sid));
  }

  /** Stores a whole session under an id, in place of what is there. `gone` only if the session of this id was ended. */
  replace(sid: string, attributes: AttributeTexts, patch: HeaderPatch = {}): Promise<CommitOutcome> {
    return this.#writes.put(sid, attributes, patch, false);
  }

  /**
   * Stores a session that comes from elsewhere, if there is none of that id; gives what is stored then. Undefined: it was ended here, or
   * everyone's sessions were. When it began nobody knows; that counts as before any `endEveryone`.
   */
  adopt(sid: string, attributes: AttributeTexts, patch: HeaderPatch = {}): Promise<Loaded | undefined> {
    return this.#writes.adopt(sid, attributes, patch);
  }

  /**
   * An atomic read-modify-write: `fn` changes the attributes it is given, and nobody's change comes between. It may run again on
   * a newer state, so it must be synchronous and pure. What it throws comes back, with nothing stored. Resolves with what it returned.
   */
  update<T>(sid: string, fn: (attributes: Record<string, unknown>) => T): Promise<UpdateOutcome<T>> {
    return this.#writes.update(sid, fn);
  }

  /** Extends the idle deadline. Coalesced: written only once it lags by a tenth of the idle timeout, 60 s at the most; until then done at once. */
  touch(loaded: Loaded): MaybePromise<CommitOutcome> {
    return this.#writes.touch(loaded);
  }

  /** @internal A front end tells that a request changed its session after the first byte of its response. */
  reportLate(event: EventMap["late-change"]): void {
    this.#events.emit("late-change", event);
  }

  // ── Ending ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Ends a session, for good: once this has resolved no node starts serving it, no slow request, touch or retry brings it back, and what was
   * live of it (see `hold`) is closed, but on nodes that are told of as `pending`. May be repeated; ending what isn't there does no harm.
   */
  async end(session: string | Pick<Handle, "id">): Promise<EndResult> {
    const key = typeof session === "string" ? this.#reads.keyOf(session) : undefined;
    if (!this.#presence.isOpen) await this.ready();
    return typeof session === "object" ? this.#people.end(session.id) : this.#ends.end(key ?? this.#reads.keyOf(session));
  }

  /** Ends a session that was listed. */
  async endListed(loaded: Loaded): Promise<EndResult> {
    if (this.#presence.isClosed) throw closed();
    return this.#ends.end(loaded.key);
  }

  /** A person's live sessions, for a page that lists their devices. `current`: the id of the session that is asking. */
  async of(user: string, { current }: { readonly current?: string | undefined } = {}): Promise<Handle[]> {
    checkUser(user);
    if (!this.#presence.isOpen) await this.ready();
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
    if (!this.#presence.isOpen) await this.ready();
    return this.#people.endAll(user, await this.#whereIs(except));
  }

  async #whereIs(sid: string | undefined): Promise<Key | undefined> {
    return sid === undefined ? undefined : this.#reads.keyNow(sid);
  }

  /**
   * Ends every session of the fleet, signed in or not: after a breach. One write, however many there are; resolves once no node serves
   * any of them any more, which takes a lease (2.4 s). Sessions that begin meanwhile live.
   */
  async endEveryone(): Promise<void> {
    if (!this.#presence.isOpen) await this.ready();
    await this.#watermark.raise();
  }

  // ── Moving ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Ends the session of `from`, which was `loaded`, and stores `attributes` under `to`: one atomic step if `to` was made by
   * `makeSid(from)`, else end, then insert. `gone`: the session ended or expired meanwhile, and nothing is stored.
   */
  regenerate(from: Sid, loaded: Loaded, to: Sid, attributes: AttributeTexts, patch: HeaderPatch = {}): Promise<CommitOutcome> {
    return this.#moves.regenerate(from, loaded, to, attributes, patch);
  }

  /**
   * Gives the session a new id and leaves the old one valid for `graceMs`: whoever comes with it, e.g. a request that was under way, reads
   * and writes the same session. Of two at once one moves it, and both give where it is. Not for sign-ins, where whoever knew the old id must be left behind: see `login`.
   */
  rotate(from: Sid, loaded: Loaded, to: Sid, graceMs: number, patch: HeaderPatch = {}): Promise<CommitOutcome> {
    return this.#moves.rotate(from, loaded, to, graceMs, patch);
  }

  /**
   * A person signs in: a new session under `to`, and the end of `from`, which was `loaded`, if there was one: whoever knew its id is left
   * behind. Of what it held only `attributes` go along. Resolves once the old one is dead everywhere and the new one is in the person's
   * index. `gone`: the session ended meanwhile, or the person's sessions were (`endAll`). Rejects with TOO_MANY_SESSIONS (`maxPerUser`).
   */
  login(from: Sid | undefined, loaded: Loaded | undefined, to: Sid, signIn: SignIn): Promise<CommitOutcome> {
    return this.#moves.login(from, loaded, to, signIn);
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
    return this.#connections.hold(await this.#reads.keyNow(sid), dispose, options);
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
    const loaded = await this.#reads.at(key);
    if (loaded !== undefined) await this.touch(loaded);
  }

  // ── Going ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Says goodbye: readiness says no, what is live is asked to come back elsewhere, coalesced touches are written, the registry row is given up. Requests are still served. Never rejects: an
   * engine that is down (see the event `engine-down`) must not keep a process from ending, and what can't be told now, the lease tells.
   */
  drain(): Promise<void> {
    return this.#presence.drain();
  }

  /** Drains as well as it can, then closes the engine if anynode opened it. Verbs afterwards reject with CLOSED. May be repeated. */
  close(): Promise<void> {
    return this.#presence.close();
  }
}
