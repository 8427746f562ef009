/**
 * Whether this node may make copies and trust them, as its beats and their echoes tell: the lease's life, and the way of reading that
 * comes of it. Who hears nothing on its channel reads by asking, and says so; while a live node does, nobody makes new copies.
 */
import type { Clock } from "../clock.js";
import { COPY_LEASE_MS, type Echo } from "../engines/engine.js";
import type { Lease } from "./lease.js";
import type { OwnChannel } from "./own-channel.js";
import type { Standing } from "./standing.js";

export type ReadMode = "leased" | "checked";

/** No echo for so long: the channel leads nowhere, and the fleet reads by asking. */
const MUTE_MS = 3 * COPY_LEASE_MS;

/** Whom it tells. */
export interface TrustEvents {
  /** This node's way of reading changes. */
  turned(mode: ReadMode, why: string): void;
  /** The engine is another server by now. */
  moved(): void;
}

export class Trust {
  readonly #clock: Clock;
  /** Whether the engine and the options have copies at all. */
  readonly #leasing: boolean;
  readonly #lease: Lease;
  readonly #standing: Standing;
  readonly #channel: OwnChannel;
  readonly #events: TrustEvents;
  #mode: ReadMode;
  /** Some live node reads by asking. */
  #fleetChecked = false;
  #server = "";
  /** Monotonic times. */
  #heardAt = Number.NEGATIVE_INFINITY;
  #renewedAt = Number.NEGATIVE_INFINITY;

  constructor(
    clock: Clock,
    { mode, leasing }: { readonly mode: ReadMode; readonly leasing: boolean },
    lease: Lease,
    standing: Standing,
    channel: OwnChannel,
    events: TrustEvents,
  ) {
    this.#clock = clock;
    this.#mode = mode;
    this.#leasing = leasing;
    this.#lease = lease;
    this.#standing = standing;
    this.#channel = channel;
    this.#events = events;
  }

  get mode(): ReadMode {
    return this.#mode;
  }

  /** Whether new copies may be made now. */
  get makesCopies(): boolean {
    return this.#leasing && this.#mode !== "checked" && !this.#fleetChecked && this.#lease.trusted();
  }

  // See Pulse, in the registry, for these five.

  async joined(number: number, epoch: number): Promise<void> {
    this.#lease.end();
    this.#standing.joined(number, epoch);
    this.#heardAt = this.#clock.monotonic();
    await this.#channel.joined(number);
  }

  beat(): Echo | undefined {
    if (!this.#leasing) return undefined;
    const now = this.#clock.monotonic();
    if (now - this.#heardAt > MUTE_MS) this.#turn("checked", "nothing is heard on this node's channel");
    if (now - this.#heardAt > COPY_LEASE_MS && now - this.#renewedAt > COPY_LEASE_MS) {
      this.#renewedAt = now;
      this.#channel.renew();
    }
    const trusts = this.#mode === "leased" && this.#channel.stands;
    return { serial: this.#lease.beat(trusts), trusts };
  }

  beaten(sentAt: number, mute: boolean, server: string): void {
    this.#standing.beaten(sentAt);
    // Another server may have lost the last writes, and give their versions anew.
    if (this.#server !== server && this.#server !== "") {
      this.#lease.end();
      this.#events.moved();
    }
    this.#server = server;
    if (mute) this.#turn("checked", "the engine may not publish");
  }

  fleet(checked: boolean): void {
    this.#fleetChecked = checked;
  }

  ended(fenced: boolean): void {
    this.#lease.end();
    // A row that says that its node left keeps the number for a lease: the last requests are served as before.
    if (fenced) this.#standing.fenced();
  }

  /** The echo of one of our own beats. Whether a run of the lease began with it. */
  heardEcho(serial: number, count: number): boolean {
    this.#heardAt = this.#clock.monotonic();
    this.#turn("leased", "its channel is heard again");
    const before = this.#lease.run;
    this.#lease.heardEcho(serial, count);
    return this.#lease.run !== before;
  }

  /** The engine's clock jumped. */
  jumped(): void {
    this.#lease.end();
    this.#standing.jumped();
  }

  /** This node can't subscribe to its channel. */
  deaf(): void {
    this.#turn("checked", "this node can't subscribe to its channel");
  }

  #turn(mode: ReadMode, why: string): void {
    if (mode === this.#mode || !this.#leasing) return;
    this.#mode = mode;
    if (mode === "checked") this.#lease.end();
    this.#events.turned(mode, why);
  }
}
