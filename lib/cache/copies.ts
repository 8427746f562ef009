/**
 * The copies of records that this node has, and the protocol that keeps them true (remote engines; docs/architecture.md, "Copies").
 * A record is copied under a *fill ticket*: opened inside a run of the lease before the read was sent, void once a drop for the key comes
 * in or the run ends. Whoever writes tells all who have copies, and waits for their answers.
 * The invariant: what `copy()` gives was the newest completed version at some instant not before the call.
 */
import type { Clock, EngineClock } from "../clock.js";
import {
  type Acked,
  COPY_LEASE_MS,
  type Echo,
  type Engine,
  LEASE_MARGIN_MS,
  NO_NODE,
  nodeChannel,
  REGISTRY_LEASE_MS,
  type Subscription,
  type Waiting,
  type Writer,
} from "../engines/engine.js";
import type { Key, Version } from "../names.js";
import type { Loaded } from "../session/record.js";
import { Acks, type Awaited } from "./acks.js";
import { Lease } from "./lease.js";
import { NearCache } from "./near-cache.js";
import { acksText, type Notice, parseNotice } from "./notices.js";
import { Shunned } from "./shunned.js";
import { type Ticket, Tickets } from "./tickets.js";

/** A write may run unnoticed late by this, and clocks disagree by as much: until then nothing is copied of a key whose write is unknown. */
const UNKNOWN_MS = 500;
/** For so long after something cast doubt on the engine's clock, leases granted before it may look over and not be. */
const DOUBT_MS = COPY_LEASE_MS + LEASE_MARGIN_MS;
/** How long our number is ours for sure after a beat: well within the registry lease. */
const OURS_MS = REGISTRY_LEASE_MS / 2;
/** No echo for so long: the channel leads nowhere, and the fleet reads by asking. */
const MUTE_MS = 3 * COPY_LEASE_MS;

/** A write of this node that is about to be sent. */
export interface Writing {
  readonly key: Key;
  readonly by: Writer;
  readonly ticket: Ticket | undefined;
  readonly awaited: Awaited | undefined;
  readonly sentAt: number;
}
export type ReadMode = "leased" | "checked";

/** What happened so far; for people and benches. */
export interface CopyCounts {
  /** Reads served from a copy, without asking the engine. */
  hits: number;
  /** Reads that asked the engine. */
  asked: number;
  /** Drops that came in, and messages that went out: acks. */
  drops: number;
  acks: number;
  /** Runs of the lease that began. */
  runs: number;
}

export class Copies {
  readonly counts: CopyCounts = { hits: 0, asked: 0, drops: 0, acks: 0, runs: 0 };
  /** Told when this node's way of reading changes. */
  onMode: (mode: ReadMode, why: string) => void = () => {};
  readonly #engine: Engine;
  readonly #clock: Clock;
  readonly #engineClock: EngineClock;
  readonly #leasing: boolean;
  readonly #near = new NearCache();
  readonly #acks: Acks;
  readonly #lease: Lease;
  readonly #tickets: Tickets;
  readonly #shunned: Shunned;
  #number = -1;
  #epoch = 0;
  #mode: ReadMode = "leased";
  /** Some live node reads by asking: then nobody makes new copies. */
  #fleetChecked = false;
  #subscription: Subscription | undefined;
  /** Monotonic times. */
  #beatenAt = Number.NEGATIVE_INFINITY;
  #clockDoubtUntil = Number.NEGATIVE_INFINITY;
  #ledgerDoubtUntil = Number.NEGATIVE_INFINITY;
  #heardAt = Number.NEGATIVE_INFINITY;
  #renewedAt = Number.NEGATIVE_INFINITY;
  #firstBeat = true;
  /** Acks to go out with the end of this turn, by writer. */
  readonly #outbox = new Map<string, { number: number; epoch: number; acked: Acked[] }>();

  constructor(engine: Engine, clock: Clock, engineClock: EngineClock, reads: ReadMode) {
    this.#engine = engine;
    this.#clock = clock;
    this.#engineClock = engineClock;
    this.#leasing = engine.fill !== undefined && reads === "leased";
    this.#mode = engine.fill === undefined ? "checked" : reads;
    this.#acks = new Acks(clock);
    this.#lease = new Lease(clock, () => this.#tickets.voidAll());
    this.#tickets = new Tickets(this.#lease);
    this.#shunned = new Shunned(clock);
    engineClock.onJump = () => {
      this.#lease.end();
      this.#clockDoubtUntil = clock.monotonic() + DOUBT_MS;
    };
  }

  get mode(): ReadMode {
    return this.#mode;
  }
  /** Whether a run of the lease lasts: copies may be served, and drops are heard. */
  get trusted(): boolean {
    return this.#lease.trusted();
  }
  get bytes(): number {
    return this.#near.bytes;
  }
  get size(): number {
    return this.#near.size;
  }

  // ── Reading ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A copy that may be served as it is. At its deadline it is read again: another node may have extended it. */
  copy(key: Key): Loaded | undefined {
    if (!this.#leasing) return undefined;
    const entry = this.#near.get(key);
    if (entry === undefined || entry.run !== this.#lease.run || !this.#lease.trusted()) return undefined;
    if (this.#engineClock.latest() >= entry.loaded.idleAt) return undefined;
    entry.hit = true;
    this.counts.hits += 1;
    return entry.loaded;
  }

  /** What was read last, to be served if the engine says that its version is still current. */
  known(key: Key): Loaded | undefined {
    return this.#near.get(key)?.loaded;
  }

  /** A reading under way that a request which starts now may share. */
  joinable(key: Key): Promise<Loaded | undefined> | undefined {
    return this.#tickets.reading(key);
  }

  /** A ticket to copy what is about to be read, or written. Without one nothing may be copied. */
  ticket(key: Key): Ticket | undefined {
    if (!this.#leasing || this.#mode === "checked" || this.#fleetChecked || !this.#lease.trusted()) return undefined;
    return this.#shunned.has(key) ? undefined : this.#tickets.open(key, this.#number);
  }

  /** Lets others share a reading for as long as its ticket is clean. */
  share(ticket: Ticket, reading: Promise<Loaded | undefined>): void {
    this.#tickets.share(ticket, reading);
  }

  /** What a reading found. `counts`: the engine has written down that we have a copy. */
  keep(loaded: Loaded, ticket: Ticket | undefined, counts: boolean): void {
    if (ticket !== undefined && counts && this.#tickets.clean(ticket)) this.#near.put(loaded, this.#lease.run);
    else if (!this.#leasing || !this.#shunned.has(loaded.key)) this.#near.put(loaded, 0);
  }

  close(ticket: Ticket | undefined): void {
    if (ticket !== undefined) this.#tickets.close(ticket);
  }

  extended(key: Key, version: Version, idleAt: number): void {
    this.#near.extend(key, version, idleAt);
  }

  forget(key: Key): void {
    this.#near.drop(key);
    this.#tickets.void(key);
  }

  // ── Writing ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** To be called right before a write is sent. `keeps`: this node would like to keep a copy of what it writes. */
  writing(key: Key, keeps: boolean): Writing {
    const sentAt = this.#clock.monotonic();
    if (this.#engine.fill === undefined) return { key, by: NO_NODE, ticket: undefined, awaited: undefined, sentAt };
    const ticket = keeps ? this.ticket(key) : undefined;
    // Paused for long, we may be nobody by now and another node have our number: it must be told like any other.
    const ours = sentAt - this.#beatenAt < OURS_MS;
    const doubt = sentAt < this.#ledgerDoubtUntil ? "ledger" : sentAt < this.#clockDoubtUntil ? "clock" : "none";
    const by: Writer = {
      number: ours ? this.#number : -1,
      epoch: this.#epoch,
      keep: ticket !== undefined,
      sentAt: this.#engineClock.earliest(),
      doubt,
    };
    return { key, by, ticket, awaited: this.#acks.expect(key), sentAt };
  }

  /** It was stored: our own older copy and fills are void. */
  stored({ key, ticket }: Writing, loaded: Loaded): void {
    const clean = ticket !== undefined && this.#tickets.clean(ticket);
    this.forget(key);
    if (clean) this.#near.put(loaded, this.#lease.run);
    else if (!this.#leasing) this.#near.put(loaded, 0);
  }

  /** Nothing was stored: somebody else's version is there, or nothing. */
  refused({ key, awaited }: Writing): void {
    this.forget(key);
    if (awaited !== undefined) this.#acks.forget(key, awaited);
  }

  /** Its outcome is unknown: it may still run. Until it can't unnoticed, nothing of the key is copied. */
  unknown(writing: Writing): void {
    this.refused(writing);
    if (this.#leasing) this.#shunned.until(writing.key, writing.sentAt + UNKNOWN_MS);
  }

  /** Resolves once nobody trusts an older copy any more, with the numbers of those that didn't answer; at once if nobody had one. */
  settled({ key, awaited }: Writing, version: number, waitFor: readonly Waiting[]): Promise<number[]> | undefined {
    if (awaited === undefined) return undefined;
    if (waitFor.length > 0) return this.#acks.settled(key, awaited, version, waitFor);
    this.#acks.forget(key, awaited);
    return undefined;
  }

  // ── The lease's life: called by the registry ──────────────────────────────────────────────────────────────────────

  /** This node has (another) number. */
  async joined(number: number, epoch: number): Promise<void> {
    this.#lease.end();
    const now = this.#clock.monotonic();
    const moved = number !== this.#number;
    this.#number = number;
    this.#epoch = epoch;
    this.#beatenAt = now;
    // The engine's clock may have jumped right before: leases that look over may not be.
    this.#clockDoubtUntil = now + DOUBT_MS;
    // Whoever hasn't come back yet has no copies any more by then.
    if (this.#ledgerDoubtUntil > now) this.#ledgerDoubtUntil = now + DOUBT_MS;
    this.#heardAt = now;
    this.#firstBeat = true;
    if (this.#leasing && (moved || this.#subscription === undefined)) await this.#subscribe();
  }

  /** A beat is about to be sent: what it shall carry. */
  beat(): Echo | undefined {
    if (!this.#leasing) return undefined;
    const now = this.#clock.monotonic();
    if (now - this.#heardAt > MUTE_MS) this.#turn("checked", "nothing is heard on this node's channel");
    if (now - this.#heardAt > COPY_LEASE_MS && now - this.#renewedAt > COPY_LEASE_MS) {
      this.#renewedAt = now;
      // A subscription that looks alive proves nothing: it may hang on a demoted primary.
      if (this.#subscription === undefined) void this.#subscribe();
      else void this.#subscription.renew?.().catch(() => {});
    }
    const trusts = this.#mode === "leased" && this.#subscription !== undefined;
    return { serial: this.#lease.beat(trusts), trusts };
  }

  /** The beat sent at `sentAt` (monotonic) renewed our row. */
  beaten(sentAt: number, mute: boolean, forgotten: boolean): void {
    this.#beatenAt = sentAt;
    if (mute) this.#turn("checked", "the engine may not publish");
    // The engine lost what it knew of leases: whom it lost it can't tell.
    if (forgotten && !this.#firstBeat) this.#ledgerDoubtUntil = this.#clock.monotonic() + DOUBT_MS;
    this.#firstBeat = false;
  }

  /** Whether a live node reads by asking. */
  fleet(checked: boolean): void {
    this.#fleetChecked = checked;
  }

  /** This node's row is gone: it lapsed, or the engine lost all that it knew, and then it can't tell who has copies. */
  fenced(): void {
    this.ended();
    this.#ledgerDoubtUntil = Number.POSITIVE_INFINITY;
  }

  /** Leaving: this node is nobody. */
  ended(): void {
    this.#lease.end();
    this.#beatenAt = Number.NEGATIVE_INFINITY;
  }

  /** No message comes in any more. */
  async stop(): Promise<void> {
    this.ended();
    const subscription = this.#subscription;
    this.#subscription = undefined;
    await subscription?.close().catch(() => {});
  }

  async #subscribe(): Promise<void> {
    const number = this.#number;
    await this.#subscription?.close().catch(() => {});
    this.#subscription = undefined;
    try {
      const onMessage = (text: string) => {
        if (number === this.#number) this.#heard(parseNotice(text));
      };
      const subscription = await this.#engine.subscribe(nodeChannel(number), onMessage);
      if (number === this.#number) this.#subscription = subscription;
      else await subscription.close();
    } catch {
      this.#turn("checked", "this node can't subscribe to its channel");
    }
  }

  #heard(notice: Notice | undefined): void {
    if (notice?.kind === "echo") {
      if (notice.epoch !== this.#epoch) return;
      this.#heardAt = this.#clock.monotonic();
      this.#turn("leased", "its channel is heard again");
      const before = this.#lease.run;
      this.#lease.heardEcho(notice.serial, notice.count);
      if (this.#lease.run !== before) this.counts.runs += 1;
    } else if (notice?.kind === "drop") {
      this.counts.drops += 1;
      this.#dropped(notice);
    } else if (notice?.kind === "acks" && notice.epoch === this.#epoch) this.#acks.heard(notice.number, notice.acked);
  }

  #dropped({ key, version, writer, epoch, ended }: Extract<Notice, { kind: "drop" }>): void {
    this.#lease.heardDrop();
    const entry = this.#near.get(key);
    // What is as new as the drop was filled, or written by ourselves, behind the write that it tells of.
    if (entry !== undefined && (ended || entry.loaded.version < version)) {
      this.#near.drop(key);
      if (entry.run > 0) this.#shunned.dropped(key, entry.hit);
    }
    this.#tickets.void(key);
    // Outside of a run we have nothing to drop, and may say so as long as our number is ours for sure.
    const ours = this.#clock.monotonic() - this.#beatenAt < OURS_MS;
    if (writer >= 0 && writer !== this.#number && ours) this.#answer(writer, epoch, { key, version });
  }

  /** Together with the other answers of this turn. */
  #answer(number: number, epoch: number, acked: Acked): void {
    const to = `${number} ${epoch}`;
    if (this.#outbox.size === 0) queueMicrotask(() => this.#send());
    const waiting = this.#outbox.get(to);
    if (waiting === undefined) this.#outbox.set(to, { number, epoch, acked: [acked] });
    else waiting.acked.push(acked);
  }

  #send(): void {
    for (const { number, epoch, acked } of this.#outbox.values()) {
      this.counts.acks += 1;
      // One that is lost costs the writer a wait, no more.
      const [channel, text] = [nodeChannel(number), acksText(this.#number, epoch, acked)];
      const sent = this.#engine.answer?.(channel, text, this.#number, acked) ?? this.#engine.publish(channel, text);
      sent.catch(() => {});
    }
    this.#outbox.clear();
  }

  #turn(mode: ReadMode, why: string): void {
    if (mode === this.#mode || !this.#leasing) return;
    this.#mode = mode;
    if (mode === "checked") this.#lease.end();
    this.onMode(mode, why);
  }
}
