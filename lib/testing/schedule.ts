/**
 * Chance against a model: a seeded schedule of all verbs over a few keys and two nodes, each reply compared with what a register
 * of twenty lines would have answered. A failure names its seed and step.
 */
import assert from "node:assert/strict";
import { ENDED_MARK_MS, type Engine, NO_NODE, type Writer } from "../engines/engine.js";
import type { Key, Version } from "../names.js";
import { chanceOf, newKey, type Part, type Stage, stored } from "./stage.js";

const SEEDS = 8;
const STEPS = 250;
const DEADLINES = [40, 400, 2 * ENDED_MARK_MS];
const LEAPS = [1, 30, 370, ENDED_MARK_MS - 1, ENDED_MARK_MS];

/** What the model knows of a key: `until` is the idle deadline of a record, or the end of an ended mark. */
interface Slot {
  readonly ended: boolean;
  readonly until: number;
  readonly version: Version;
  readonly body: string;
}

export function schedulePart({ describe, test }: Part): void {
  describe("a schedule of chance", () => {
    for (let seed = 1; seed <= SEEDS; seed++)
      test(`that answers as the model does, seed ${seed}`, async (stage) => {
        await new Schedule(stage, seed, [await stage.engine(), await stage.engine()], await startOf(stage)).run();
      });
  });
}

/** The engine's clock at the start, and a version to be wrong with. */
async function startOf(stage: Stage): Promise<{ now: number; version: Version }> {
  const { now, version } = await stored(await stage.engine(), newKey());
  return { now, version };
}

class Schedule {
  readonly #chance: (below: number) => number;
  readonly #slots = new Map<Key, Slot>();
  readonly #keys = Array.from({ length: 4 }, () => newKey("tag"));
  /** Versions that were current once, to be expected wrongly. */
  readonly #seen: Version[];
  #now: number;

  constructor(
    readonly stage: Stage,
    readonly seed: number,
    readonly nodes: readonly Engine[],
    start: { now: number; version: Version },
  ) {
    this.#chance = chanceOf(seed);
    this.#now = start.now;
    this.#seen = [start.version];
  }

  async run(): Promise<void> {
    const { advance } = this.stage;
    for (let step = 0; step < STEPS; step++) {
      if (advance && this.#chance(12) === 0) {
        const leap = this.#pick(LEAPS);
        await advance(leap);
        this.#now += leap;
      }
      const [key, to] = [this.#pick(this.#keys), newKey("tag")];
      const [does, expected] = await this.#verb(key, to, `body ${step}`);
      assert.deepEqual(does, expected, `seed ${this.seed}, step ${step}`);
    }
  }

  /** Does one verb; returns what the engine answered and what the model answers, in the same short form. */
  async #verb(key: Key, to: Key, text: string): Promise<[unknown, unknown]> {
    const { advance } = this.stage;
    const node = this.#pick(this.nodes);
    // Without a clock that can be moved, nothing may expire in the middle of a step.
    const idleMs = advance ? this.#pick(DEADLINES) : 2 * ENDED_MARK_MS;
    const absoluteAt = this.#chance(4) === 0 ? this.#now + idleMs - 20 : 0;
    const deadlines = { idleMs, absoluteAt };
    const until = (now: number) => Math.min(now + idleMs, absoluteAt || Number.POSITIVE_INFINITY);
    const slot = this.#live(key);
    const version = slot && this.#chance(4) > 0 ? slot.version : this.#pick(this.#seen);
    const body = Buffer.from(text);
    const gone = { outcome: "gone", ended: slot?.ended ?? false };
    const verb = this.#pick(["read", "create", "commit", "commit", "touch", "end", "regenerate"] as const);

    if (verb === "read") {
      const reply = await node.read(key, version);
      if (!slot || slot.ended) return [{ ...reply }, gone];
      const same = { outcome: "same", version: slot.version, idleAt: slot.until };
      if (slot.version === version) return [{ ...reply }, same];
      return [reply.outcome === "found" && shown(reply), shownSlot(slot)];
    }
    if (verb === "end") {
      const { outcome, now } = await node.end(key);
      this.#checkClock(now);
      const body = slot?.body ?? "";
      this.#slots.set(key, { ended: true, until: now + ENDED_MARK_MS, version: slot?.version ?? version, body });
      return [outcome, slot ? (slot.ended ? "marked" : "ended") : "missing"];
    }
    if (verb === "touch") {
      const reply = await node.touch(key, version, deadlines);
      if (!slot || slot.ended) return [{ ...reply }, gone];
      if (slot.version !== version) return [{ ...reply }, { outcome: "moved" }];
      if (reply.outcome !== "touched") return [reply.outcome, "touched"];
      this.#checkClock(reply.now);
      const extended = Math.min(Math.max(slot.until, reply.now + idleMs), absoluteAt || Number.POSITIVE_INFINITY);
      this.#slots.set(key, { ...slot, until: extended });
      return [reply.idleAt, extended];
    }

    const reply =
      verb === "create"
        ? await node.create(key, body, deadlines, this.#writer())
        : verb === "commit"
          ? await node.commit(key, version, body, deadlines, this.#writer())
          : await node.regenerate(key, version, to, body, deadlines, this.#writer());
    if (slot?.ended || (!slot && verb !== "create")) return [{ ...reply }, gone];
    if (slot && (verb === "create" || slot.version !== version))
      return [reply.outcome === "conflict" && shown(reply.current), shownSlot(slot)];
    if (reply.outcome !== "committed") return [reply.outcome, "committed"];
    this.#checkClock(reply.now);

    const before = verb === "commit" && slot ? slot.version : 0;
    const record = { ended: false, until: until(reply.now), version: reply.version, body: text };
    this.#slots.set(verb === "regenerate" ? to : key, record);
    if (verb === "regenerate" && slot) {
      this.#slots.set(key, { ...slot, ended: true, until: reply.now + ENDED_MARK_MS });
      this.#keys[this.#keys.indexOf(key)] = to;
      this.#keys.push(key);
    }
    this.#seen.push(reply.version);
    assert.ok(verb === "commit" || reply.version >= reply.now);
    return [
      [reply.idleAt, verb === "commit" ? reply.version : "new"],
      [record.until, verb === "commit" ? Math.max(before + 1, reply.now) : "new"],
    ];
  }

  #checkClock(now: number): void {
    if (this.stage.advance) assert.equal(now, this.#now, "a reply's now isn't the engine's clock");
    else assert.ok(now >= this.#now, "the engine's clock went back");
  }

  #live(key: Key): Slot | undefined {
    const slot = this.#slots.get(key);
    return slot && slot.until > this.#now ? slot : undefined;
  }

  /** One that means to keep a copy, or not: what engines with copies note down must change no answer. */
  #writer(): Writer {
    return { ...NO_NODE, number: this.#chance(3) - 1, keep: this.#chance(2) === 0 };
  }

  #pick<T>(list: readonly T[]): T {
    const picked = list[this.#chance(list.length)];
    if (picked === undefined) throw new Error("nothing to pick from");
    return picked;
  }
}

function shown(found: { version: Version; idleAt: number; body: Buffer }) {
  return { version: found.version, idleAt: found.idleAt, body: found.body.toString() };
}
function shownSlot({ version, until, body }: Slot) {
  return { version, idleAt: until, body };
}
