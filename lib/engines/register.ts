/**
 * What happens to one key: the transitions of a record and of its ended mark, for engines that keep them in this process' reach.
 * Pure: a slot and the engine's now go in, an answer and the slot to store come out. The caller makes each one atomic.
 * The invariant: the version of a key only grows, and an ended mark that stands answers everything.
 */
import { isVersion, type Version } from "../names.js";
import {
  type Attached,
  type Committed,
  type Conflict,
  type Deadlines,
  ENDED_MARK_MS,
  type Ended,
  type Found,
  type Gone,
  type Holder,
  type Moved,
  type Regenerated,
  type Same,
  SHOWN_BYTES,
  type Stays,
  type Touched,
} from "./engine.js";

export interface StoredRecord {
  readonly state: "record";
  readonly version: Version;
  readonly idleAt: number;
  readonly body: Buffer;
}
/** `version` is that of the record it stands for (0: there was none), so that versions grow across the end. */
export interface EndedMark {
  readonly state: "ended";
  readonly version: number;
  readonly until: number;
}
/** What is stored under a key, swept or not; `undefined`: nothing. */
export type Slot = StoredRecord | EndedMark | undefined;

/** A transition: the answer, and, if something is to be stored, the slot that takes the old one's place. */
export interface Step<Answer> {
  readonly answer: Answer;
  readonly store?: StoredRecord | EndedMark;
}

/** Whether nothing but its version is left of a slot: a sweep may forget it, if it remembers the highest version that it forgot. */
export function isOver(slot: StoredRecord | EndedMark, now: number): boolean {
  return (slot.state === "record" ? slot.idleAt : slot.until) <= now;
}

export function read(slot: Slot, now: number, known?: Version): Found | Same | Gone {
  const record = live(slot, now);
  if (record === undefined) return gone(slot, now);
  return record.version === known ? { outcome: "same", version: record.version, idleAt: record.idleAt } : found(record);
}

/** `forgotten`: the highest version that a sweep has forgotten. */
export function create(
  slot: Slot,
  now: number,
  body: Buffer,
  deadlines: Deadlines,
  forgotten: number,
): Step<Committed | Conflict | Gone> {
  const record = live(slot, now);
  if (record !== undefined) return { answer: { outcome: "conflict", current: found(record) } };
  if (isMarked(slot, now)) return { answer: gone(slot, now) };
  return put(Math.max(slot?.version ?? 0, forgotten), now, body, deadlines);
}

export function commit(
  slot: Slot,
  now: number,
  expected: Version,
  body: Buffer,
  deadlines: Deadlines,
): Step<Committed | Conflict | Gone> {
  const record = live(slot, now);
  if (record === undefined) return { answer: gone(slot, now) };
  if (record.version !== expected) return { answer: { outcome: "conflict", current: found(record) } };
  return put(record.version, now, body, deadlines);
}

export function touch(slot: Slot, now: number, expected: Version, deadlines: Deadlines): Step<Touched | Moved | Gone> {
  const record = live(slot, now);
  if (record === undefined) return { answer: gone(slot, now) };
  if (record.version !== expected) return { answer: { outcome: "moved" } };
  const { absoluteAt } = deadlines;
  const extended = Math.max(record.idleAt, now + deadlines.idleMs);
  const idleAt = absoluteAt > 0 ? Math.min(extended, absoluteAt) : extended;
  return {
    answer: { outcome: "touched", idleAt, now },
    store: { state: "record", version: record.version, idleAt, body: record.body },
  };
}

export function end(slot: Slot, now: number, holders: readonly Holder[]): Step<Ended> & { readonly store: EndedMark } {
  const record = live(slot, now);
  const outcome = record !== undefined ? "ended" : isMarked(slot, now) ? "marked" : "missing";
  const body = record?.body;
  const was = body !== undefined && body.length <= SHOWN_BYTES ? { was: Buffer.from(body) } : {};
  return {
    answer: { outcome, now, waitFor: [], holders, ...was },
    store: { state: "ended", version: slot?.version ?? 0, until: now + ENDED_MARK_MS },
  };
}

/** Two slots move at once, or neither: when there is something to store under `to`, `from` gets the mark, or what stays. */
export function regenerate(
  from: Slot,
  to: Slot,
  now: number,
  expected: Version,
  body: Buffer,
  deadlines: Deadlines,
  forgotten: number,
  holders: readonly Holder[],
  stays?: Stays,
): Step<Regenerated | Conflict | Gone> & { readonly leave?: StoredRecord | EndedMark } {
  const record = live(from, now);
  if (record === undefined) return { answer: gone(from, now) };
  if (record.version !== expected) return { answer: { outcome: "conflict", current: found(record) } };
  const { answer, store } = create(to, now, body, deadlines, forgotten);
  if (answer.outcome !== "committed" || store === undefined)
    return answer.outcome === "committed" ? { answer: { ...answer, holders } } : { answer };
  const { absoluteAt } = deadlines;
  const left = stays === undefined ? undefined : put(record.version, now, stays.body, { idleMs: stays.idleMs, absoluteAt }).store;
  return { answer: { ...answer, holders }, store, leave: left ?? end(from, now, holders).store };
}

/** Whether a node may hold something live of what is there. */
export function attach(slot: Slot, now: number): Attached | Gone {
  const record = live(slot, now);
  return record === undefined ? gone(slot, now) : { outcome: "attached", version: record.version, idleAt: record.idleAt, now };
}

function put(current: number, now: number, body: Buffer, deadlines: Deadlines): Step<Committed> {
  const version = Math.max(current + 1, Math.floor(now));
  if (!isVersion(version)) throw new RangeError("The engine's clock is outside of the range of versions.");
  const idleAt = idleDeadline(now, deadlines);
  return {
    answer: { outcome: "committed", version, idleAt, now, waitFor: [] },
    store: { state: "record", version, idleAt, body },
  };
}

function idleDeadline(now: number, { idleMs, absoluteAt }: Deadlines): number {
  const idleAt = now + idleMs;
  return absoluteAt > 0 ? Math.min(idleAt, absoluteAt) : idleAt;
}

function live(slot: Slot, now: number): StoredRecord | undefined {
  return slot?.state === "record" && !isOver(slot, now) ? slot : undefined;
}

function isMarked(slot: Slot, now: number): boolean {
  return slot?.state === "ended" && !isOver(slot, now);
}

function found({ version, idleAt, body }: StoredRecord): Found {
  return { outcome: "found", version, idleAt, body };
}

function gone(slot: Slot, now: number): Gone {
  return { outcome: "gone", ended: isMarked(slot, now) };
}
