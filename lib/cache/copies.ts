/**
 * The copies of records that this node has, and the protocol that keeps them true (remote engines; docs/architecture.md, "Copies").
 * A record is copied under a *fill ticket*: opened inside a run of the lease before the read was sent, void once a drop for the key comes
 * in or the run ends. Whoever writes tells all who have copies, and waits for their answers.
 * The invariant: what `copy()` gives was the newest completed version at some instant not before the call.
 */
import type { Clock, EngineClock } from "../clock.js";
import {
  COPY_LEASE_MS,
  type Dropped,
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
import { Acks, type Answers } from "./acks.js";
import { Lease } from "./lease.js";
import { NearCache } from "./near-cache.js";
import { type Acked, acksText, endedText, type Notice, parseNotice } from "./notices.js";
import { Shunned } from "./shunned.js";
import { type Reading, type Ticket, Tickets } from "./tickets.js";

/**
 * A write of our own without a reply for so long counts as given up, be the timer that says so late or not: well within the time for which
 * the engine remembers that we were told.
 */
const UNANSWERED_MS = COPY_LEASE_MS / 2;
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
  /** On the monotonic clock. */
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
  /** Told that a session ended on another node; gives back how many live things of it this node closed for that. */
  onEnded: (key: Key) => number = () => 0;
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
  #server = "";
  #subscription: Subscription | undefined;
  /** How many want this node's channel heard although it has no copies. */
  #listeners = 0;
  #following: Promise<void> = Promise.resolve();
  /** Counts attempts to subscribe: only the last one's messages count. Heard twice, a drop could stand in for one that was lost. */
  #attempt = 0;
  /** Monotonic times. */
  #beatenAt = Number.NEGATIVE_INFINITY;
  #clockDoubtUntil = Number.NEGATIVE_INFINITY;
  #nodesDoubtUntil = Number.NEGATIVE_INFINITY;
  #heardAt = Number.NEGATIVE_INFINITY;
  #renewedAt = Number.NEGATIVE_INFINITY;
  /** Grows with every write that is given up; fences those that run late (lua/copies.lua). */
  #generation = 0;
  /** Our own writes under way, by key: when the oldest was sent. */
  readonly #underWay = new Map<Key, { sentAt: number; count: number }>();
  /** Acks to go out with the end of this turn, by writer. */
  readonly #outbox = new Map<string, { number: number; epoch: number; acked: Acked[]; dropped: Dropped[] }>();

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
  /** The run that lasts; 0: none does. In a run nothing that was told to this node more than one lease ago is unheard. */
  get run(): number {
    return this.#lease.trusted() ? this.#lease.run : 0;
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
    if (this.#underWay.size > 0 && this.#isUnanswered(key)) return undefined;
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
  joinable(key: Key): Promise<Reading> | undefined {
    return this.#underWay.size > 0 && this.#isUnanswered(key) ? undefined : this.#tickets.reading(key);
  }

  /** A ticket to copy what is about to be read, or written. Without one nothing may be copied. */
  ticket(key: Key): Ticket | undefined {
    if (!this.#leasing || this.#mode === "checked" || this.#fleetChecked || !this.#lease.trusted()) return undefined;
    return this.#shunned.has(key)
      ? undefined
      : this.#tickets.open(key, { number: this.#number, epoch: this.#epoch, generation: this.#generation });
  }

  /** Lets others share a reading for as long as its ticket is clean. */
  share(ticket: Ticket, reading: Promise<Reading>): void {
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

  /** Forgets all copies: what they were read with isn't valid any more. */
  clear(): void {
    this.#near.clear();
    this.#tickets.voidAll();
  }

  // ── Writing ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** To be called right before a write is sent. `keeps`: this node would like to keep a copy of what it writes. */
  writing(key: Key, keeps: boolean): Writing {
    const sentAt = this.#clock.monotonic();
    if (this.#engine.fill === undefined) return { key, by: NO_NODE, ticket: undefined, sentAt };
    const ticket = keeps ? this.ticket(key) : undefined;
    // Paused for long, we may be nobody by now and another node have our number: it must be told like any other.
    const ours = sentAt - this.#beatenAt < OURS_MS;
    // And who doesn't beat doesn't hear that the registry was lost.
    const lost = !ours || sentAt < this.#nodesDoubtUntil;
    const by: Writer = {
      number: ours ? this.#number : -1,
      epoch: this.#epoch,
      keep: ticket !== undefined,
      sentAt: this.#engineClock.earliest(),
      doubt: lost ? "nodes" : sentAt < this.#clockDoubtUntil ? "clock" : "none",
      generation: this.#generation,
      serial: this.#acks.expect(),
    };
    const underWay = this.#underWay.get(key);
    if (underWay === undefined) this.#underWay.set(key, { sentAt, count: 1 });
    else underWay.count += 1;
    return { key, by, ticket, sentAt };
  }

  /** It was stored: our own older copy and fills are void. `counts`: the engine has written down that we keep this one. */
  stored(writing: Writing, loaded: Loaded, counts: boolean): void {
    const { key, ticket } = writing;
    const clean = counts && ticket !== undefined && this.#tickets.clean(ticket);
    this.#answered(writing);
    if (clean) this.#near.put(loaded, this.#lease.run);
    else if (!this.#leasing) this.#near.put(loaded, 0);
    else this.#near.drop(key);
  }

  /** Nothing was stored: somebody else's version is there, or nothing. */
  refused(writing: Writing): void {
    this.#answered(writing);
    this.#acks.forget(writing.by.serial);
  }

  /** Its outcome is unknown: it may still run. What is copied from now on is fenced against it. */
  unknown(writing: Writing): void {
    this.#generation += 1;
    this.refused(writing);
  }

  /** It ended the session of that key. */
  over(writing: Writing): void {
    this.#answered(writing);
  }

  /** Resolves once nobody trusts an older copy any more, with the numbers of those that didn't answer; at once if nobody had one. */
  settled({ by }: Writing, waitFor: readonly Waiting[]): Promise<number[]> | undefined {
    if (waitFor.length > 0) return this.#acks.settled(by.serial, waitFor);
    this.#acks.forget(by.serial);
    return undefined;
  }

  /** Whatever came of it, our own copy and fills under way are older. */
  #answered({ key, by }: Writing): void {
    this.forget(key);
    const underWay = by === NO_NODE ? undefined : this.#underWay.get(key);
    if (underWay === undefined) return;
    underWay.count -= 1;
    if (underWay.count === 0) this.#underWay.delete(key);
  }

  #isUnanswered(key: Key): boolean {
    const underWay = this.#underWay.get(key);
    return underWay !== undefined && this.#clock.monotonic() - underWay.sentAt >= UNANSWERED_MS;
  }

  // ── The lease's life: called by the registry ──────────────────────────────────────────────────────────────────────

  /** This node has (another) number. */
  async joined(number: number, epoch: number): Promise<void> {
    this.#lease.end();
    const now = this.#clock.monotonic();
    const moved = number !== this.#number;
    // Joined again: others may not be back yet.
    if (this.#nodesDoubtUntil > now) this.#nodesDoubtUntil = now + DOUBT_MS;
    this.#number = number;
    this.#epoch = epoch;
    // Above all generations of whoever had this number before: epochs grow fleet-wide, and faster than writes are given up.
    this.#generation = Math.max(epoch, this.#generation + 1);
    this.#beatenAt = now;
    // The engine's clock may have jumped right before: leases that look over may not be.
    this.#clockDoubtUntil = now + DOUBT_MS;
    this.#heardAt = now;
    await this.#follow(moved);
  }

  /** Has this node's channel heard, with copies or without, until the caller is done with it: then it calls what this gives. */
  async listen(): Promise<() => void> {
    this.#listeners += 1;
    await this.#follow();
    let done = false;
    return () => {
      if (done) return;
      done = true;
      this.#listeners -= 1;
      void this.#follow();
    };
  }

  /** Engines that tell nobody by themselves: tells those nodes that a session ended; resolves with what they answered, once all have or won't. */
  async tellEnded(key: Key, version: number, numbers: readonly number[]): Promise<Answers | undefined> {
    const quiet = await this.listen();
    const serial = this.#acks.expect();
    const answers = this.#acks.answers(serial);
    const text = endedText(key, version, this.#number, this.#epoch, serial);
    for (const number of numbers) this.#engine.publish(nodeChannel(number), text).catch(() => {});
    const waitFor = numbers.map((number) => ({ number, leftMs: COPY_LEASE_MS }));
    await this.#acks.settled(serial, waitFor);
    quiet();
    return answers;
  }

  /** What is answered to a write of this node, until it is settled. */
  answers({ by }: Writing): Answers | undefined {
    return this.#acks.answers(by.serial);
  }

  /** On a remote engine the channel costs nothing but a connection; what has none of its own hears it while somebody listens. */
  get #hears(): boolean {
    return this.#engine.fill !== undefined || this.#listeners > 0;
  }

  /** A beat is about to be sent: what it shall carry. */
  beat(): Echo | undefined {
    if (!this.#leasing) return undefined;
    const now = this.#clock.monotonic();
    if (now - this.#heardAt > MUTE_MS) this.#turn("checked", "nothing is heard on this node's channel");
    if (now - this.#heardAt > COPY_LEASE_MS && now - this.#renewedAt > COPY_LEASE_MS) {
      this.#renewedAt = now;
      // A subscription that looks alive proves nothing: it may hang on a demoted primary.
      if (this.#subscription === undefined) void this.#follow();
      else void this.#subscription.renew?.().catch(() => {});
    }
    const trusts = this.#mode === "leased" && this.#subscription !== undefined;
    return { serial: this.#lease.beat(trusts), trusts };
  }

  /** The beat sent at `sentAt` (monotonic) renewed our row. */
  beaten(sentAt: number, mute: boolean, server: string): void {
    this.#beatenAt = sentAt;
    // Another server may have lost the last writes, and give their versions anew.
    if (this.#server !== server && this.#server !== "") {
      this.#lease.end();
      this.#near.clear();
    }
    this.#server = server;
    if (mute) this.#turn("checked", "the engine may not publish");
  }

  /** Whether a live node reads by asking. */
  fleet(checked: boolean): void {
    this.#fleetChecked = checked;
  }

  /** This node is nobody: it is leaving, or (`fenced`) its row was lost, and the others' perhaps with it. */
  ended(fenced: boolean): void {
    this.#lease.end();
    // A row that says that its node left keeps the number for a lease: the last requests are served as before.
    if (!fenced) return;
    this.#beatenAt = Number.NEGATIVE_INFINITY;
    this.#nodesDoubtUntil = Number.POSITIVE_INFINITY;
  }

  /** No message comes in any more. */
  async stop(): Promise<void> {
    this.ended(false);
    await this.#unsubscribe();
  }

  async #unsubscribe(): Promise<void> {
    this.#attempt += 1;
    const subscription = this.#subscription;
    this.#subscription = undefined;
    await subscription?.close().catch(() => {});
  }

  /** Subscribes or unsubscribes as is wanted when its turn comes; `anew`: even if a subscription stands. */
  #follow(anew = false): Promise<void> {
    this.#following = this.#following.then(() => {
      if (!this.#hears) return this.#unsubscribe();
      return this.#number >= 0 && (anew || this.#subscription === undefined) ? this.#subscribe() : undefined;
    });
    return this.#following;
  }

  async #subscribe(): Promise<void> {
    const number = this.#number;
    this.#attempt += 1;
    const attempt = this.#attempt;
    await this.#subscription?.close().catch(() => {});
    this.#subscription = undefined;
    try {
      const onMessage = (text: string) => {
        if (attempt === this.#attempt) this.#heard(parseNotice(text));
      };
      const subscription = await this.#engine.subscribe(nodeChannel(number), onMessage);
      if (attempt === this.#attempt) this.#subscription = subscription;
      else await subscription.close();
    } catch {
      if (attempt === this.#attempt) this.#turn("checked", "this node can't subscribe to its channel");
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
    } else if (notice?.kind === "acks" && notice.epoch === this.#epoch) this.#acks.heard(notice.number, notice.by, notice.acked);
  }

  #dropped({ key, version, writer, epoch, serial, ended }: Extract<Notice, { kind: "drop" }>): void {
    this.#lease.heardDrop();
    // Whatever its version: after a record was lost and made anew versions say nothing.
    const entry = this.#near.drop(key);
    if (entry !== undefined && entry.run > 0) this.#shunned.dropped(key, entry.hit);
    this.#tickets.void(key);
    // An end of our own that isn't given up sees to what is held here by itself, and counts it.
    const ownEnd = writer === this.#number && epoch === this.#epoch && this.#acks.answers(serial) !== undefined;
    const closed = ended && !ownEnd ? this.onEnded(key) : 0;
    // Outside of a run we have nothing to drop, and may say so as long as our number is ours for sure.
    const ours = this.#clock.monotonic() - this.#beatenAt < OURS_MS;
    if (writer >= 0 && writer !== this.#number && ours) this.#answer(writer, epoch, { serial, closed }, { key, version });
  }

  /** Together with the other answers of this turn. */
  #answer(number: number, epoch: number, acked: Acked, dropped: Dropped): void {
    const to = `${number} ${epoch}`;
    if (this.#outbox.size === 0) queueMicrotask(() => this.#send());
    const waiting = this.#outbox.get(to);
    if (waiting === undefined) this.#outbox.set(to, { number, epoch, acked: [acked], dropped: [dropped] });
    else {
      waiting.acked.push(acked);
      waiting.dropped.push(dropped);
    }
  }

  #send(): void {
    for (const { number, epoch, acked, dropped } of this.#outbox.values()) {
      this.counts.acks += 1;
      const [channel, text] = [nodeChannel(number), acksText(this.#number, this.#epoch, epoch, acked)];
      const sent = this.#engine.answer?.(channel, text, this.#number, dropped) ?? this.#engine.publish(channel, text);
      // One that is lost costs the writer a wait, no more.
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
