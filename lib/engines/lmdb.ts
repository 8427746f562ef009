/**
 * The LMDB engine: the processes of one machine share a directory; what they acknowledged survives restarts and `kill -9`.
 *
 * Each verb that writes is a transition of register.ts inside of a batch that holds LMDB's one writer lock, which gives all
 * processes one order. Reads take no lock and answer at once. Acknowledged means on disk (see lmdb/environment.ts).
 * Limits: a local disk and one PID namespace; a process that blocks its event loop while its batch has the lock holds up the others'
 * writes; `process.exit()` while a batch is under way ends the process by SIGKILL (see lmdb/writer.ts): close the engine before.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { type Clock, systemClock, within } from "../clock.js";
import { AnynodeError } from "../errors.js";
import { isKey, type Key, type NodeId, type Version } from "../names.js";
import type {
  Attached,
  Beaten,
  Writer as By,
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
} from "./engine.js";
import { withHolder, withoutHolder } from "./holders.js";
import { Bell } from "./lmdb/bell.js";
import { prepareDirectory, reasonOf, unusable } from "./lmdb/directory.js";
import { Door } from "./lmdb/door.js";
import { Environment, load, MAP_BYTES } from "./lmdb/environment.js";
import { holdersAt, storeHolders } from "./lmdb/holdings.js";
import { Mailbox } from "./lmdb/mailbox.js";
import { loadRoster, storeRoster } from "./lmdb/rows.js";
import { decodeSlot, encodeSlot } from "./lmdb/slots.js";
import { forgottenVersion, Sweep } from "./lmdb/sweep.js";
import { type Need, Writer } from "./lmdb/writer.js";
import * as register from "./register.js";
import * as roster from "./roster.js";

const DEADLINE_MS = 1_000;
/** What is kept free for what must work when the engine has no room: ends, touches, the registry. */
const RESERVE_BYTES = 4 * 2 ** 30;
const LIST_BATCH = 100;
/** Slots lie under `s:<key>`; other prefixes: `h:` their holders, `m:` what there is one of, `n:` nodes, `p:` messages. */
const SLOTS = { start: Buffer.from("s:"), end: Buffer.from("s;") };

export interface LmdbOptions {
  /** A directory of its own on a local disk. Made with mode 0700 if it isn't there. */
  dir: string;
  /** From how many bytes in use on new records are refused (ENGINE_FULL). Default and maximum: 60 GiB. */
  mapSizeBytes?: number;
  /** Within which every verb settles. Default 1000. */
  deadlineMs?: number;
  clock?: Clock;
}

/** The default engine: sessions on the local disk, shared by all processes of this machine that name the same directory. */
export function lmdbEngine(options: LmdbOptions): Engine {
  const { dir, mapSizeBytes = MAP_BYTES - RESERVE_BYTES, deadlineMs = DEADLINE_MS, clock = systemClock } = options;
  if (typeof dir !== "string" || dir === "") {
    throw new AnynodeError("OPTION_INVALID", 'lmdbEngine: "dir" must name a directory, for example "./data/sessions".');
  }
  checkNumber("mapSizeBytes", mapSizeBytes, 2 ** 16, MAP_BYTES - RESERVE_BYTES);
  checkNumber("deadlineMs", deadlineMs, 1, 60_000);
  return new LmdbEngine(dir, mapSizeBytes, deadlineMs, clock);
}

function checkNumber(name: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new AnynodeError("OPTION_INVALID", `lmdbEngine: "${name}" is ${value}; it must be a whole number from ${min} to ${max}.`);
}

/** What there is while the engine is open. */
interface Opened {
  readonly environment: Environment;
  readonly writer: Writer;
  readonly door: Door;
  readonly mailbox: Mailbox;
  readonly sweep: Sweep;
}

class LmdbEngine implements Engine {
  readonly kind = "lmdb";
  readonly namespace = "lmdb";
  readonly local = true;
  readonly #dir: string;
  readonly #limitBytes: number;
  readonly #deadlineMs: number;
  readonly #clock: Clock;
  #opened: Opened | undefined;
  #opening: Promise<Opened> | undefined;
  #closing: Promise<void> | undefined;

  constructor(dir: string, limitBytes: number, deadlineMs: number, clock: Clock) {
    this.#dir = dir;
    this.#limitBytes = limitBytes;
    this.#deadlineMs = deadlineMs;
    this.#clock = clock;
  }

  async open(): Promise<void> {
    await this.#ready();
  }

  read(key: Key, known?: Version): MaybePromise<Found | Same | Gone> {
    if (this.#opened === undefined || this.#closing) return this.#ready().then((opened) => this.#read(opened, key, known));
    try {
      return this.#read(this.#opened, key, known);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  create(key: Key, body: Buffer, deadlines: Deadlines): Promise<Committed | Conflict | Gone> {
    return this.#change("room", key, (slot, now, { environment, writer }) => {
      const step = register.create(slot, now, body, deadlines, forgottenVersion(environment));
      if (step.store) storeHolders(environment, writer, key, []);
      return step;
    });
  }

  commit(key: Key, expected: Version, body: Buffer, deadlines: Deadlines): Promise<Committed | Conflict | Gone> {
    return this.#change("room", key, (slot, now) => register.commit(slot, now, expected, body, deadlines));
  }

  touch(key: Key, expected: Version, deadlines: Deadlines): Promise<Touched | Moved | Gone> {
    return this.#change("none", key, (slot, now) => register.touch(slot, now, expected, deadlines));
  }

  end(key: Key): Promise<Ended> {
    // Whatever is there: a session can be ended by a node that can't read it.
    return this.#change(
      "none",
      key,
      (slot, now, { environment }) => register.end(slot, now, holdersAt(environment, key)),
      readableSlot,
    );
  }

  async regenerate(
    from: Key,
    expected: Version,
    to: Key,
    body: Buffer,
    deadlines: Deadlines,
    _by?: By,
    stays?: Stays,
  ): Promise<Regenerated | Conflict | Gone> {
    const { environment, writer } = await this.#ready();
    const [fromKey, toKey] = [slotKey(from), slotKey(to)];
    return writer.write("room", () => {
      const [old, fresh] = [decodeSlot(environment.get(fromKey)), decodeSlot(environment.get(toKey))];
      const forgotten = forgottenVersion(environment);
      const holders = holdersAt(environment, from);
      const step = register.regenerate(old, fresh, this.#clock.now(), expected, body, deadlines, forgotten, holders, stays);
      if (step.leave) store(writer, fromKey, step.leave);
      if (step.store) store(writer, toKey, step.store);
      return step.answer;
    });
  }

  attach(key: Key, holder: Holder): Promise<Attached | Gone> {
    return this.#change("none", key, (slot, now, { environment, writer }) => {
      const answer = register.attach(slot, now);
      const holders = holdersAt(environment, key);
      if (answer.outcome === "attached") storeHolders(environment, writer, key, withHolder(holders, holder));
      return { answer };
    });
  }

  async detach(key: Key, holder: Holder): Promise<void> {
    const { environment, writer } = await this.#ready();
    return writer.write("none", () => {
      const holders = holdersAt(environment, key);
      const left = withoutHolder(holders, holder);
      if (left !== holders) storeHolders(environment, writer, key, left);
    });
  }

  async holders(key: Key): Promise<readonly Holder[]> {
    const opened = await this.#ready();
    return this.#read(opened, key).outcome === "found" ? holdersAt(opened.environment, key) : [];
  }

  async *list(): AsyncGenerator<Listed> {
    let after: Buffer | undefined = SLOTS.start;
    while (after !== undefined) {
      // No snapshot is kept between batches: it would keep pages from being used again for as long as the caller takes.
      const { environment }: Opened = await this.#ready();
      const entries = environment.range(after, SLOTS.end, LIST_BATCH);
      for (const { key, value } of entries) {
        const listed = this.#toListed(key, value);
        if (listed) yield listed;
      }
      after = entries.length < LIST_BATCH ? undefined : entries.at(-1)?.key;
      await nextTurn();
    }
  }

  join(nodeId: NodeId, lastEpoch: number, about: string): Promise<Joined> {
    return this.#enroll((before, now) => roster.join(before, now, nodeId, lastEpoch, about));
  }

  beat(nodeId: NodeId, epoch: number, about: string): Promise<Beaten> {
    return this.#enroll((before, now) => roster.beat(before, now, nodeId, epoch, about));
  }

  leave(nodeId: NodeId, epoch: number): Promise<void> {
    return this.#enroll((before, now) => roster.leave(before, now, nodeId, epoch));
  }

  async nodes(): Promise<{ readonly rows: readonly Row[]; readonly revision: number }> {
    const { environment } = await this.#ready();
    return roster.nodes(loadRoster(environment.fresh()), this.#clock.now());
  }

  async endedBefore(raise: boolean): Promise<number> {
    if (raise) return this.#enroll(roster.endBefore);
    const { environment } = await this.#ready();
    return loadRoster(environment.fresh()).endedBefore;
  }

  async publish(channel: string, message: string): Promise<void> {
    const { mailbox } = await this.#ready();
    return mailbox.publish(channel, message);
  }

  async subscribe(channel: string, onMessage: (message: string) => void): Promise<Subscription> {
    const { mailbox } = await this.#ready();
    const unsubscribe = mailbox.subscribe(channel, onMessage);
    return { close: async () => unsubscribe() };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const opened = this.#opened ?? (await this.#opening?.catch(() => undefined));
    if (opened === undefined) return;
    opened.mailbox.close();
    opened.sweep.stop();
    const closed = opened.writer.settled().then(() => {
      opened.door.close();
      return opened.environment.close();
    });
    // While a stopped process holds the writer lock, LMDB can't let go: it will, by itself, once the lock is free.
    await within(this.#clock, this.#deadlineMs, closed).catch(() => {});
  }

  #ready(): Promise<Opened> {
    if (this.#closing) return Promise.reject(new AnynodeError("CLOSED", "This LMDB engine was closed; make a new one."));
    this.#opening ??= this.#open();
    return this.#opening;
  }

  async #open(): Promise<Opened> {
    try {
      const [clock, deadlineMs, limitBytes] = [this.#clock, this.#deadlineMs, this.#limitBytes];
      await prepareDirectory(this.#dir);
      // Before the door: while somebody opens nobody writes.
      await load();
      const door = new Door(this.#dir, clock);
      const opening = door
        .open(deadlineMs, () => Environment.open(this.#dir))
        .catch((cause: unknown) => {
          throw cause instanceof AnynodeError ? cause : unusable(this.#dir, reasonOf(cause), cause);
        });
      const environment = await within(clock, deadlineMs, opening);
      const writer = new Writer(environment, door, { clock, deadlineMs, limitBytes });
      const mailbox = new Mailbox(environment, writer, clock, new Bell(this.#dir));
      const sweep = new Sweep(environment, writer, mailbox, clock, SLOTS);
      this.#opened = { environment, writer, door, mailbox, sweep };
      if (!this.#closing) sweep.start();
      return this.#opened;
    } catch (error) {
      this.#opening = undefined;
      throw error;
    }
  }

  #read({ environment }: Opened, key: Key, known?: Version): Found | Same | Gone {
    const reply = register.read(decodeSlot(environment.peek(slotKey(key))), this.#clock.now(), known);
    // The body is a view of LMDB's buffer, which the next read overwrites.
    return reply.outcome === "found" ? { ...reply, body: Buffer.from(reply.body) } : reply;
  }

  async #change<Answer>(
    need: Need,
    key: Key,
    transition: (slot: register.Slot, now: number, opened: Opened) => register.Step<Answer>,
    decode = decodeSlot,
  ): Promise<Answer> {
    const opened = this.#opened && !this.#closing ? this.#opened : await this.#ready();
    const { environment, writer } = opened;
    const at = slotKey(key);
    return writer.write(need, () => {
      const slot = decode(environment.get(at));
      const step = transition(slot, this.#clock.now(), opened);
      if (step.store) store(writer, at, step.store);
      return step.answer;
    });
  }

  async #enroll<Answer>(transition: (before: roster.Roster, now: number) => roster.RosterStep<Answer>): Promise<Answer> {
    const { environment, writer } = await this.#ready();
    return writer.write("none", () => {
      const before = loadRoster(environment);
      const step = transition(before, this.#clock.now());
      if (step.store) storeRoster(writer, before, step.store);
      return step.answer;
    });
  }

  #toListed(key: Buffer, value: Buffer): Listed | undefined {
    const text = key.toString("latin1", SLOTS.start.length);
    const slot = readableSlot(value);
    if (slot?.state !== "record" || register.isOver(slot, this.#clock.now()) || !isKey(text)) return undefined;
    return { key: text, version: slot.version, idleAt: slot.idleAt, body: slot.body };
  }
}

function slotKey(key: Key): Buffer {
  return Buffer.from(`s:${key}`, "latin1");
}

function store(writer: Writer, key: Buffer, slot: register.StoredRecord | register.EndedMark): void {
  // LMDB joins pages that have become sparse when it removes, not when it replaces: else ends would give no room back.
  if (slot.state === "ended") writer.remove(key);
  writer.put(key, encodeSlot(slot));
}

/** What can't be read counts as nothing. */
function readableSlot(value: Buffer | undefined): register.Slot {
  try {
    return decodeSlot(value);
  } catch {
    return undefined;
  }
}
