/**
 * The registry's rows, for engines that keep them in this process' reach: join, beat, leave, and who is reaped when.
 * Pure: a roster and the engine's now go in, an answer and, if it changed, the next roster come out. Unchanged rows stay the same object.
 * The invariant: nobody loses its row because the engine or its clock was away (grace), and epochs and the revision only grow.
 */
import type { NodeId } from "../names.js";
import { type Beaten, type Joined, MAX_NODES, REGISTRY_LEASE_MS, type Row } from "./engine.js";

/** A row and when its lease is over; of one that left: when it is forgotten. */
export interface LeasedRow extends Row {
  readonly until: number;
}
export interface Roster {
  readonly rows: readonly LeasedRow[];
  readonly revision: number;
  /** The highest epoch ever given. */
  readonly lastEpoch: number;
  /** When anybody last joined or beat. */
  readonly beatAt: number;
  readonly graceUntil: number;
  /** Up to when whatever began is over; 0: nobody said so. */
  readonly endedBefore: number;
}
export const emptyRoster: Roster = { rows: [], revision: 0, lastEpoch: 0, beatAt: 0, graceUntil: 0, endedBefore: 0 };

export interface RosterStep<Answer> {
  readonly answer: Answer;
  readonly store?: Roster;
}

export function join(roster: Roster, now: number, nodeId: NodeId, lastEpoch: number, about: string): RosterStep<Joined> {
  const reaped = reap(roster, now);
  const before = reaped.rows.find((row) => row.nodeId === nodeId);
  if (before !== undefined && before.epoch !== lastEpoch) return { answer: { outcome: "taken" } };
  const number = before?.number ?? freeNumber(reaped.rows);
  if (number === undefined) return { answer: { outcome: "full" } };
  const epoch = Math.max(reaped.lastEpoch, lastEpoch, Math.floor(now)) + 1;
  const row: LeasedRow = { nodeId, number, epoch, left: false, about, until: now + REGISTRY_LEASE_MS };
  const revision = reaped.revision + 1;
  return {
    answer: { outcome: "joined", number, epoch, now, revision, endedBefore: reaped.endedBefore },
    store: { ...reaped, rows: [...reaped.rows.filter((other) => other !== before), row], revision, lastEpoch: epoch },
  };
}

export function beat(roster: Roster, now: number, nodeId: NodeId, epoch: number, about: string): RosterStep<Beaten> {
  const mine = roster.rows.find((row) => row.nodeId === nodeId && row.epoch === epoch && !row.left);
  if (mine === undefined) return { answer: { outcome: "fenced", now } };
  const renewed: LeasedRow = { ...mine, about, until: now + REGISTRY_LEASE_MS };
  const changed = about !== mine.about;
  const store = reap(
    {
      ...roster,
      rows: roster.rows.map((row) => (row === mine ? renewed : row)),
      revision: roster.revision + (changed ? 1 : 0),
    },
    now,
  );
  const { revision, endedBefore } = store;
  return { answer: { outcome: "beaten", now, revision, grace: now < store.graceUntil, endedBefore }, store };
}

export function leave(roster: Roster, now: number, nodeId: NodeId, epoch: number): RosterStep<void> {
  const mine = roster.rows.find((row) => row.nodeId === nodeId && row.epoch === epoch && !row.left);
  if (mine === undefined) return { answer: undefined };
  const gone: LeasedRow = { ...mine, left: true, until: now + REGISTRY_LEASE_MS };
  return {
    answer: undefined,
    store: { ...roster, rows: roster.rows.map((row) => (row === mine ? gone : row)), revision: roster.revision + 1 },
  };
}

export function endBefore(roster: Roster, now: number): RosterStep<number> {
  const endedBefore = Math.max(roster.endedBefore, Math.ceil(now));
  return { answer: endedBefore, store: { ...roster, endedBefore } };
}

export function nodes(roster: Roster, now: number): { readonly rows: readonly Row[]; readonly revision: number } {
  const rows = roster.rows
    .filter((row) => !row.left || row.until > now)
    .sort((a, b) => a.number - b.number)
    .map(({ nodeId, number, epoch, left, about }) => ({ nodeId, number, epoch, left, about }));
  return { rows, revision: roster.revision };
}

/** Removes the rows whose lease is over, unless nobody could have renewed them: then everybody gets one lease to come back. */
function reap(roster: Roster, now: number): Roster {
  const clockWentBack = now < roster.beatAt;
  const wasAway = clockWentBack || now - roster.beatAt > REGISTRY_LEASE_MS / 2;
  const graceUntil = wasAway && roster.rows.length > 0 ? now + REGISTRY_LEASE_MS : roster.graceUntil;
  // After a step back the old deadlines lie too far ahead: a dead node would stay for as long as the step was.
  const latest = now + REGISTRY_LEASE_MS;
  const rows = clockWentBack ? roster.rows.map((row) => (row.until > latest ? { ...row, until: latest } : row)) : roster.rows;
  const alive = now < graceUntil ? rows : rows.filter((row) => row.until > now);
  const revision = roster.revision + (alive.length < rows.length ? 1 : 0);
  return { ...roster, rows: alive, revision, beatAt: now, graceUntil };
}

function freeNumber(rows: readonly LeasedRow[]): number | undefined {
  const used = new Set(rows.map((row) => row.number));
  for (let number = 0; number < MAX_NODES; number++) if (!used.has(number)) return number;
  return undefined;
}
