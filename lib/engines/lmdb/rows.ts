/**
 * The roster as rows of the environment: one per node, under its number, and one for what they share.
 * Read and stored inside of one batch, so that joins and beats of all processes have one order.
 */
import { isNodeId } from "../../names.js";
import { emptyRoster, type LeasedRow, type Roster } from "../roster.js";

interface Readable {
  get(key: Buffer): Buffer | undefined;
}
interface Writable {
  put(key: Buffer, value: Buffer): void;
  remove(key: Buffer): void;
}

const SHARED = Buffer.from("m:roster");
const keyOf = (number: number) => Buffer.from(`n:${number}`);

export function loadRoster(rows: Readable): Roster {
  const shared = parse(rows.get(SHARED));
  const { revision, lastEpoch, beatAt, graceUntil, numbers } = shared;
  if (!isNumber(revision) || !isNumber(lastEpoch) || !isNumber(beatAt) || !isNumber(graceUntil)) return emptyRoster;
  const found = Array.isArray(numbers) ? numbers.filter(isNumber).map((number) => toRow(parse(rows.get(keyOf(number))))) : [];
  const endedBefore = isNumber(shared["endedBefore"]) ? shared["endedBefore"] : 0;
  return { revision, lastEpoch, beatAt, graceUntil, endedBefore, rows: found.filter((row) => row !== undefined) };
}

/** Stores what differs from `before`, which must be what was loaded. */
export function storeRoster(rows: Writable, before: Roster, after: Roster): void {
  const same = new Set(before.rows);
  const kept = new Set(after.rows.map((row) => row.number));
  for (const row of before.rows) if (!kept.has(row.number)) rows.remove(keyOf(row.number));
  for (const row of after.rows) if (!same.has(row)) rows.put(keyOf(row.number), bytesOf(row));
  rows.put(SHARED, bytesOf({ ...after, rows: undefined, numbers: [...kept] }));
}

function bytesOf(value: object): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function parse(bytes: Buffer | undefined): Partial<Record<string, unknown>> {
  const value: unknown = bytes === undefined ? undefined : JSON.parse(bytes.toString());
  return typeof value === "object" && value !== null ? { ...value } : {};
}

function toRow({ nodeId, number, epoch, left, about, until }: Partial<Record<string, unknown>>): LeasedRow | undefined {
  if (typeof nodeId !== "string" || !isNodeId(nodeId) || typeof about !== "string" || typeof left !== "boolean") return undefined;
  if (!isNumber(number) || !isNumber(epoch) || !isNumber(until)) return undefined;
  return { nodeId, number, epoch, left, about, until };
}

function isNumber(value: unknown): value is number {
  return typeof value === "number";
}
