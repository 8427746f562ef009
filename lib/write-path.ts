/**
 * The write path: what a request changed is merged into what is there by now (commits.ts), wherever the session is by now; a session that
 * begins is stored; one that was only used is touched. Whatever comes of it, `settled` sees to what this node remembers, and tells.
 */
import type { Copies } from "./cache/copies.js";
import type { Touches } from "./cache/touches.js";
import type { EngineClock } from "./clock.js";
import type { CommitOutcome, Commits, Wish } from "./commits.js";
import type { Engine, MaybePromise } from "./engines/engine.js";
import { AnynodeError } from "./errors.js";
import type { Events } from "./events.js";
import type { Judge } from "./judge.js";
import type { Key } from "./names.js";
import type { Settings } from "./options.js";
import { closed, type Presence } from "./presence.js";
import { MAX_HOPS, type ReadPath } from "./read-path.js";
import type { Watermark } from "./registry/watermark.js";
import { type AttributeTexts, type Changes, changesOfView, viewOf } from "./session/attributes.js";
import { unreadable } from "./session/codec.js";
import { ABSOLUTE_MS, freshHeader, type HeaderPatch, patched } from "./session/header.js";
import { merge } from "./session/merge.js";
import { deadlinesOf, type Header, idleAtOf, type Loaded, touchIsDue } from "./session/record.js";

/** When a session began that comes from elsewhere. Not 0: no watermark was ever raised that low. */
const LONG_AGO = 1;

export type UpdateOutcome<T> = { readonly outcome: "committed"; readonly value: T } | { readonly outcome: "gone" };

/** Whom a write asks, and whom it tells. */
export interface Surroundings {
  readonly presence: Presence;
  readonly watermark: Watermark;
  readonly judge: Judge;
  readonly reads: ReadPath;
  readonly commits: Commits;
  readonly copies: Copies;
  readonly touches: Touches;
  readonly events: Events;
}

export class WritePath {
  readonly #engine: Engine;
  readonly #settings: Settings;
  readonly #engineClock: EngineClock;
  readonly #presence: Presence;
  readonly #watermark: Watermark;
  readonly #judge: Judge;
  readonly #reads: ReadPath;
  readonly #commits: Commits;
  readonly #copies: Copies;
  readonly #touches: Touches;
  readonly #events: Events;
  /** By key and version: a touch of an older version would do nothing for a newer one. */
  readonly #touching = new Map<string, Promise<CommitOutcome>>();

  constructor(engine: Engine, settings: Settings, engineClock: EngineClock, around: Surroundings) {
    this.#engine = engine;
    this.#settings = settings;
    this.#engineClock = engineClock;
    this.#presence = around.presence;
    this.#watermark = around.watermark;
    this.#judge = around.judge;
    this.#reads = around.reads;
    this.#commits = around.commits;
    this.#copies = around.copies;
    this.#touches = around.touches;
    this.#events = around.events;
  }

  /** See Sessions. */
  save(loaded: Loaded, changes: Changes, patch: HeaderPatch): MaybePromise<CommitOutcome> {
    if (this.#judge.isOver(loaded)) return this.settled(loaded.key, { outcome: "gone", ended: true });
    const { header } = loaded.record;
    const same = changes.size === 0 && this.patched(header, patch) === header;
    return same ? this.touch(loaded) : this.#save(loaded, changes, patch);
  }

  async #save(loaded: Loaded, changes: Changes, patch: HeaderPatch): Promise<CommitOutcome> {
    if (this.#presence.isClosed) throw closed();
    let conflicts: readonly string[] = [];
    const outcome = await this.commit(loaded.key, loaded, {
      mayCreate: false,
      apply: (current = loaded.record) => {
        const merged = merge(current.attributes, changes, this.#settings.conflict);
        conflicts = merged.conflicts;
        return { header: this.patched(current.header, patch), attributes: merged.attributes };
      },
    });
    if (outcome.outcome === "committed" && conflicts.length > 0) this.#events.emit("conflict", { attributes: conflicts });
    return this.settled(loaded.key, outcome);
  }

  /** Commits where the session is by now. */
  async commit(key: Key, loaded: Loaded | undefined, wish: Wish): Promise<CommitOutcome> {
    let outcome = await this.#commits.commit(key, loaded, wish);
    for (let hops = 0; outcome.outcome === "moved"; hops++) {
      const next = hops < MAX_HOPS ? await this.#reads.peek(outcome.to) : "missing";
      if (next === "unreadable") throw unreadable({ outcome: "damaged" });
      if (typeof next === "string") return { outcome: "gone", ended: next === "ended" };
      outcome = await this.#commits.commit(next.key, next, wish);
    }
    return outcome;
  }

  /** Stores a whole session. `fresh`: its id was drawn just now. */
  async put(sid: string, attributes: AttributeTexts, patch: HeaderPatch, fresh: boolean): Promise<CommitOutcome> {
    const key = this.#reads.keyOf(sid);
    if (!this.#presence.isOpen) await this.#presence.ready();
    const outcome = await this.commit(key, undefined, {
      mayCreate: true,
      fresh,
      apply: (current) => {
        const isOver = current === undefined || this.#watermark.covers(current.header.createdAt);
        const header = isOver ? this.fresh(this.#settings.absoluteMs || (patch.isBounded ? ABSOLUTE_MS : 0)) : current.header;
        return { header: this.patched(header, patch), attributes };
      },
    });
    return this.settled(key, outcome);
  }

  /** See Sessions. */
  async adopt(sid: string, attributes: AttributeTexts, patch: HeaderPatch): Promise<Loaded | undefined> {
    const key = this.#reads.keyOf(sid);
    if (!this.#presence.isOpen) await this.#presence.ready();
    const outcome = await this.commit(key, undefined, {
      mayCreate: true,
      apply: (current) => {
        if (current !== undefined) return current;
        const header = { ...this.fresh(this.#settings.absoluteMs || ABSOLUTE_MS), createdAt: LONG_AGO };
        return { header: this.patched(header, patch), attributes };
      },
    });
    if (outcome.outcome !== "committed") return undefined;
    if (!this.#watermark.isRecent) await this.#watermark.look();
    return this.#judge.isOver(outcome.loaded) ? undefined : outcome.loaded;
  }

  /** See Sessions. */
  async update<T>(sid: string, fn: (attributes: Record<string, unknown>) => T): Promise<UpdateOutcome<T>> {
    const loaded = await this.#reads.load(sid);
    if (loaded === undefined) return { outcome: "gone" };
    let value: { readonly is: T } | undefined;
    const outcome = await this.commit(loaded.key, loaded, {
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
    await this.settled(loaded.key, outcome);
    return outcome.outcome === "committed" && value !== undefined
      ? { outcome: "committed", value: value.is }
      : { outcome: "gone" };
  }

  /** See Sessions. */
  touch(loaded: Loaded): MaybePromise<CommitOutcome> {
    if (this.#presence.isClosed) return Promise.reject(closed());
    if (this.#judge.isOver(loaded)) return this.settled(loaded.key, { outcome: "gone", ended: true });
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
    const { clock } = this.#settings;
    const sentAt = clock.monotonic();
    const touched = await this.#engine.touch(key, version, deadlinesOf(record.header));
    if (touched.outcome === "gone") return this.settled(key, { outcome: "gone", ended: touched.ended });
    // Whoever wrote a newer version set its deadline at that time, by its own idle timeout: as good as our touch.
    if (touched.outcome === "moved") return { outcome: "committed", loaded };
    this.#engineClock.observe(sentAt, clock.monotonic(), touched.now);
    this.#touches.forget(key);
    this.#copies.extended(key, version, touched.idleAt);
    return { outcome: "committed", loaded: { ...loaded, idleAt: touched.idleAt } };
  }

  /** What came of a write under that key. */
  settled(key: Key, outcome: CommitOutcome): CommitOutcome {
    this.#touches.forget(key);
    if (outcome.outcome === "gone") {
      this.#copies.forget(key);
      this.#events.emit("write-dropped", { ended: outcome.ended });
    }
    return outcome;
  }

  /** The header of a session that begins now. */
  fresh(absoluteMs: number): Header {
    return freshHeader(this.#engineClock.earliest(), this.#settings.idleMs, absoluteMs);
  }

  /** The header itself if the patch changes nothing. */
  patched(header: Header, patch: HeaderPatch): Header {
    return patched(header, patch, this.#settings.idleMs);
  }
}
