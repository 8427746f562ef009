/**
 * What the Redis engine's scripts do (lib/engines/redis/lua), in memory: records with `copies` and `told`, the ledger, echoes and drops.
 * Each function is one script, so atomic. Held against the Lua by the contract suite, which both pass (test/contract/leased.test.ts).
 */
import {
  type Attached,
  type Beaten,
  COPY_LEASE_MS,
  type Committed,
  type Conflict,
  type Deadlines,
  type Echo,
  ENDED_MARK_MS,
  type Ended,
  type Filled,
  type Filler,
  type Found,
  type Gone,
  type Holder,
  LEASE_MARGIN_MS,
  type Moved,
  nodeChannel,
  type Regenerated,
  type Same,
  SHOWN_BYTES,
  type Stays,
  type Touched,
  type Waiting,
  type Writer,
} from "../../lib/engines/engine.js";
import { withHolder, withoutHolder } from "../../lib/engines/holders.js";
import * as roster from "../../lib/engines/roster.js";
import { isVersion, type Key, type NodeId, type Version } from "../../lib/names.js";

const ENGINE_LEASE_MS = COPY_LEASE_MS + LEASE_MARGIN_MS;
const TOLERATED_MS = 250;

type Numbers = ReadonlySet<number>;
interface Value {
  readonly kind: "record" | "ended";
  readonly version: Version;
  readonly idleAt: number;
  readonly copies: Numbers;
  readonly told: Numbers;
  readonly toldUntil: number;
  readonly body: Buffer;
}
type Judged = Writer & { readonly lost: boolean };
type Facts = Pick<Value, "copies" | "told" | "toldUntil">;
const NONE: Numbers = new Set();

export class CopiesServer {
  /** No room: what stores is refused, a fill's bit too. */
  full = false;
  /** Nobody may publish. */
  mute = false;
  onStored: (key: Key, body: Buffer | undefined) => void = () => {};
  readonly values = new Map<Key, Value>();
  /** Beside the values, with the deadlines of theirs: an eviction takes the value alone. */
  readonly #holders = new Map<Key, { readonly until: number; readonly all: readonly Holder[] }>();
  readonly #now: () => number;
  readonly #publish: (channel: string, message: string) => void;
  #trustedUntil = new Map<number, number>();
  /** Whose number it is: the epoch of its join. */
  #epochs = new Map<number, number>();
  #drops = new Map<number, number>();
  /** The highest generation with which each node filled a copy. */
  #generations = new Map<number, number>();
  /** Until when nodes that the registry lost may trust copies; -1 in `told` says that they may have one. Undefined: it isn't known. */
  #strangersUntil: number | undefined;
  #roster = roster.emptyRoster;

  constructor(now: () => number, publish: (channel: string, message: string) => void) {
    this.#now = now;
    this.#publish = publish;
  }

  read(key: Key, known?: Version): Found | Same | Gone {
    const value = this.#look(key);
    if (value === undefined || value.kind === "ended") return { outcome: "gone", ended: value !== undefined };
    const { version, idleAt } = value;
    return version === known ? { outcome: "same", version, idleAt } : found(value);
  }

  fill(key: Key, { number, epoch, generation }: Filler, known?: Version): Filled {
    const value = this.#look(key);
    const read = this.read(key, known);
    if (value?.kind !== "record" || number < 0 || this.#epochs.get(number) !== epoch) return { counts: false, read };
    if (!this.#raise(number, generation) || (this.full && !value.copies.has(number))) return { counts: false, read };
    this.values.set(key, { ...value, copies: new Set([...value.copies, number]) });
    return { counts: true, read };
  }

  create(key: Key, body: Buffer, deadlines: Deadlines, writer: Writer, fresh: boolean): Committed | Conflict | Gone {
    const by = this.#judged(writer);
    const value = this.#look(key);
    if (value !== undefined) return refused(value);
    const suspect = this.#suspect(by);
    const affected = fresh ? NONE : this.#affected(undefined, suspect, by);
    const stored = this.#store(key, body, 0, deadlines, this.#factsAfter(affected, by));
    this.#extendHolders(key, stored.idleAt);
    return { ...stored, ...this.#announce(key, stored.version, affected, "new", by, suspect) };
  }

  commit(key: Key, expected: Version, body: Buffer, deadlines: Deadlines, writer: Writer): Committed | Conflict | Gone {
    const by = this.#judged(writer);
    const value = this.#look(key);
    if (value?.kind !== "record" || value.version !== expected) return refused(value);
    const suspect = this.#suspect(by);
    const affected = this.#affected(value, suspect, by);
    const stored = this.#store(key, body, value.version, deadlines, this.#factsAfter(affected, by));
    this.#extendHolders(key, stored.idleAt);
    return { ...stored, ...this.#announce(key, stored.version, affected, "new", by, suspect) };
  }

  touch(key: Key, expected: Version, { idleMs, absoluteAt }: Deadlines): Touched | Moved | Gone {
    const [value, now] = [this.#look(key), this.#now()];
    if (value?.kind !== "record") return { outcome: "gone", ended: value !== undefined };
    if (value.version !== expected) return { outcome: "moved" };
    const extended = Math.max(value.idleAt, now + idleMs);
    const idleAt = absoluteAt > 0 ? Math.min(extended, absoluteAt) : extended;
    this.values.set(key, { ...value, idleAt });
    this.#extendHolders(key, idleAt);
    return { outcome: "touched", idleAt, now };
  }

  end(key: Key, writer: Writer): Ended {
    const by = this.#judged(writer);
    const [value, now, suspect] = [this.#look(key), this.#now(), this.#suspect(by)];
    const holders = this.#holdersAt(key);
    const affected = withNumbers(this.#affected(value, suspect, by), holders);
    this.#mark(key, value?.version ?? 0, affected);
    const outcome = value === undefined ? "missing" : value.kind === "ended" ? "marked" : "ended";
    const was = value?.kind === "record" && value.body.length <= SHOWN_BYTES ? { was: value.body } : {};
    return {
      outcome,
      now,
      holders,
      ...was,
      ...this.#announce(key, now, affected, "end", by, suspect, holders),
    };
  }

  regenerate(
    from: Key,
    expected: Version,
    to: Key,
    body: Buffer,
    deadlines: Deadlines,
    writer: Writer,
    stays?: Stays,
  ): Regenerated | Conflict | Gone {
    const by = this.#judged(writer);
    const [value, other] = [this.#look(from), this.#look(to)];
    if (value?.kind !== "record" || value.version !== expected) return refused(value);
    if (other !== undefined) return refused(other);
    const suspect = this.#suspect(by);
    const stored = this.#store(to, body, 0, deadlines, this.#factsAfter(NONE, by));
    const holders = this.#holdersAt(from);
    const affected = withNumbers(this.#affected(value, suspect, by), holders);
    if (stays === undefined) this.#mark(from, value.version, affected);
    else {
      const left = { idleMs: stays.idleMs, absoluteAt: deadlines.absoluteAt };
      this.#store(from, stays.body, value.version, left, this.#factsAfter(affected, { ...by, keep: false }));
    }
    return { ...stored, holders, ...this.#announce(from, stored.version, affected, "end", by, suspect, holders) };
  }

  attach(key: Key, holder: Holder): Attached | Gone {
    const value = this.#look(key);
    if (value?.kind !== "record") return { outcome: "gone", ended: value !== undefined };
    const { version, idleAt } = value;
    this.#holders.set(key, { until: idleAt, all: withHolder(this.#holdersAt(key), holder) });
    return { outcome: "attached", version, idleAt, now: this.#now() };
  }

  detach(key: Key, holder: Holder): void {
    const { until = 0, all = [] } = this.#holders.get(key) ?? {};
    this.#holders.set(key, { until, all: withoutHolder(all, holder) });
  }

  holders(key: Key): readonly Holder[] {
    return this.#look(key)?.kind === "record" ? this.#holdersAt(key) : [];
  }

  join(nodeId: NodeId, lastEpoch: number, about: string) {
    const joined = this.#enroll(roster.join(this.#roster, this.#now(), nodeId, lastEpoch, about));
    if (joined.outcome === "joined") {
      if (!this.#trustedUntil.has(joined.number)) this.#trustedUntil.set(joined.number, 0);
      this.#epochs.set(joined.number, joined.epoch);
    }
    return joined;
  }

  beat(nodeId: NodeId, epoch: number, about: string, echo?: Echo): Beaten {
    const beaten = this.#enroll(roster.beat(this.#roster, this.#now(), nodeId, epoch, about));
    const number = this.#roster.rows.find((row) => row.nodeId === nodeId)?.number ?? -1;
    if (beaten.outcome === "fenced") return beaten;
    if (!this.#trustedUntil.has(number)) this.#trustedUntil.set(number, 0);
    this.#epochs.set(number, epoch);
    if (echo === undefined) return beaten;
    if (echo.trusts) this.#trustedUntil.set(number, this.#now() + ENGINE_LEASE_MS);
    const count = this.#drops.get(number) ?? this.#now() * 1_000;
    this.#drops.set(number, count);
    if (!this.mute) this.#publish(nodeChannel(number), `echo ${echo.serial} ${epoch} ${count} ${this.#now()}`);
    return { ...beaten, mute: this.mute };
  }

  leave(nodeId: NodeId, epoch: number): void {
    const before = this.#roster;
    this.#enroll(roster.leave(before, this.#now(), nodeId, epoch));
    const row = this.#roster.rows.find((one) => one.nodeId === nodeId);
    if (row !== undefined && this.#roster !== before) this.#trustedUntil.set(row.number, 0);
  }

  nodes() {
    return roster.nodes(this.#roster, this.#now());
  }

  /** Loses a record, and with it who has copies. */
  evict(key: Key): void {
    if (this.values.delete(key)) this.onStored(key, undefined);
  }
  /** Loses everything, as a server without persistence does when it starts again. */
  loseAll(): void {
    for (const key of this.values.keys()) this.evict(key);
    this.#holders.clear();
    this.loseLedger();
    this.#roster = roster.emptyRoster;
  }
  loseLedger(): void {
    this.#trustedUntil = new Map();
    this.#epochs = new Map();
    this.#drops = new Map();
    this.#generations = new Map();
    this.#strangersUntil = undefined;
  }

  /** Redis removes a key once its deadline has come. */
  #look(key: Key): Value | undefined {
    const value = this.values.get(key);
    if (value === undefined || value.idleAt > this.#now()) return value;
    this.values.delete(key);
    return undefined;
  }

  #holdersAt(key: Key): readonly Holder[] {
    const { until = 0, all = [] } = this.#holders.get(key) ?? {};
    if (until > this.#now()) return all;
    this.#holders.delete(key);
    return [];
  }

  #extendHolders(key: Key, until: number): void {
    const all = this.#holdersAt(key);
    if (all.length > 0) this.#holders.set(key, { until, all });
  }

  /** The ledger doesn't know the writer by its number, as it does from its join on: it was lost, and the number may be another's. */
  #judged(by: Writer): Judged {
    const known = by.number < 0 || this.#epochs.get(by.number) === by.epoch;
    return { ...by, number: known ? by.number : -1, lost: by.doubt === "nodes" || !known };
  }

  #suspect({ doubt, sentAt }: Writer): boolean {
    return doubt !== "none" || (sentAt > 0 && Math.abs(this.#now() - sentAt) > TOLERATED_MS);
  }

  /** `facts` undefined: nothing is there, so nobody knows who had copies: all that have a row and didn't leave; -1: strangers. */
  #affected(facts: Facts | undefined, suspect: boolean, by: Judged): Numbers {
    const now = this.#now();
    if (facts === undefined) {
      if (by.lost) this.#strangersUntil = now + ENGINE_LEASE_MS;
      const more = by.lost ? [-1] : [];
      const all = this.#roster.rows.filter(({ left }) => !left).map((row) => row.number);
      return new Set([...all, ...(this.#isLate(by) ? [by.number] : []), ...more]);
    }
    const told = facts.toldUntil > now || suspect ? [...facts.told] : [];
    if (told.includes(-1)) this.#strangersUntil ??= now + ENGINE_LEASE_MS;
    const strangers = suspect || this.#strangersLeft() > 0;
    return new Set([...facts.copies, ...told.filter((one) => one >= 0 || strangers)]);
  }

  /** Its node gave it up and has filled copies since. */
  #isLate({ number, generation }: Writer): boolean {
    return number >= 0 && generation < (this.#generations.get(number) ?? 0);
  }

  #raise(number: number, generation: number): boolean {
    if ((this.#generations.get(number) ?? 0) >= generation) return true;
    if (!this.full) this.#generations.set(number, generation);
    return !this.full;
  }

  #factsAfter(affected: Numbers, by: Writer): Facts {
    const { number, keep, generation } = by;
    const keeps = keep && number >= 0 && !this.#isLate(by) && this.#raise(number, generation);
    const copies = keeps ? new Set([number]) : NONE;
    return { copies, told: affected, toldUntil: affected.size > 0 ? this.#now() + ENGINE_LEASE_MS : 0 };
  }

  #store(key: Key, body: Buffer, current: number, deadlines: Deadlines, facts: Facts) {
    if (this.full) throw new Full();
    const now = this.#now();
    const { idleMs, absoluteAt } = deadlines;
    const idleAt = absoluteAt > 0 ? Math.min(now + idleMs, absoluteAt) : now + idleMs;
    const version = next(current, now);
    this.values.set(key, { kind: "record", version, idleAt, ...facts, body });
    this.onStored(key, body);
    return { outcome: "committed", version, idleAt, now, counts: facts.copies.size > 0 } as const;
  }

  #mark(key: Key, current: number, affected: Numbers): void {
    const now = this.#now();
    const version = next(current, now);
    const facts = { copies: NONE, told: affected, toldUntil: affected.size > 0 ? now + ENGINE_LEASE_MS : 0 };
    this.#extendHolders(key, now + ENDED_MARK_MS);
    this.values.set(key, { kind: "ended", version, idleAt: now + ENDED_MARK_MS, ...facts, body: Buffer.alloc(0) });
    this.onStored(key, undefined);
  }

  #announce(
    key: Key,
    version: number,
    affected: Numbers,
    what: string,
    by: Writer,
    suspect: boolean,
    holders: readonly Holder[] = [],
  ) {
    const waitFor: Waiting[] = [];
    const strangersMs = suspect ? ENGINE_LEASE_MS : this.#strangersLeft();
    if (affected.has(-1)) waitFor.push({ number: -1, leftMs: strangersMs });
    // The writer itself is told if it gave this up, or holds something live.
    const tellsWriter = this.#isLate(by) || holders.some(({ number }) => number === by.number);
    const message = `drop ${key} ${version} ${by.number} ${by.epoch} ${by.serial} ${what}`;
    const told = [...affected].filter((number) => number >= 0 && (number !== by.number || tellsWriter)).sort((a, b) => a - b);
    for (const number of told) {
      const leftMs = number === by.number ? 0 : this.#leftOf(number, suspect);
      if (leftMs > 0) waitFor.push({ number, leftMs });
      this.#drops.set(number, this.#drops.has(number) ? (this.#drops.get(number) ?? 0) + 1 : this.#now() * 1_000);
      if (!this.mute) this.#publish(nodeChannel(number), message);
    }
    return { waitFor, ...(this.mute && told.length > 0 ? { unannounced: true } : {}) };
  }

  #strangersLeft(): number {
    return Math.min((this.#strangersUntil ?? Number.POSITIVE_INFINITY) - this.#now(), ENGINE_LEASE_MS);
  }

  #leftOf(number: number, suspect: boolean): number {
    const until = this.#trustedUntil.get(number) ?? this.#now() + ENGINE_LEASE_MS;
    return suspect && until > 0 ? ENGINE_LEASE_MS : Math.max(0, Math.min(until - this.#now(), ENGINE_LEASE_MS));
  }

  #enroll<Answer>({ answer, store }: roster.RosterStep<Answer>): Answer {
    if (store !== undefined) this.#roster = store;
    return answer;
  }
}

function withNumbers(numbers: Numbers, holders: readonly Holder[]): Numbers {
  return new Set([...numbers, ...holders.map(({ number }) => number)]);
}

/** No room for what a script stores. */
export class Full extends Error {}

function found({ version, idleAt, body }: Value): Found {
  return { outcome: "found", version, idleAt, body };
}
function refused(value: Value | undefined): Conflict | Gone {
  if (value?.kind === "record") return { outcome: "conflict", current: found(value) };
  return { outcome: "gone", ended: value !== undefined };
}
function next(current: number, now: number): Version {
  const version = Math.max(current + 1, Math.floor(now));
  if (!isVersion(version)) throw new RangeError("not a version");
  return version;
}
