/**
 * Schedules over a fleet that reads from copies: `Sessions` as they are, on an engine with copies in memory, over unruly wires, on clocks
 * that the schedule moves. It watches every read against what was completed when it started (P1, P2), and counts updates (G2).
 */
import { AnynodeError } from "../../lib/errors.js";
import type { Key, Sid } from "../../lib/names.js";
import { textsOf } from "../../lib/session/attributes.js";
import { Codec } from "../../lib/session/codec.js";
import { keyOf, makeSid } from "../../lib/session/id.js";
import { Keyring } from "../../lib/session/keyring.js";
import type { Loaded } from "../../lib/session/record.js";
import type { Sessions } from "../../lib/sessions.js";
import { aNode, parsed, saveOf } from "./a-node.js";
import { seeded } from "./faulty-engine.js";
import { CopiesMedium } from "./leased-engine.js";
import { type ManualClock, manualClock } from "./manual-clock.js";
import { Guest, UnrulyWire, type Weather } from "./unruly-wire.js";

export const VERBS = ["load", "save", "update", "end", "put"] as const;
export const FAULTS = ["evict", "flush", "forget", "jump", "lose", "cut", "stop", "crash", "leave", "full", "storm"] as const;
export interface Step {
  readonly what: (typeof VERBS)[number] | (typeof FAULTS)[number];
  /** How long after the step before, in ms. */
  readonly after: number;
  readonly node: number;
  /** How much, for what has a size: 0 to 1. */
  readonly size: number;
}
export interface Plan {
  readonly seed: number;
  readonly nodes: number;
  /** How long the fleet has been up when the first step is taken. */
  readonly upMs: number;
  readonly weather: Weather;
  readonly steps: readonly Step[];
}
export interface Seen {
  hits: number;
  asked: number;
  waits: number;
  ended: number;
}

interface Member {
  readonly guest: Guest;
  readonly wire: UnrulyWire;
  readonly sessions: Sessions;
  crashed: boolean;
}

/** Runs a plan; rejects with what went wrong first. */
export async function follow(plan: Plan): Promise<Seen> {
  const schedule = new Schedule(plan);
  await schedule.run();
  return schedule.seen;
}

class Schedule {
  readonly seen: Seen = { hits: 0, asked: 0, waits: 0, ended: 0 };
  readonly #plan: Plan;
  readonly #random: () => number;
  readonly #world: ManualClock = manualClock();
  readonly #medium: CopiesMedium;
  readonly #members: Member[] = [];
  readonly #all: Member[] = [];
  readonly #sid: Sid = makeSid();
  readonly #codec = new Codec(1e6, "leased", new Keyring([]));
  readonly #key: Key = keyOf(this.#sid, "leased");
  /** How far the engine's clock has jumped. */
  #jumped = 0;
  /** What was stored, in order, by the id that each write puts in; and when the key was last without a record. */
  readonly #order = new Map<string, number>();
  #stores = 0;
  #goneAt = 0;
  /** What reads that start now must not be older than. */
  #completed = 0;
  #ended = false;
  #endTried = false;
  #wrong: string | undefined;
  #flushedAt = Number.NEGATIVE_INFINITY;
  #ids = 0;
  readonly #log: string[] = [];
  #updates = { known: 0, unknown: 0 };
  readonly #kept = new Set<string>();
  #lossless = true;
  readonly #underWay = new Map<string, Member>();

  constructor(plan: Plan) {
    this.#plan = plan;
    this.#random = seeded(plan.seed);
    this.#medium = new CopiesMedium(() => this.#world.now() + this.#jumped);
    this.#medium.server.onStored = (key, body) => this.#stored(key, body);
  }

  async run(): Promise<void> {
    const { nodes, upMs, weather, steps } = this.#plan;
    for (let i = 0; i < nodes; i++) this.#members.push(this.#join({ lost: 0, slow: 0 }));
    await this.#world.advance(20);
    this.#perform("make", this.#member(0), 0);
    await this.#world.advance(20 + upMs);
    if (this.#completed === 0) throw new Error("the session wasn't stored");
    for (const { wire } of this.#members) wire.weather = weather;
    let at = 0;
    for (const { what, after, node, size } of steps) {
      at += after;
      this.#world.after(at, () => this.#step(what, node, size));
    }
    await this.#world.advance(at + 1);
    // All is well again, and whatever is under way comes to its end.
    for (const { guest, wire, crashed } of this.#all) {
      if (crashed) continue;
      wire.weather = { lost: 0, slow: 0 };
      wire.renew();
      guest.go();
    }
    this.#medium.server.full = false;
    // The latest of what was given up; then whoever has to wait for a deadline, and a lease, and another one behind it.
    await this.#world.advance(weather.lost > 0 ? 1_600 : 100);
    for (let ms = 0; ms < 7_500 && this.#waiting() > 0; ms += 250) await this.#world.advance(250);
    for (const member of this.#members) this.#perform("load", member, 0);
    // A node that joined in slow weather may still be waiting for the answer to its join.
    for (let ms = 0; ms < 2_500 && (ms === 0 || this.#waiting() > 0); ms += 50) await this.#world.advance(50);
    this.#judge();
    for (const { sessions, crashed } of this.#all) {
      this.seen.hits += sessions.reads.hits;
      this.seen.asked += sessions.reads.asked;
      if (!crashed) void sessions.close();
    }
    if (this.#wrong !== undefined) throw new Error(`${this.#wrong}\n${this.#log.join("\n")}`);
  }

  #join(weather: Weather): Member {
    const guest = new Guest(this.#world, Math.floor(this.#random() * 1e6), Math.floor((this.#random() - 0.5) * 1e5));
    const wire = new UnrulyWire(this.#world, guest, this.#random, weather);
    const sessions = aNode(this.#medium.engine(wire), { clock: guest.clock, keyring: ["plain"] });
    const member = { guest, wire, sessions, crashed: false };
    this.#all.push(member);
    return member;
  }

  #replace(node: number): void {
    if (this.#world.monotonic() - this.#flushedAt < 2_500) return;
    this.#members[node % this.#members.length] = this.#join(this.#plan.weather);
  }

  #member(node: number): Member {
    const member = this.#members[node % this.#members.length];
    if (member === undefined) throw new Error("no member");
    return member;
  }

  #step(what: Step["what"], node: number, size: number): void {
    const member = this.#member(node);
    this.#note(`${what} ${node % this.#members.length} ${size.toFixed(2)}`);
    const { guest, wire, sessions } = member;
    const { server } = this.#medium;
    const at = (ms: number, run: () => void) => this.#world.after(ms, run);
    if (what === "evict" || what === "flush") {
      // A mark that is lost is a limit: nothing answers late writes then.
      if (server.values.get(this.#key)?.kind === "ended") return;
      // So is a node that joins for the first time within a lease of the loss of everything: it can't know of those who were there.
      if (what === "flush" && this.#members.some(({ sessions: { registry } }) => registry.state === "starting")) return;
      if (what === "flush") this.#flushedAt = this.#world.monotonic();
      this.#lossless = false;
      if (what === "evict") server.evict(this.#key);
      else server.loseAll();
    } else if (what === "forget") server.loseLedger();
    else if (what === "jump") this.#jumped += Math.floor(size * size * 5_000);
    else if (what === "lose") wire.lose(1 + Math.floor(size * 2));
    else if (what === "cut") {
      wire.cut();
      if (size < 0.7) at(size * 3_000, () => wire.renew());
    } else if (what === "stop") {
      guest.stop();
      at(size * 4_000, () => member.crashed || guest.go());
    } else if (what === "crash") {
      guest.stop();
      member.crashed = true;
      this.#replace(node);
    } else if (what === "leave") {
      guest.run(() => void sessions.drain());
      if (size < 0.5) this.#replace(node);
    } else if (what === "full") {
      server.full = true;
      at(size * 500, () => {
        server.full = false;
      });
    } else if (what === "storm") {
      const before = wire.weather;
      wire.weather = { lost: 0.5, slow: 0.8 };
      at(size * 1_500, () => {
        if (wire.weather.lost === 0.5) wire.weather = before;
      });
    } else guest.run(() => this.#perform(what, member, size));
  }

  #perform(what: (typeof VERBS)[number] | "make", member: Member, size: number): void {
    const name = `${what} #${++this.#ids} on ${this.#all.indexOf(member)}`;
    this.#underWay.set(name, member);
    const startedAt = this.#world.monotonic();
    const id = String(this.#ids);
    const work = { load: this.#load, save: this.#save, update: this.#update, end: this.#end, put: this.#put, make: this.#make }[
      what
    ];
    this.#note(`${name} starts, completed ${this.#completed}`);
    work.call(this, member.sessions, id, size).then(
      (outcome) => {
        this.#underWay.delete(name);
        if (this.#world.monotonic() - startedAt > 1_000) this.seen.waits += 1;
        this.#note(`${name}: ${outcome}`);
      },
      (error) => {
        this.#underWay.delete(name);
        if (!(error instanceof AnynodeError)) this.#fail(`${name}: ${error}`);
        this.#note(`${name}: ${error.code}`);
      },
    );
  }

  async #load(node: Sessions): Promise<string> {
    const { loaded, floor, late } = await this.#read(node);
    if (loaded === undefined) {
      if (!this.#endTried && this.#goneAt <= floor) this.#fail(`P1: no session for a read after ${floor} was completed`);
      return "none";
    }
    const order = this.#orderOf(loaded);
    if (late) this.#fail(`P2: a read that started after the end was completed is served ${order}`);
    if (order < floor) this.#fail(`P1: a read that started after ${floor} was completed is served ${order}`);
    return `is served ${order}`;
  }

  async #read(node: Sessions): Promise<{ loaded: Loaded | undefined; floor: number; late: boolean }> {
    const [floor, late] = [this.#completed, this.#ended];
    return { loaded: await node.load(this.#sid), floor, late };
  }

  async #save(node: Sessions, id: string, size: number): Promise<string> {
    const { loaded } = await this.#read(node);
    if (loaded === undefined) return "nothing to save";
    if (size > 0.8) await new Promise<void>((resolve) => this.#world.after(50, resolve));
    const outcome = await saveOf(node, loaded, { id, [`a${id}`]: 1 });
    if (outcome.outcome === "gone") return "gone";
    this.#kept.add(`a${id}`);
    return this.#done(outcome.loaded);
  }

  async #update(node: Sessions, id: string): Promise<string> {
    this.#updates.unknown += 1;
    const outcome = await node.update(this.#sid, (attributes) => {
      attributes["n"] = Number(attributes["n"] ?? 0) + 1;
      attributes["id"] = id;
    });
    this.#updates.unknown -= 1;
    if (outcome.outcome === "gone") return "gone";
    this.#updates.known += 1;
    return this.#done(id);
  }

  async #make(node: Sessions, id: string): Promise<string> {
    const outcome = await node.create(this.#sid, textsOf({ id }));
    return outcome.outcome === "gone" ? "gone" : this.#done(outcome.loaded);
  }

  async #put(node: Sessions, id: string): Promise<string> {
    this.#lossless = false;
    const outcome = await node.replace(this.#sid, textsOf({ id }));
    return outcome.outcome === "gone" ? "gone" : this.#done(outcome.loaded);
  }

  async #end(node: Sessions): Promise<string> {
    this.#endTried = true;
    await node.end(this.#sid);
    this.#ended = true;
    this.seen.ended = 1;
    return "ended";
  }

  #done(what: Loaded | string): string {
    const order = typeof what === "string" ? (this.#order.get(what) ?? 0) : this.#orderOf(what);
    this.#completed = Math.max(this.#completed, order);
    return `completed ${order}`;
  }

  #orderOf({ record }: Loaded): number {
    const order = this.#order.get(String(parsed(record.attributes)["id"]));
    if (order === undefined) throw new Error("a record that was never stored");
    return order;
  }

  #stored(key: Key, body: Buffer | undefined): void {
    this.#stores += 1;
    if (body === undefined) this.#goneAt = this.#stores;
    else {
      const decoded = this.#codec.decode(body, key);
      if (decoded.outcome !== "record") throw new Error(decoded.outcome);
      this.#order.set(String(parsed(decoded.record.attributes)["id"]), this.#stores);
    }
    this.#note(`stored ${this.#stores}${body === undefined ? " (none)" : ""}`);
  }

  #waiting(): number {
    return [...this.#underWay.values()].filter(({ crashed }) => !crashed).length;
  }

  /** Once all is quiet: what is there, and whether everybody got an answer. */
  #judge(): void {
    if (this.#waiting() > 0) this.#fail(`no answer: ${[...this.#underWay.keys()].join(", ")}`);
    const read = this.#medium.server.read(this.#key);
    if (read.outcome !== "found") return;
    if (this.#ended) this.#fail("P2: the session is back");
    if (!this.#lossless) return;
    const decoded = this.#codec.decode(read.body, this.#key);
    if (decoded.outcome !== "record") throw new Error(decoded.outcome);
    const there = parsed(decoded.record.attributes);
    for (const name of this.#kept) if (!(name in there)) this.#fail(`G2: ${name} was acknowledged and isn't there`);
    const [n, { known, unknown }] = [Number(there["n"] ?? 0), this.#updates];
    if (n < known || n > known + unknown) this.#fail(`G2: ${n} updates of ${known} acknowledged and ${unknown} unknown ones`);
  }

  #fail(what: string): void {
    this.#wrong ??= what;
    this.#note(`WRONG: ${what}`);
  }

  #note(what: string): void {
    this.#log.push(`${this.#world.monotonic()} ${what}`);
  }
}
