/**
 * A process that can be stopped and continued, and its wire to a CopiesMedium on which anything may go wrong: commands and replies are
 * delayed, overtake each other, are lost, or run long after they were given up; messages of a channel keep their order, and get lost
 * singly, or all while the subscription is cut. All by a seed.
 */
import type { Clock } from "../../lib/clock.js";
import { AnynodeError } from "../../lib/errors.js";
import type { Wire } from "./leased-engine.js";
import type { ManualClock } from "./manual-clock.js";

const DEADLINE_MS = 1_000;

/** While it is stopped its clock goes on, and what happens to it waits. */
export class Guest {
  readonly clock: Clock;
  readonly #world: ManualClock;
  readonly #waiting: (() => void)[] = [];
  #stopped = false;

  /** `startAt`: what its monotonic clock shows first; `wallOff`: how wrong its wall clock is. */
  constructor(world: ManualClock, startAt: number, wallOff: number) {
    this.#world = world;
    const from = world.monotonic() - startAt;
    this.clock = {
      now: () => world.now() + wallOff,
      monotonic: () => world.monotonic() - from,
      after: (ms, task) => {
        let cancelled = false;
        const cancel = world.after(ms, () => this.run(() => cancelled || task()));
        return () => {
          cancelled = true;
          cancel();
        };
      },
    };
  }

  run(event: () => void): void {
    if (!this.#stopped && this.#waiting.length === 0) event();
    else this.#waiting.push(event);
  }

  stop(): void {
    this.#stopped = true;
  }

  /** What waited happens now, one after the other. */
  go(): void {
    if (!this.#stopped) return;
    this.#stopped = false;
    this.#world.after(0, () => this.#next());
  }

  #next(): void {
    if (this.#stopped) return;
    this.#waiting[0]?.();
    this.#waiting.shift();
    if (this.#waiting.length > 0) this.#world.after(0, () => this.#next());
  }
}

export interface Weather {
  /** The share of commands that are lost, in one way or another, and of messages. */
  readonly lost: number;
  /** The share of what is slow: tens to hundreds of milliseconds, seconds at times. */
  readonly slow: number;
}

export class UnrulyWire implements Wire {
  weather: Weather;
  readonly #world: ManualClock;
  readonly #guest: Guest;
  readonly #random: () => number;
  /** Of the subscriptions' connection. */
  #made = 0;
  #cut = false;
  #loseNext = 0;
  #deliveredAt = 0;

  constructor(world: ManualClock, guest: Guest, random: () => number, weather: Weather) {
    this.#world = world;
    this.#guest = guest;
    this.#random = random;
    this.weather = weather;
  }

  call<T>(command: () => T): Promise<T> {
    const { lost } = this.weather;
    const fate = this.#random();
    return new Promise((resolve, reject) => {
      const gaveUp = () => reject(new AnynodeError("ENGINE_TIMEOUT", "No reply, by the test's choice."));
      // A connection that breaks is noticed before the deadline.
      const patience = fate < lost / 2 ? this.#delay() : DEADLINE_MS;
      const cancel = this.#guest.clock.after(patience, gaveUp);
      const settle = (reply: () => void) => {
        if (fate < lost) return;
        this.#world.after(this.#delay(), () =>
          this.#guest.run(() => {
            cancel();
            reply();
          }),
        );
      };
      if (fate < lost / 4) return;
      const late = fate < lost * 0.7 ? this.#random() * 1_500 : 0;
      this.#world.after(this.#delay() + Math.floor(late), () => {
        try {
          const reply = command();
          settle(() => resolve(reply));
        } catch (error) {
          settle(() => reject(error));
        }
      });
    });
  }

  deliver(run: () => void): void {
    if (this.#loseNext > 0) this.#loseNext -= 1;
    else if (!this.#cut && this.#random() >= this.weather.lost / 4) {
      const made = this.#made;
      this.#deliveredAt = Math.max(this.#deliveredAt, this.#world.monotonic() + this.#delay());
      this.#world.after(this.#deliveredAt - this.#world.monotonic(), () => {
        if (made === this.#made) this.#guest.run(run);
      });
    }
  }

  /** The next messages don't come. */
  lose(messages: number): void {
    this.#loseNext = messages;
  }

  /** From now on nothing comes in on the subscriptions, and nothing shows it. */
  cut(): void {
    this.#cut = true;
  }

  /** What was under way on the old connection is lost. */
  renew(): void {
    this.#made += 1;
    this.#cut = false;
    this.#deliveredAt = 0;
  }

  #delay(): number {
    const { slow } = this.weather;
    const chance = this.#random();
    if (chance >= slow) return Math.floor(this.#random() * 3);
    return Math.floor(this.#random() * (chance < slow / 8 ? 1_500 : chance < slow / 2 ? 300 : 30));
  }
}
