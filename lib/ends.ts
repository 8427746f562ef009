/**
 * The end of a session, everywhere: the engine puts an ended mark in its place, and then, until no node serves it from memory and what was
 * live of it is closed. Healthy nodes cost two messages one after the other (the drop, and the ack to it); a node that doesn't answer costs
 * its copy lease at the most, and is told of by name.
 */
import type { Answers } from "./cache/acks.js";
import type { Copies, Writing } from "./cache/copies.js";
import type { Touches } from "./cache/touches.js";
import type { Clock, EngineClock } from "./clock.js";
import type { Engine, Holder, Waiting } from "./engines/engine.js";
import type { Key } from "./names.js";
import type { Connections } from "./registry/connections.js";
import type { Registry } from "./registry/registry.js";
import type { Codec } from "./session/codec.js";

/** What an end reached. */
export interface Reach {
  /** How many live things (sockets, event streams …) it closed, on all nodes. */
  readonly closed: number;
  /** The nodeIds of those that hold something live and didn't answer in time: stopped or cut off. Each closes it before it serves it again. */
  readonly pending: readonly string[];
  /** How many nodes held something live. */
  readonly nodes: number;
}

export interface EndResult extends Reach {
  /** This call ended a live session; false if it was over already, or never was. */
  readonly ended: boolean;
  /** Whether as many replicas have it as the engine's `durability` asks for; absent without that option. */
  readonly durable?: boolean;
}

/** What of a session an end sees to, besides the record. */
export interface Remains {
  readonly copies: Copies;
  readonly touches: Touches;
  readonly connections: Connections;
  readonly registry: Registry;
}

/** A holder whose copy lease is over needs no waiting for, but may be about to answer. */
const COURTESY_MS = 150;

export class Ends {
  readonly #engine: Engine;
  readonly #clock: Clock;
  readonly #engineClock: EngineClock;
  readonly #codec: Codec;
  readonly #copies: Copies;
  readonly #touches: Touches;
  readonly #connections: Connections;
  readonly #registry: Registry;

  constructor(engine: Engine, clock: Clock, engineClock: EngineClock, codec: Codec, remains: Remains) {
    this.#engine = engine;
    this.#clock = clock;
    this.#engineClock = engineClock;
    this.#codec = codec;
    this.#copies = remains.copies;
    this.#touches = remains.touches;
    this.#connections = remains.connections;
    this.#registry = remains.registry;
  }

  /** Ends the session of a key, and where it has moved to; be it that nothing is stored there. */
  async end(key: Key): Promise<EndResult> {
    this.#touches.forget(key);
    const writing = this.#copies.writing(key, false);
    const { outcome, now, waitFor, holders, was, durable } = await this.sent(writing, this.#engine.end(key, writing.by));
    // Its old id led to a session: that is what was meant.
    const to = was === undefined ? "" : this.#movedTo(was, key);
    const over = this.over(writing, now, now, waitFor, holders);
    const [there, reach] = await Promise.all([to === "" ? undefined : this.end(to), over]);
    return there ?? { ended: outcome === "ended", ...reach, ...(durable === undefined ? {} : { durable }) };
  }

  #movedTo(body: Buffer, key: Key): Key | "" {
    const decoded = this.#codec.decode(body, key);
    return decoded.outcome === "record" ? decoded.record.header.movedTo : "";
  }

  /** A write that ends a session. One that failed is unknown: it may still run. */
  async sent<T>(writing: Writing, work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      this.#copies.unknown(writing);
      this.#connections.doubt(writing.key);
      throw error;
    }
  }

  /**
   * It ended the session, on the engine, at `now`. Resolves once no node serves it from memory, and its holders have closed what they had
   * or won't answer. `version`: what the drops name.
   */
  over(writing: Writing, version: number, now: number, waitFor: readonly Waiting[], holders: readonly Holder[]): Promise<Reach> {
    this.#engineClock.observe(writing.sentAt, this.#clock.monotonic(), now);
    return this.#everywhere(writing, version, waitFor, holders);
  }

  async #everywhere(writing: Writing, version: number, waitFor: readonly Waiting[], holders: readonly Holder[]): Promise<Reach> {
    const { key } = writing;
    this.#copies.over(writing);
    const closed = this.#connections.ended(key);
    const others = holders.filter(({ nodeId }) => nodeId !== this.#registry.nodeId);
    let answers = this.#copies.answers(writing);
    if (this.#engine.fill !== undefined) await this.#copies.settled(writing, this.#withCourtesy(waitFor, others));
    else if (others.length > 0) answers = await this.#tell(writing, version, others);
    return this.#reach(closed, others, answers);
  }

  /** Whom the registry doesn't know any more is nobody. */
  async #tell({ key }: Writing, version: number, others: readonly Holder[]): Promise<Answers | undefined> {
    const alive = await this.#alive();
    const numbers = others.filter((holder) => alive?.has(holder.nodeId) ?? true).map(({ number }) => number);
    return this.#copies.tellEnded(key, version, numbers);
  }

  #withCourtesy(waitFor: readonly Waiting[], others: readonly Holder[]): readonly Waiting[] {
    const waited = new Set(waitFor.map(({ number }) => number));
    const known = others.filter(({ number, nodeId }) => !waited.has(number) && this.#registry.knows(nodeId));
    return [...waitFor, ...known.map(({ number }) => ({ number, leftMs: COURTESY_MS }))];
  }

  async #reach(own: number, others: readonly Holder[], answers: Answers | undefined): Promise<Reach> {
    let [closed, nodes] = [own, own > 0 ? 1 : 0];
    const silent: Holder[] = [];
    for (const holder of others) {
      const count = answers?.closedBy(holder.number, holder.epoch);
      if (count === undefined) silent.push(holder);
      else if (count > 0) nodes += 1;
      closed += count ?? 0;
    }
    const alive = silent.length > 0 ? await this.#alive() : undefined;
    const pending = silent.map(({ nodeId }) => nodeId).filter((nodeId) => alive?.has(nodeId) ?? true);
    return { closed, pending, nodes: nodes + pending.length };
  }

  /** The nodes that have a row; undefined: the engine doesn't say. */
  async #alive(): Promise<ReadonlySet<string> | undefined> {
    try {
      return new Set((await this.#registry.nodes()).map(({ nodeId }) => nodeId));
    } catch {
      return undefined;
    }
  }
}
