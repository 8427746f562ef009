/**
 * The copies of records that this node has, and the protocol that keeps them true (remote engines; docs/architecture.md, "Copies").
 * A record is copied under a *fill ticket*: opened inside a run of the lease before the read was sent, void once a drop for the key comes
 * in or the run ends. Whoever writes tells all who have copies, and waits for their answers.
 * The invariant: what `copy()` gives was the newest completed version at some instant not before the call.
 */
import type { Clock, EngineClock } from "../clock.js";
import { COPY_LEASE_MS, type Echo, type Engine, NO_NODE, nodeChannel, type Waiting, type Writer } from "../engines/engine.js";
import type { Key, Version } from "../names.js";
import type { Loaded } from "../session/record.js";
import { Acks, type Answers } from "./acks.js";
import { Lease } from "./lease.js";
import { NearCache } from "./near-cache.js";
import { endedText, type Notice } from "./notices.js";
import { Outbox } from "./outbox.js";
import { OwnChannel } from "./own-channel.js";
import { Shunned } from "./shunned.js";
import { Standing } from "./standing.js";
import { type Reading, type Ticket, Tickets } from "./tickets.js";
import { type ReadMode, Trust } from "./trust.js";
import { UnderWay } from "./under-way.js";

/** A write of this node that is about to be sent. */
export interface Writing {
  readonly key: Key;
  readonly by: Writer;
  readonly ticket: Ticket | undefined;
  /** On the monotonic clock. */
  readonly sentAt: number;
}

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
  readonly #standing: Standing;
  readonly #underWay: UnderWay;
  readonly #channel: OwnChannel;
  readonly #outbox: Outbox;
  readonly #trust: Trust;

  constructor(engine: Engine, clock: Clock, engineClock: EngineClock, reads: ReadMode) {
    this.#engine = engine;
    this.#clock = clock;
    this.#engineClock = engineClock;
    this.#leasing = engine.fill !== undefined && reads === "leased";
    this.#acks = new Acks(clock);
    this.#lease = new Lease(clock, () => this.#tickets.voidAll());
    this.#tickets = new Tickets(this.#lease);
    this.#shunned = new Shunned(clock);
    this.#standing = new Standing(clock);
    this.#underWay = new UnderWay(clock);
    this.#outbox = new Outbox(engine, this.#standing, () => {
      this.counts.acks += 1;
    });
    this.#channel = new OwnChannel(engine, { heard: (notice) => this.#heard(notice), deaf: () => this.#trust.deaf() });
    const how = { mode: engine.fill === undefined ? "checked" : reads, leasing: this.#leasing };
    this.#trust = new Trust(clock, how, this.#lease, this.#standing, this.#channel, {
      turned: (mode, why) => this.onMode(mode, why),
      moved: () => this.#near.clear(),
    });
    engineClock.onJump = () => this.#trust.jumped();
  }

  get mode(): ReadMode {
    return this.#trust.mode;
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
    if (this.#underWay.isOverdue(key)) return undefined;
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
    return this.#underWay.isOverdue(key) ? undefined : this.#tickets.reading(key);
  }

  /** A ticket to copy what is about to be read, or written. Without one nothing may be copied. */
  ticket(key: Key): Ticket | undefined {
    return !this.#trust.makesCopies || this.#shunned.has(key) ? undefined : this.#tickets.open(key, this.#standing);
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
    const { number, epoch, generation } = this.#standing;
    const by: Writer = {
      // If it isn't ours for sure, whoever has it must be told like any other.
      number: this.#standing.isOurs(sentAt) ? number : -1,
      epoch,
      keep: ticket !== undefined,
      sentAt: this.#engineClock.earliest(),
      doubt: this.#standing.doubt(sentAt),
      generation,
      serial: this.#acks.expect(),
    };
    this.#underWay.sent(key, sentAt);
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
    this.#standing.gaveUp();
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
    if (by !== NO_NODE) this.#underWay.answered(key);
  }

  // ── Ends, and what is heard ───────────────────────────────────────────────────────────────────────────────────────

  /** Engines that tell nobody by themselves: tells those nodes that a session ended; resolves with what they answered, once all have or won't. */
  async tellEnded(key: Key, version: number, numbers: readonly number[]): Promise<Answers | undefined> {
    const quiet = await this.listen();
    const serial = this.#acks.expect();
    const answers = this.#acks.answers(serial);
    const text = endedText(key, version, this.#standing.number, this.#standing.epoch, serial);
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

  /** Has this node's channel heard, with copies or without, until the caller is done with it: then it calls what this gives. */
  listen(): Promise<() => void> {
    return this.#channel.listen();
  }

  #heard(notice: Notice | undefined): void {
    if (notice?.kind === "echo") {
      if (notice.epoch === this.#standing.epoch && this.#trust.heardEcho(notice.serial, notice.count)) this.counts.runs += 1;
    } else if (notice?.kind === "drop") {
      this.counts.drops += 1;
      this.#dropped(notice);
    } else if (notice?.kind === "acks" && notice.epoch === this.#standing.epoch) {
      this.#acks.heard(notice.number, notice.by, notice.acked);
    }
  }

  #dropped({ key, version, writer, epoch, serial, ended }: Extract<Notice, { kind: "drop" }>): void {
    this.#lease.heardDrop();
    // Whatever its version: after a record was lost and made anew versions say nothing.
    const entry = this.#near.drop(key);
    if (entry !== undefined && entry.run > 0) this.#shunned.dropped(key, entry.hit);
    this.#tickets.void(key);
    // An end of our own that isn't given up sees to what is held here by itself, and counts it.
    const own = this.#standing;
    const ownEnd = writer === own.number && epoch === own.epoch && this.#acks.answers(serial) !== undefined;
    const closed = ended && !ownEnd ? this.onEnded(key) : 0;
    // Outside of a run we have nothing to drop, and may say so as long as our number is ours for sure.
    const ours = own.isOurs(this.#clock.monotonic());
    if (writer >= 0 && writer !== own.number && ours) this.#outbox.put(writer, epoch, { serial, closed }, { key, version });
  }

  // ── The lease's life: called by the registry (see Pulse there) ────────────────────────────────────────────────────

  /** This node has (another) number. */
  joined(number: number, epoch: number): Promise<void> {
    return this.#trust.joined(number, epoch);
  }

  /** A beat is about to be sent: what it shall carry. */
  beat(): Echo | undefined {
    return this.#trust.beat();
  }

  /** The beat sent at `sentAt` (monotonic) renewed our row. */
  beaten(sentAt: number, mute: boolean, server: string): void {
    this.#trust.beaten(sentAt, mute, server);
  }

  /** Whether a live node reads by asking. */
  fleet(checked: boolean): void {
    this.#trust.fleet(checked);
  }

  /** This node is nobody: it is leaving, or (`fenced`) its row was lost, and the others' perhaps with it. */
  ended(fenced: boolean): void {
    this.#trust.ended(fenced);
  }

  /** No message comes in any more. */
  async stop(): Promise<void> {
    this.ended(false);
    await this.#channel.stop();
  }
}
