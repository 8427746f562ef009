/**
 * The registry: this node's row, renewed by beats, and what it knows of the others. Who is alive, at which address.
 * A node whose row is lost (it was paused, or the engine forgot) is *fenced*: it is nobody until it has joined again.
 */
import { randomBytes } from "node:crypto";
import type { Clock, EngineClock } from "../clock.js";
import { type Echo, type Engine, type Holder, MAX_NODES, type Row } from "../engines/engine.js";
import { AnynodeError } from "../errors.js";
import type { Events } from "../events.js";
import { isNodeId, type NodeId } from "../names.js";
import { line } from "../options.js";
import { type About, type Node, nodeOf } from "./node.js";
import type { Watermark } from "./watermark.js";

export const BEAT_MS = 500;

/** What rides on the beats, and is told how they fare. */
export interface Pulse {
  /** This node has that number now: the first time, or again after it was fenced. */
  joined(number: number, epoch: number): Promise<void>;
  /** A beat is about to be sent: what it shall carry. */
  beat(): Echo | undefined;
  /** The beat sent at `sentAt` (monotonic) renewed the row. `mute`, `server`: see the port. */
  beaten(sentAt: number, mute: boolean, server: string): void;
  /** The rows changed; whether a live node reads by asking. */
  fleet(checked: boolean): void;
  /** This node is nobody: it is leaving, or (`fenced`) its row was lost. */
  ended(fenced: boolean): void;
}

/** What the registry tells the others of this node's keyring, and tells it of theirs. */
export interface AnnouncedKeys {
  readonly ids: readonly string[];
  /** Whether it needn't hear which keys the others have before they change. */
  readonly settled: boolean;
  /** The `keys` of every other node, of those that left within the last lease, too: they may still be serving their last requests. */
  heard(others: readonly (readonly string[])[]): void;
}

export class Registry {
  readonly #engine: Engine;
  readonly #clock: Clock;
  readonly #engineClock: EngineClock;
  readonly #events: Events;
  readonly #pulse: Pulse;
  /** @internal Set by Sessions, who know what an id stands for. */
  holdersOf: (sid: string) => Promise<readonly Holder[]> = async () => [];
  readonly #keys: AnnouncedKeys;
  readonly #watermark: Watermark;
  #about: About;
  #nodeId = freshNodeId();
  #number = -1;
  #epoch = 0;
  #state: "new" | "joined" | "fenced" | "left" = "new";
  #revision = -1;
  #others = new Map<string, Node>();
  #downSince: number | undefined;
  /** The reply of an earlier join didn't come: it may have written our row. */
  #unanswered = false;
  #cancelBeat: () => void = () => {};
  #beating: Promise<void> | undefined;

  /** @internal Made by Sessions. */
  constructor(
    engine: Engine,
    clock: Clock,
    engineClock: EngineClock,
    events: Events,
    pulse: Pulse,
    about: Omit<About, "state" | "startedAt">,
    keys: AnnouncedKeys,
    watermark: Watermark,
  ) {
    this.#engine = engine;
    this.#pulse = pulse;
    this.#clock = clock;
    this.#engineClock = engineClock;
    this.#events = events;
    this.#keys = keys;
    this.#watermark = watermark;
    this.#about = { ...about, state: "live", startedAt: clock.now() };
  }

  /** This node's id: random, once per process. Redrawn only if another process turns out to use it (a cloned machine). */
  get nodeId(): string {
    return this.#nodeId;
  }
  /** This node's number: 0 … 62, or -1 before it joined. */
  get number(): number {
    return this.#number;
  }
  /** @internal Of this node's present row. */
  get identity(): { readonly nodeId: NodeId; readonly number: number; readonly epoch: number } {
    return { nodeId: this.#nodeId, number: this.#number, epoch: this.#epoch };
  }
  /** @internal Whether that node was alive at the last look. */
  knows(nodeId: string): boolean {
    return this.#others.has(nodeId);
  }
  /** `starting` until the first join, then `live`; `draining` once it drains, `left` at the end. Readiness checks want `live`. */
  get state(): "starting" | "live" | "draining" | "left" {
    if (this.#state === "left") return "left";
    if (this.#about.state === "draining") return "draining";
    return this.#state === "new" ? "starting" : "live";
  }

  /** The nodes that are alive, this one included, in order of their numbers. A dead one disappears within 10.5 s. */
  async nodes(): Promise<Node[]> {
    const { rows } = await this.#engine.nodes();
    return rows.filter((row) => !row.left).map(nodeOf);
  }

  /**
   * The nodes that hold something live of a session (a socket, an event stream): whoever holds one, serves it. In no order. A node that
   * died or was fenced is none of them.
   */
  async locate(sid: string): Promise<Node[]> {
    const holders = await this.holdersOf(sid);
    if (holders.length === 0) return [];
    const held = new Set(holders.map(({ nodeId, epoch }) => `${nodeId} ${epoch}`));
    return (await this.nodes()).filter(({ nodeId, epoch }) => held.has(`${nodeId} ${epoch}`));
  }

  /**
   * Says where the others reach this node. Told with the next beat, which is sent at once; rejects if that one fails, and every later
   * beat tells it again, so nobody has to wait for it. Throws OPTION_INVALID for what can't be an address.
   */
  advertise(address: string): Promise<void> {
    this.#about = { ...this.#about, address: line("address", address) };
    const told = this.#beatNow();
    told.catch(() => {});
    return told;
  }

  /** @internal Says how this node reads, with the next beat. */
  sayReads(reads: About["reads"]): void {
    this.#about = { ...this.#about, reads };
  }

  /** @internal Joins and starts to beat. Rejects if the engine can't be reached or all numbers are in use. */
  async join(): Promise<void> {
    try {
      await this.#engine.open();
      await this.#join();
      // Before the first record is sealed: with a key that all of them have.
      if (!this.#keys.settled) await this.#refresh();
    } catch (error) {
      this.#down(error);
      throw error;
    }
    this.#up();
    // At once: only the echo of a beat lets this node trust copies.
    void this.#beatNow().catch(() => {});
  }

  /** @internal Tells everybody that this node drains. */
  async drain(): Promise<void> {
    this.#about = { ...this.#about, state: "draining" };
    await this.#beatNow();
  }

  /** @internal Stops beating and gives the row up, be it one that a beat in flight wrote just now. May be repeated. */
  async leave(): Promise<void> {
    this.#state = "left";
    this.#cancelBeat();
    this.#pulse.ended(false);
    await this.#beating;
    if (this.#epoch > 0) await this.#engine.leave(this.#nodeId, this.#epoch);
  }

  async #join(): Promise<void> {
    for (;;) {
      const sentAt = this.#clock.monotonic();
      const unanswered = this.#unanswered;
      this.#unanswered = true;
      const joined = await this.#engine.join(this.#nodeId, this.#epoch, this.#text());
      if (joined.outcome === "full") {
        throw new AnynodeError(
          "REGISTRY_FULL",
          `The registry has ${MAX_NODES} nodes, which is the limit. Stop one, or wait 10 s for a dead one to go.`,
        );
      }
      if (joined.outcome === "taken") {
        const own = unanswered ? await this.#ownRow() : undefined;
        this.#unanswered = false;
        this.#epoch = own?.epoch ?? 0;
        if (own === undefined) this.#nodeId = freshNodeId();
        continue;
      }
      this.#unanswered = false;
      this.#engineClock.observe(sentAt, this.#clock.monotonic(), joined.now);
      this.#watermark.heard(joined.endedBefore, sentAt);
      this.#number = joined.number;
      this.#epoch = joined.epoch;
      await this.#pulse.joined(joined.number, joined.epoch);
      if (this.#state !== "left") this.#state = "joined";
      return;
    }
  }

  /** What our row says. */
  #text(): string {
    return JSON.stringify({ ...this.#about, keys: this.#keys.ids });
  }

  /** The row under our id, if it is we who wrote it. Without it each lost reply would cost a number for a lease. */
  async #ownRow(): Promise<Row | undefined> {
    const { rows } = await this.#engine.nodes();
    const row = rows.find(({ nodeId }) => nodeId === this.#nodeId);
    if (row === undefined) return undefined;
    const { name, startedAt } = nodeOf(row);
    return name === this.#about.name && startedAt === this.#about.startedAt ? row : undefined;
  }

  #later(): void {
    this.#cancelBeat = this.#clock.after(BEAT_MS, () => {
      void this.#beatNow().catch(() => {});
    });
  }

  /** One beat, never two at a time: whoever asks while one is under way gets the next one. Rejects as the engine does. */
  async #beatNow(): Promise<void> {
    while (this.#beating !== undefined) await this.#beating;
    if (this.#state === "left" || this.#state === "new") return;
    this.#cancelBeat();
    const beat = this.#beat();
    this.#beating = beat.catch(() => {});
    try {
      await beat;
    } finally {
      this.#beating = undefined;
      if (this.state !== "left") this.#later();
    }
  }

  async #beat(): Promise<void> {
    try {
      if (this.#state === "fenced") {
        await this.#join();
        // It left meanwhile: an echo would make it trust copies for which no writer waits.
        if (this.state === "left") return;
      }
      const sentAt = this.#clock.monotonic();
      const echo = this.#pulse.beat();
      const beaten = await this.#engine.beat(this.#nodeId, this.#epoch, this.#text(), echo);
      this.#engineClock.observe(sentAt, this.#clock.monotonic(), beaten.now);
      this.#up();
      if (beaten.outcome === "fenced") {
        this.#pulse.ended(true);
        if (this.state === "left") return;
        this.#state = "fenced";
        this.#events.emit("fenced", { nodeId: this.#nodeId });
        await this.#join();
        return;
      }
      this.#watermark.heard(beaten.endedBefore, sentAt);
      this.#pulse.beaten(sentAt, beaten.mute === true, beaten.server ?? "");
      if (beaten.revision !== this.#revision || !this.#keys.settled) await this.#refresh();
    } catch (error) {
      this.#down(error);
      throw error;
    }
  }

  /** Who came and who went since the last look. */
  async #refresh(): Promise<void> {
    const { rows, revision } = await this.#engine.nodes();
    const before = this.#others;
    this.#others = new Map();
    for (const row of rows) {
      const known = before.get(row.nodeId);
      if (row.nodeId === this.#nodeId) continue;
      if (row.left) {
        if (known !== undefined) this.#events.emit("node-left", { node: known });
      } else {
        const node = nodeOf(row);
        this.#others.set(row.nodeId, node);
        if (known !== undefined && known.epoch !== node.epoch) this.#events.emit("node-lost", { node: known });
        if (known?.epoch !== node.epoch) this.#events.emit("node-joined", { node });
      }
      before.delete(row.nodeId);
    }
    for (const node of before.values()) this.#events.emit("node-lost", { node });
    this.#pulse.fleet([...this.#others.values()].some(({ reads }) => reads === "checked"));
    this.#keys.heard(rows.filter(({ nodeId }) => nodeId !== this.#nodeId).map((row) => nodeOf(row).keys));
    this.#revision = revision;
  }

  #up(): void {
    if (this.#downSince === undefined) return;
    this.#events.emit("engine-up", { downMs: this.#clock.monotonic() - this.#downSince });
    this.#downSince = undefined;
  }

  #down(error: unknown): void {
    if (this.#downSince !== undefined || !(error instanceof AnynodeError)) return;
    this.#downSince = this.#clock.monotonic();
    this.#events.emit("engine-down", { error });
  }
}

function freshNodeId(): NodeId {
  const nodeId = randomBytes(12).toString("base64url");
  if (!isNodeId(nodeId)) throw new AnynodeError("OPTION_INVALID", "A fresh node id is malformed; this is a bug in anynode.");
  return nodeId;
}
