/**
 * The live things that this node holds of sessions, closed when their session is over: ended on whatever node, expired, or not to be proved
 * any more. The engine has this node written down as a holder from a session's first live thing to its last.
 * The invariant: whatever is held of a session is closed once this node has heard, or been told by the engine, that it is over.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Clock, EngineClock } from "../clock.js";
import type { Engine, Holder, MaybePromise } from "../engines/engine.js";
import type { Key } from "../names.js";
import { Held, type Self } from "./held.js";
import { type Dispose, type DisposeReason, Hold, type HoldOptions } from "./hold.js";

/** How often a node looks after what it can't prove to be live. */
const SWEEP_MS = 1_000;
const AT_ONCE = 32;
/** Local looks between two turns of the event loop: about a millisecond. */
const STEP = 500;
/** Traffic extends a session at most so often. */
const EXTEND_MS = 1_000;
/** Holders that the engine couldn't be told are none any more. Forgetting one makes `locate` name this node in vain. */
const MAX_OWED = 10_000;

const MAX_FOUND = 1_000;
/** An end that ran before our last detach may be about to tell us. */
const LINGER_MS = 2_000;

/** What connections need of the node around them. */
export interface Surroundings extends Self {
  /** Has this node's channel heard until what this resolves with is called. */
  listen(): Promise<() => void>;
  /** Extends a session, as a request does. */
  extend(key: Key): Promise<unknown>;
  /** A `dispose` failed. */
  failed(error: unknown): void;
}

export class Connections {
  readonly #engine: Engine;
  readonly #clock: Clock;
  readonly #engineClock: EngineClock;
  readonly #around: Surroundings;
  readonly #held = new Map<Key, Held>();
  readonly #owed = new Map<Key, Holder>();
  /** How much a look closed of what somebody had ended, who may be about to tell us, and wants to know. */
  readonly #found = new Map<Key, number>();
  readonly #detaching = new Set<Promise<void>>();
  #turn = 0;
  #listening: Promise<() => void> | undefined;
  #cancelQuiet: () => void = () => {};
  #cancelSweep: (() => void) | undefined;
  #draining = false;

  constructor(engine: Engine, clock: Clock, engineClock: EngineClock, around: Surroundings) {
    this.#engine = engine;
    this.#clock = clock;
    this.#engineClock = engineClock;
    this.#around = around;
  }

  /** How many live things are held. */
  get size(): number {
    let size = 0;
    for (const { holds } of this.#held.values()) size += holds.size;
    return size;
  }

  /** Undefined if there is nothing to hold on to: the session is over, or this node drains; `dispose` was told which. Rejects as the engine does. */
  async hold(key: Key, dispose: Dispose, options: HoldOptions): Promise<Hold | undefined> {
    if (this.#draining) return refused(this.#newHold(undefined, dispose, options), "draining");
    this.#listening ??= this.#around.listen();
    const held = this.#held.get(key) ?? this.#begin(key);
    const hold = this.#newHold(held, dispose, options);
    held.holds.add(hold);
    try {
      await this.#listening;
      await held.live();
    } catch (error) {
      hold.release();
      throw error;
    }
    this.#lookAtDeadline(held);
    return hold.over ? undefined : hold;
  }

  /** For a front end that knows no session: nothing is held, as of one that is over. */
  refuse(dispose: Dispose): undefined {
    return refused(this.#newHold(undefined, dispose, {}), "expired");
  }

  /** The session is over: closes what is held of it here, at once. How much that was, be it that a look found it over just before. */
  ended(key: Key): number {
    const held = this.#held.get(key);
    const found = this.#found.get(key) ?? 0;
    this.#found.delete(key);
    return held === undefined ? found : this.#close(held, "ended");
  }

  /** Somebody tried to end the session, to an end unknown: nothing of it is served before the engine was asked. */
  doubt(key: Key): void {
    const held = this.#held.get(key);
    if (held === undefined) return;
    held.doubt();
    void this.#look(held);
  }

  /** Asks everything live to come back on another node, and holds nothing from now on. Never rejects. */
  async drain(): Promise<void> {
    this.#draining = true;
    for (const held of [...this.#held.values()]) {
      this.#close(held, "draining");
      if (this.#detaching.size < AT_ONCE || this.#owed.size > 0) continue;
      await Promise.race(this.#detaching);
    }
    await Promise.all(this.#detaching);
    // The engine was away: these holders expire with their sessions.
    this.#owed.clear();
    this.#hearNoMore();
    this.#cancelSweep?.();
    this.#cancelSweep = undefined;
  }

  /** Leaves nothing behind that would run later. */
  stop(): void {
    this.#cancelQuiet();
    void this.#listening?.then((quiet) => quiet());
    this.#listening = undefined;
  }

  #begin(key: Key): Held {
    this.#turn += 1;
    const held = new Held(key, this.#turn, this.#engine, this.#engineClock, this.#around, (gone, reason) => {
      const closed = this.#close(gone, reason);
      if (reason === "ended") this.#foundOver(key, closed);
    });
    this.#held.set(key, held);
    this.#sweepLater();
    return held;
  }

  #foundOver(key: Key, closed: number): void {
    this.#found.set(key, closed);
    for (const oldest of this.#found.keys()) {
      if (this.#found.size <= MAX_FOUND) return;
      this.#found.delete(oldest);
    }
  }

  #newHold(held: Held | undefined, dispose: Dispose, options: HoldOptions): Hold {
    const keeper = {
      live: (keepAlive: boolean) => (held === undefined ? false : this.#live(held, keepAlive)),
      release: (hold: Hold) => held && this.#release(held, hold),
      failed: (error: unknown) => this.#around.failed(error),
    };
    return new Hold(keeper, dispose, options);
  }

  #live(held: Held, keepAlive: boolean): MaybePromise<boolean> {
    const live = held.live();
    if (!keepAlive) return live;
    if (live instanceof Promise) return live.then((is) => this.#extended(held, is));
    return this.#extended(held, live);
  }

  #extended(held: Held, live: boolean): boolean {
    const now = this.#engineClock.latest();
    if (live && now - held.extendedAt >= EXTEND_MS) {
      held.extendedAt = now;
      // One that fails is made up for by the next.
      this.#around.extend(held.key).catch(() => {});
    }
    return live;
  }

  #close(held: Held, reason: DisposeReason): number {
    this.#forget(held);
    let closed = 0;
    for (const hold of held.holds) if (hold.close(reason)) closed += 1;
    held.holds.clear();
    void this.#detach(held);
    return closed;
  }

  #release(held: Held, hold: Hold): void {
    if (!held.holds.delete(hold) || held.holds.size > 0 || held.over) return;
    this.#forget(held);
    void this.#detach(held);
  }

  #forget(held: Held): void {
    held.end();
    if (this.#held.get(held.key) === held) this.#held.delete(held.key);
  }

  /** Whoever is told that its session ended must answer: so the channel is heard for as long as somebody may have us for a holder. */
  #hearNoMore(): void {
    this.#cancelQuiet();
    if (this.#listening === undefined) return;
    this.#cancelQuiet = this.#clock.after(LINGER_MS, () => {
      if (this.#held.size > 0 || this.#owed.size > 0 || this.#detaching.size > 0) return;
      void this.#listening?.then((quiet) => quiet());
      this.#listening = undefined;
    });
  }

  /** Tells the engine, once nothing is being asked, that this node is no holder any more, however that came. */
  #detach(held: Held): Promise<void> {
    const detaching = this.#detachNow(held).finally(() => {
      this.#detaching.delete(detaching);
      this.#hearNoMore();
    });
    this.#detaching.add(detaching);
    return detaching;
  }

  async #detachNow(held: Held): Promise<void> {
    await held.settled();
    const { key, written } = held;
    if (written === undefined) return;
    try {
      await this.#engine.detach(key, written);
    } catch {
      if (this.#owed.size < MAX_OWED) this.#owed.set(key, written);
      this.#sweepLater();
    }
  }

  // ── Looking after what is held ────────────────────────────────────────────────────────────────────────────────────

  /** Whether the engine could be asked. */
  async #look(held: Held): Promise<boolean> {
    try {
      await held.live();
      this.#lookAtDeadline(held);
      return true;
    } catch {
      this.#outage(held);
      return false;
    }
  }

  /** The engine can't be asked: closes what wants to be closed then. */
  #outage(held: Held): void {
    for (const hold of [...held.holds]) {
      if (!hold.closesOnOutage) continue;
      held.holds.delete(hold);
      hold.close("outage");
    }
    if (held.holds.size > 0 || held.over) return;
    this.#forget(held);
    void this.#detach(held);
  }

  /** At its deadline it isn't closed but looked at: another node may have extended it. */
  #lookAtDeadline(held: Held): void {
    held.cancelLook();
    if (held.over || held.leftMs > 2 * SWEEP_MS) return;
    held.cancelLook = this.#clock.after(Math.max(1, held.leftMs), () => {
      held.doubt();
      void this.#look(held);
    });
  }

  #sweepLater(): void {
    if (this.#draining || this.#cancelSweep !== undefined) return;
    this.#cancelSweep = this.#clock.after(SWEEP_MS, async () => {
      await this.#sweep();
      this.#cancelSweep = undefined;
      if (this.#held.size > 0 || this.#owed.size > 0) this.#sweepLater();
    });
  }

  async #settleOwed(): Promise<void> {
    for (const [key, holder] of this.#owed) {
      try {
        await this.#engine.detach(key, holder);
      } catch {
        return;
      }
      if (this.#owed.get(key) === holder) this.#owed.delete(key);
    }
    this.#hearNoMore();
  }

  async #sweep(): Promise<void> {
    await this.#settleOwed();
    const local = this.#engine.local === true;
    const unproven = [...this.#held.values()].filter((held) => {
      if (held.proven()) this.#lookAtDeadline(held);
      return !held.proven();
    });
    const atOnce = local ? STEP : AT_ONCE;
    for (let from = 0; from < unproven.length; from += atOnce) {
      const reached = await Promise.all(unproven.slice(from, from + atOnce).map((held) => this.#look(held)));
      if (!reached.includes(true)) {
        for (const held of unproven.slice(from + atOnce)) if (!held.proven()) this.#outage(held);
        return;
      }
      await nextTurn();
    }
  }
}

function refused(hold: Hold, reason: DisposeReason): undefined {
  hold.close(reason);
}
