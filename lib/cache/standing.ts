/**
 * What this node is to the others, and how sure of it we are: its number among the nodes, the epoch of its join, and its generation. Paused
 * for long, we may be nobody by now and another node have our number; and after a jump of the engine's clock leases look over and are not.
 */
import type { Clock } from "../clock.js";
import { COPY_LEASE_MS, LEASE_MARGIN_MS, REGISTRY_LEASE_MS, type Writer } from "../engines/engine.js";

/** For so long after something cast doubt on the engine's clock, leases granted before it may look over and not be. */
const DOUBT_MS = COPY_LEASE_MS + LEASE_MARGIN_MS;
/** How long our number is ours for sure after a beat: well within the registry lease. */
const OURS_MS = REGISTRY_LEASE_MS / 2;

export class Standing {
  readonly #clock: Clock;
  #number = -1;
  #epoch = 0;
  #generation = 0;
  /** Monotonic times. */
  #beatenAt = Number.NEGATIVE_INFINITY;
  #clockDoubtUntil = Number.NEGATIVE_INFINITY;
  #nodesDoubtUntil = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** -1: it has none yet. */
  get number(): number {
    return this.#number;
  }
  get epoch(): number {
    return this.#epoch;
  }
  /** Grows with every write that is given up; fences those that run late (lua/copies.lua). */
  get generation(): number {
    return this.#generation;
  }

  /** Whether, at `now`, our number is ours for sure. */
  isOurs(now: number): boolean {
    return now - this.#beatenAt < OURS_MS;
  }

  /** What a write that is sent at `now` must doubt. */
  doubt(now: number): Writer["doubt"] {
    // Who doesn't beat doesn't hear that the registry was lost.
    if (!this.isOurs(now) || now < this.#nodesDoubtUntil) return "nodes";
    return now < this.#clockDoubtUntil ? "clock" : "none";
  }

  joined(number: number, epoch: number): void {
    const now = this.#clock.monotonic();
    // Joined again: others may not be back yet.
    if (this.#nodesDoubtUntil > now) this.#nodesDoubtUntil = now + DOUBT_MS;
    this.#number = number;
    this.#epoch = epoch;
    // Above all generations of whoever had this number before: epochs grow fleet-wide, and faster than writes are given up.
    this.#generation = Math.max(epoch, this.#generation + 1);
    this.#beatenAt = now;
    // The engine's clock may have jumped right before: leases that look over may not be.
    this.#clockDoubtUntil = now + DOUBT_MS;
  }

  /** The beat sent at `sentAt` renewed our row. */
  beaten(sentAt: number): void {
    this.#beatenAt = sentAt;
  }

  /** Our row was lost, and the others' perhaps with it. */
  fenced(): void {
    this.#beatenAt = Number.NEGATIVE_INFINITY;
    this.#nodesDoubtUntil = Number.POSITIVE_INFINITY;
  }

  /** The engine's clock jumped. */
  jumped(): void {
    this.#clockDoubtUntil = this.#clock.monotonic() + DOUBT_MS;
  }

  /** A write of ours was given up: it may still run. */
  gaveUp(): void {
    this.#generation += 1;
  }
}
