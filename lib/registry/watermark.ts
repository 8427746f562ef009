/**
 * The instant up to which whatever session began is over, for the whole fleet (`endEveryone`). It travels with the beats.
 * The invariant: once one copy lease and its margin have gone by since it was raised, no node serves an older session: a node either has
 * heard of it, by a join, a beat or a look that was sent afterwards, or hears of it before it serves anything.
 */
import type { Clock } from "../clock.js";
import { COPY_LEASE_MS, type Engine, LEASE_MARGIN_MS } from "../engines/engine.js";
import { AnynodeError } from "../errors.js";

/** By the writer's own clock; with what two clocks may differ in that time. */
const EVERYWHERE_MS = (COPY_LEASE_MS + LEASE_MARGIN_MS) * 1.05;
/** An engine that answers so late so often is as good as none. */
const LOOKS = 3;

export class Watermark {
  readonly #engine: Engine;
  readonly #clock: Clock;
  readonly #onRaised: () => void;
  #instant = 0;
  /** When what told us was sent; monotonic. */
  #askedAt = Number.NEGATIVE_INFINITY;
  #looking: Promise<void> | undefined;

  /** `onRaised`: it is higher than this node knew. */
  constructor(engine: Engine, clock: Clock, onRaised: () => void) {
    this.#engine = engine;
    this.#clock = clock;
    this.#onRaised = onRaised;
  }

  /** Whether a session that began at `createdAt` is over. */
  covers(createdAt: number): boolean {
    return createdAt <= this.#instant;
  }

  /** Whether what this node knows is recent enough to serve sessions by. Without the verb there is nothing to know. */
  get isRecent(): boolean {
    return this.#engine.endedBefore === undefined || this.#clock.monotonic() - this.#askedAt <= COPY_LEASE_MS;
  }

  /** A join or beat sent at `sentAt` (monotonic) told it. */
  heard(instant: number | undefined, sentAt: number): void {
    if (instant === undefined) return;
    this.#askedAt = Math.max(this.#askedAt, sentAt);
    if (instant <= this.#instant) return;
    this.#instant = instant;
    this.#onRaised();
  }

  /** Resolves when it is recent; rejects as the engine does. */
  async look(): Promise<void> {
    for (let looks = 0; looks < LOOKS && !this.isRecent; looks++) {
      this.#looking ??= this.#ask(false).finally(() => {
        this.#looking = undefined;
      });
      await this.#looking;
    }
    if (!this.isRecent) throw new AnynodeError("ENGINE_TIMEOUT", "The session engine's answers take longer than a lease.");
  }

  /** Raises it, and resolves when no node serves anything older any more. */
  async raise(): Promise<void> {
    await this.#ask(true);
    await new Promise<void>((resolve) => void this.#clock.after(EVERYWHERE_MS, resolve));
  }

  async #ask(raise: boolean): Promise<void> {
    const sentAt = this.#clock.monotonic();
    if (this.#engine.endedBefore === undefined) {
      throw new AnynodeError("ENGINE_UNSUPPORTED", "This engine has no verb endedBefore, which endEveryone() needs.");
    }
    this.heard(await this.#engine.endedBefore(raise), sentAt);
  }
}
