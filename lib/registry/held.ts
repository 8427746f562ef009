/**
 * What this node holds of one session, and how it knows that the session lives. The engine has this node written down as a holder, so
 * whoever ends the session tells it; hearing that, or a run of the copy lease that goes on, proves that it lives. Without such a proof the
 * engine is asked. The invariant: `live()` says true only if the session was live at some instant not before the call.
 */
import type { EngineClock } from "../clock.js";
import type { Attached, Engine, Found, Gone, Holder, MaybePromise, Same } from "../engines/engine.js";
import { AnynodeError } from "../errors.js";
import type { Key, Version } from "../names.js";
import type { DisposeReason, Hold } from "./hold.js";

/** Who this node is, as the registry has it. */
export type Identity = Omit<Holder, "turn">;

/** What a node knows of itself: who it is, and the run of its lease, in which it hears of every end (0: no run). */
export interface Self {
  identity(): Identity;
  run(): number;
}

export class Held {
  readonly key: Key;
  readonly holds = new Set<Hold>();
  /** Cancels the look at its deadline. */
  cancelLook: () => void = () => {};
  /** When traffic last extended it, on the engine's clock. */
  extendedAt = 0;
  readonly #engine: Engine;
  readonly #engineClock: EngineClock;
  readonly #self: Self;
  readonly #turn: number;
  readonly #onGone: (held: Held, reason: DisposeReason) => void;
  #over = false;
  #written: Holder | undefined;
  #attached = false;
  #version: Version | undefined;
  #idleAt = 0;
  #run = 0;
  #checking: Promise<boolean> | undefined;
  #next: Promise<boolean> | undefined;

  /** `onGone`: the engine says that there is no session. */
  constructor(
    key: Key,
    turn: number,
    engine: Engine,
    engineClock: EngineClock,
    self: Self,
    onGone: (held: Held, reason: DisposeReason) => void,
  ) {
    this.key = key;
    this.#turn = turn;
    this.#engine = engine;
    this.#engineClock = engineClock;
    this.#self = self;
    this.#onGone = onGone;
  }

  /** The last holder that was sent to the engine: it may be written there. */
  get written(): Holder | undefined {
    return this.#written;
  }
  get over(): boolean {
    return this.#over;
  }
  /** How long until its deadline, as far as it is known, in ms. */
  get leftMs(): number {
    return this.#idleAt - this.#engineClock.latest();
  }

  /** Nothing of it is served any more. */
  end(): void {
    this.#over = true;
    this.cancelLook();
  }

  /** Whatever proved that it lives doesn't any more. */
  doubt(): void {
    this.#run = 0;
  }

  /** Whether it lives for sure, without asking: we would have heard of its end. */
  proven(): boolean {
    const run = this.#self.run();
    return !this.#over && run > 0 && run === this.#run && this.#isUnderOurName() && this.leftMs > 0;
  }

  live(): MaybePromise<boolean> {
    if (this.#over) return false;
    if (this.proven()) return true;
    if (this.#engine.local === true && this.#isUnderOurName()) {
      const read = this.#engine.read(this.key, this.#version);
      if (!(read instanceof Promise)) return this.#found(read, this.#run);
      // It can't answer at once: being opened, or refusing, which the check below meets too.
      read.catch(() => {});
    }
    // One that is under way may have asked before whatever the caller wants to serve came in.
    if (this.#checking === undefined) return this.#check();
    this.#next ??= this.#checking.then(
      () => this.#again(),
      () => this.#again(),
    );
    return this.#next;
  }

  /** Resolves when nothing is being asked. */
  async settled(): Promise<void> {
    while (this.#checking !== undefined) await this.#checking.catch(() => {});
  }

  #again(): MaybePromise<boolean> {
    this.#next = undefined;
    return this.live();
  }

  #check(): Promise<boolean> {
    const checking = this.#ask().finally(() => {
      this.#checking = undefined;
    });
    this.#checking = checking;
    return checking;
  }

  /** As long as a run lasts, being written down proves it until the deadline. Without one, a look is enough. */
  async #ask(): Promise<boolean> {
    const run = this.#self.run();
    try {
      if (run === 0 && this.#isUnderOurName()) return this.#found(await this.#engine.read(this.key, this.#version), 0);
      const holder = { ...this.#self.identity(), turn: this.#turn };
      this.#written = holder;
      this.#attached = false;
      return this.#found(await this.#engine.attach(this.key, holder), run);
    } catch (error) {
      // What can't be read counts as no session, here as everywhere.
      if (!(error instanceof AnynodeError) || error.code !== "RECORD_UNREADABLE") throw error;
      return this.#found({ outcome: "gone", ended: false }, 0);
    }
  }

  #found(found: Attached | Found | Same | Gone, run: number): boolean {
    // It was closed while we asked: heard to have ended, or released.
    if (this.#over) return false;
    if (found.outcome === "gone") {
      this.#onGone(this, found.ended ? "ended" : "expired");
      return false;
    }
    if (found.outcome === "attached") this.#attached = true;
    this.#version = found.version;
    this.#idleAt = found.idleAt;
    this.#run = run;
    return true;
  }

  /** Fenced meanwhile, a node has another epoch: under the old one nobody is told. */
  #isUnderOurName(): boolean {
    if (!this.#attached || this.#written === undefined) return false;
    const { nodeId, number, epoch } = this.#self.identity();
    return this.#written.nodeId === nodeId && this.#written.number === number && this.#written.epoch === epoch;
  }
}
