/**
 * The memory engine: one process, nothing at rest. For development, tests and single-process applications.
 * Each verb runs in one go on the event loop, which is what makes it atomic. What is over is forgotten by a sweep of bounded steps.
 */
import cluster from "node:cluster";
import { setImmediate as nextTurn } from "node:timers/promises";
import { type Clock, systemClock } from "../clock.js";
import { AnynodeError } from "../errors.js";
import type { Key, NodeId, Version } from "../names.js";
import type {
  Attached,
  Beaten,
  Committed,
  Conflict,
  Deadlines,
  Ended,
  Engine,
  Found,
  Gone,
  Holder,
  Joined,
  Listed,
  MaybePromise,
  Moved,
  Regenerated,
  Row,
  Same,
  Stays,
  Subscription,
  Touched,
  Writer,
} from "./engine.js";
import { withHolder, withoutHolder } from "./holders.js";
import * as register from "./register.js";
import * as roster from "./roster.js";

/** Slots that one step of the sweep looks at, about 20 µs, and the pause between two steps. */
const SWEEP_STEP = 1_000;
const SWEEP_PAUSE_MS = 200;
/** The pause when more than a quarter of a step was over: then the sweep is behind. */
const SWEEP_HURRY_MS = 1;
/** Records that `list()` yields before it lets others have a turn. */
const LIST_BATCH = 200;

export interface MemoryOptions {
  /** Use it in a cluster worker although no other worker sees its sessions. */
  single?: boolean;
  clock?: Clock;
}

/** An engine for one process; several `Sessions` may share it. Its sessions are gone when the process is. */
export function memoryEngine(options: MemoryOptions = {}): Engine {
  if (cluster.isWorker && options.single !== true) {
    throw new AnynodeError(
      "OPTION_INVALID",
      'engine "memory:" in a cluster worker: the other workers would not see its sessions. ' +
        'Use "lmdb:<dir>" or "redis://…", or memoryEngine({ single: true }) if this is the only worker that serves sessions.',
    );
  }
  return new MemoryEngine(options.clock ?? systemClock);
}

/**
 * A record at rest here: its bytes as a Latin-1 string. A small Buffer is a slice of a slab of 8 KB that would stay for as long as the
 * record does, and one of its own size costs more than the rest of the commit.
 */
class Resting implements register.StoredRecord {
  readonly state = "record";
  readonly version: Version;
  readonly idleAt: number;
  readonly #bytes: string;

  constructor({ version, idleAt, body }: register.StoredRecord) {
    this.version = version;
    this.idleAt = idleAt;
    this.#bytes = body.toString("latin1");
  }

  get body(): Buffer {
    return Buffer.from(this.#bytes, "latin1");
  }
}

type Slots = Map<Key, Resting | register.EndedMark>;

class MemoryEngine implements Engine {
  readonly kind = "memory";
  readonly namespace = "memory";
  readonly local = true;
  readonly #clock: Clock;
  readonly #slots: Slots = new Map();
  readonly #holders = new Map<Key, readonly Holder[]>();
  readonly #listeners = new Map<string, Set<(message: string) => void>>();
  #roster = roster.emptyRoster;
  /** The highest version that the sweep has forgotten: the next one of any key is higher. */
  #forgotten = 0;
  #sweepAt = this.#slots.entries();
  #cancelSweep: (() => void) | undefined;
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async open(): Promise<void> {
    this.#checkOpen();
  }

  read(key: Key, known?: Version): MaybePromise<Found | Same | Gone> {
    if (this.#closed) return Promise.reject(closedError());
    return register.read(this.#slots.get(key), this.#clock.now(), known);
  }

  async create(key: Key, body: Buffer, deadlines: Deadlines): Promise<Committed | Conflict | Gone> {
    this.#checkOpen();
    const step = register.create(this.#slots.get(key), this.#clock.now(), body, deadlines, this.#forgotten);
    if (step.store !== undefined) this.#holders.delete(key);
    return this.#apply(key, step);
  }

  async commit(key: Key, expected: Version, body: Buffer, deadlines: Deadlines): Promise<Committed | Conflict | Gone> {
    this.#checkOpen();
    return this.#apply(key, register.commit(this.#slots.get(key), this.#clock.now(), expected, body, deadlines));
  }

  async touch(key: Key, expected: Version, deadlines: Deadlines): Promise<Touched | Moved | Gone> {
    this.#checkOpen();
    return this.#apply(key, register.touch(this.#slots.get(key), this.#clock.now(), expected, deadlines));
  }

  async end(key: Key): Promise<Ended> {
    this.#checkOpen();
    return this.#apply(key, register.end(this.#slots.get(key), this.#clock.now(), this.#holders.get(key) ?? []));
  }

  async regenerate(
    from: Key,
    expected: Version,
    to: Key,
    body: Buffer,
    deadlines: Deadlines,
    _by?: Writer,
    stays?: Stays,
  ): Promise<Regenerated | Conflict | Gone> {
    this.#checkOpen();
    const [old, fresh] = [this.#slots.get(from), this.#slots.get(to)];
    const holders = this.#holders.get(from) ?? [];
    const step = register.regenerate(old, fresh, this.#clock.now(), expected, body, deadlines, this.#forgotten, holders, stays);
    if (step.leave) this.#apply(from, { answer: undefined, store: step.leave });
    return this.#apply(to, step);
  }

  async attach(key: Key, holder: Holder): Promise<Attached | Gone> {
    this.#checkOpen();
    const answer = register.attach(this.#slots.get(key), this.#clock.now());
    if (answer.outcome === "attached") this.#holders.set(key, withHolder(this.#holders.get(key) ?? [], holder));
    return answer;
  }

  async detach(key: Key, holder: Holder): Promise<void> {
    this.#checkOpen();
    const left = withoutHolder(this.#holders.get(key) ?? [], holder);
    if (left.length > 0) this.#holders.set(key, left);
    else this.#holders.delete(key);
  }

  async holders(key: Key): Promise<readonly Holder[]> {
    this.#checkOpen();
    const { outcome } = register.attach(this.#slots.get(key), this.#clock.now());
    return outcome === "attached" ? (this.#holders.get(key) ?? []) : [];
  }

  async *list(): AsyncGenerator<Listed> {
    this.#checkOpen();
    let turn = 0;
    // A Map's iterator goes on over changes: it may see them or not, which is what list() promises.
    for (const [key, slot] of this.#slots) {
      if (++turn % LIST_BATCH === 0) await nextTurn();
      this.#checkOpen();
      if (slot.state === "record" && !register.isOver(slot, this.#clock.now())) {
        yield { key, version: slot.version, idleAt: slot.idleAt, body: slot.body };
      }
    }
  }

  async join(nodeId: NodeId, lastEpoch: number, about: string): Promise<Joined> {
    this.#checkOpen();
    return this.#enroll(roster.join(this.#roster, this.#clock.now(), nodeId, lastEpoch, about));
  }

  async beat(nodeId: NodeId, epoch: number, about: string): Promise<Beaten> {
    this.#checkOpen();
    return this.#enroll(roster.beat(this.#roster, this.#clock.now(), nodeId, epoch, about));
  }

  async leave(nodeId: NodeId, epoch: number): Promise<void> {
    this.#checkOpen();
    return this.#enroll(roster.leave(this.#roster, this.#clock.now(), nodeId, epoch));
  }

  async nodes(): Promise<{ readonly rows: readonly Row[]; readonly revision: number }> {
    this.#checkOpen();
    return roster.nodes(this.#roster, this.#clock.now());
  }

  async endedBefore(raise: boolean): Promise<number> {
    this.#checkOpen();
    return raise ? this.#enroll(roster.endBefore(this.#roster, this.#clock.now())) : this.#roster.endedBefore;
  }

  async publish(channel: string, message: string): Promise<void> {
    this.#checkOpen();
    const listeners = this.#listeners.get(channel);
    for (const onMessage of listeners ?? []) {
      // In a microtask of its own: a listener that throws doesn't fail the publisher, and order is kept.
      queueMicrotask(() => {
        if (listeners?.has(onMessage)) onMessage(message);
      });
    }
  }

  async subscribe(channel: string, onMessage: (message: string) => void): Promise<Subscription> {
    this.#checkOpen();
    // A function of its own, so that one listener may subscribe twice.
    const listener = (message: string) => onMessage(message);
    const listeners = this.#listeners.get(channel) ?? new Set();
    this.#listeners.set(channel, listeners.add(listener));
    return {
      close: async () => {
        listeners.delete(listener);
        if (listeners.size === 0 && this.#listeners.get(channel) === listeners) this.#listeners.delete(channel);
      },
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelSweep?.();
    this.#slots.clear();
    this.#holders.clear();
    for (const listeners of this.#listeners.values()) listeners.clear();
    this.#listeners.clear();
  }

  #checkOpen(): void {
    if (this.#closed) throw closedError();
  }

  #apply<Answer>(key: Key, { answer, store }: register.Step<Answer>): Answer {
    if (store !== undefined) {
      this.#slots.set(key, store.state === "record" ? new Resting(store) : store);
      if (this.#cancelSweep === undefined) this.#sweepLater(SWEEP_PAUSE_MS);
    }
    return answer;
  }

  #enroll<Answer>({ answer, store }: roster.RosterStep<Answer>): Answer {
    if (store !== undefined) this.#roster = store;
    return answer;
  }

  #sweepLater(ms: number): void {
    this.#cancelSweep = this.#clock.after(ms, () => {
      const behind = this.#sweepStep();
      if (this.#slots.size > 0) this.#sweepLater(behind ? SWEEP_HURRY_MS : SWEEP_PAUSE_MS);
      else this.#cancelSweep = undefined;
    });
  }

  /** Goes on where the last step stopped. Whether so much was over that the next step should come soon. */
  #sweepStep(): boolean {
    const now = this.#clock.now();
    let over = 0;
    for (let looked = 0; looked < SWEEP_STEP; looked++) {
      const next = this.#sweepAt.next();
      if (next.done) {
        this.#sweepAt = this.#slots.entries();
        break;
      }
      const [key, slot] = next.value;
      if (!register.isOver(slot, now)) continue;
      this.#forgotten = Math.max(this.#forgotten, slot.version);
      this.#slots.delete(key);
      this.#holders.delete(key);
      over++;
    }
    return over > SWEEP_STEP / 4;
  }
}

function closedError(): AnynodeError {
  return new AnynodeError("CLOSED", "This memory engine was closed; make a new one.");
}
