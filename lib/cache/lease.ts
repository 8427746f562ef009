/**
 * The lease that a node trusts its copies by. It is proved by echo: each beat makes the engine publish, on the node's own channel, the
 * beat's serial and the count of drops ever published there. The channel is FIFO, so whoever hears the echo of a beat, with as many
 * drops before it as the engine counted, has heard every drop that was published before that beat ran.
 * The invariant: while `trusted()`, no drop published earlier than one copy lease ago is unheard. Whatever casts doubt on that (a count
 * that differs, a lapse, a lost subscription, fencing, leaving, a clock that jumped) ends the *run*: no copy outlives its run.
 */
import type { Clock } from "../clock.js";
import { COPY_LEASE_MS } from "../engines/engine.js";

export class Lease {
  readonly #clock: Clock;
  readonly #onEnd: () => void;
  /** Grows with every run; copies and tickets carry the number of theirs. */
  #run = 0;
  #live = false;
  /** On the monotonic clock. */
  #trustedUntil = Number.NEGATIVE_INFINITY;
  /** What the next echo must count: the first echo's count of this run, and the drops heard since. */
  #expected = 0;
  #serial = 0;
  /** When the beats were sent whose echoes may still come, by serial; only those sent in or after the present pause or run. */
  readonly #sent = new Map<number, number>();

  /** `onEnd`: a run is over. */
  constructor(clock: Clock, onEnd: () => void) {
    this.#clock = clock;
    this.#onEnd = onEnd;
  }

  /** The run's number; compare it with a copy's own while `trusted()`. */
  get run(): number {
    return this.#run;
  }

  /** Whether copies of this run may be served now. Notices a lapse, e.g. after the process was stopped or its event loop blocked. */
  trusted(): boolean {
    if (!this.#live) return false;
    if (this.#clock.monotonic() < this.#trustedUntil) return true;
    this.end();
    return false;
  }

  /** A beat is about to be sent. Gives the serial that it must carry. `trusts`: the engine will count our lease from it. */
  beat(trusts: boolean): number {
    this.#serial += 1;
    if (trusts) this.#sent.set(this.#serial, this.#clock.monotonic());
    // Echoes come in order: what is older than a few beats is lost, or of no use any more.
    this.#sent.delete(this.#serial - 16);
    return this.#serial;
  }

  /** The echo of one of our own beats (the caller has compared the epoch). */
  heardEcho(serial: number, count: number): void {
    const now = this.#clock.monotonic();
    // A lapse comes first: an echo that was under way must neither mend it unseen nor begin the next run.
    const live = this.trusted();
    const sentAt = this.#sent.get(serial);
    if (live && count !== this.#expected) this.end();
    else if (sentAt !== undefined) {
      this.#sent.delete(serial);
      const until = sentAt + COPY_LEASE_MS;
      if (live) this.#trustedUntil = Math.max(this.#trustedUntil, until);
      else if (now < until) this.#start(count, until);
    }
  }

  /** A drop came in on our channel. */
  heardDrop(): void {
    this.#expected += 1;
  }

  /** Ends the run. The next one begins with the echo of a beat that is sent after this. */
  end(): void {
    this.#sent.clear();
    if (!this.#live) return;
    this.#live = false;
    this.#onEnd();
  }

  #start(count: number, until: number): void {
    this.#run += 1;
    this.#live = true;
    this.#expected = count;
    this.#trustedUntil = until;
  }
}
