/**
 * The live things that this node holds of sessions, closed when their session is over: ended on whatever node, expired, or not to be proved
 * any more. The engine has this node written down as a holder from a session's first live thing to its last.
 * The invariant: whatever is held of a session is closed once this node has heard, or been told by the engine, that it is over.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Clock, EngineClock } from "../clock.js";
import type { Engine, MaybePromise } from "../engines/engine.js";
import type { Key } from "../names.js";
import { Farewells } from "./farewells.js";
import { Held, type Self } from "./held.js";
import { type Dispose, type DisposeReason, Hold, type HoldOptions } from "./hold.js";

/** How often a node looks after what it can't prove to be live. */
const SWEEP_MS = 1_000;
const AT_ONCE = 32;
/** Local looks between two turns of the event loop: about a millisecond. */
const STEP = 500;
/** Traffic extends a session at most so often. */
const EXTEND_MS = 1_000;

const MAX_FOUND = 1_000;
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
  readonly #farewells: Farewells;
  /** How much a look closed of what somebody had ended, who may be about to tell us, and wants to know. */
  readonly #found = new Map<Key, number>();
  #turn = 0;
  #cancelSweep: (() => void) | undefined;
  #draining = false;

  constructor(engine: Engine, clock: Clock, engineClock: EngineClock, around: Surroundings) {
    this.#engine = engine;
    this.#clock = clock;
    this.#engineClock = engineClock;
    this.#around = around;
    this.#farewells = new Farewells(
      engine,
      clock,
      () => around.listen(),
      () => this.#held.size > 0,
    );
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
    const heard = this.#farewells.listen();
    const held = this.#held.get(key) ?? this.#begin(key);
    const hold = this.#newHold(held, dispose, options);
    held.holds.add(hold);
    try {
      await heard;
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
      await this.#farewells.room(AT_ONCE);
    }
    await this.#farewells.said();
    this.#cancelSweep?.();
    this.#cancelSweep = undefined;
  }

  /** Leaves nothing behind that would run later. */
  stop(): void {
    this.#farewells.stop();
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
    this.#leave(held);
    return closed;
  }

  #release(held: Held, hold: Hold): void {
    if (!held.holds.delete(hold) || held.holds.size > 0 || held.over) return;
    this.#forget(held);
    this.#leave(held);
  }

  #forget(held: Held): void {
    held.end();
    if (this.#held.get(held.key) === held) this.#held.delete(held.key);
  }

  /** However it came, the engine shall know. */
  #leave(held: Held): void {
    void this.#farewells.say(held).then(() => {
      if (this.#farewells.owed > 0) this.#sweepLater();
    });
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
    this.#leave(held);
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
      if (this.#held.size > 0 || this.#farewells.owed > 0) this.#sweepLater();
    });
  }

  async #sweep(): Promise<void> {
    await this.#farewells.sayOwed();
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
