/**
 * The holders of a record, in a row of their own beside its slot: only sessions with something live have one. Written inside of the
 * batch that has looked at the slot, so that attach and end have one order. The sweep removes the row together with the slot.
 */
import type { Key } from "../../names.js";
import type { Holder } from "../engine.js";
import { factsOf, holderOf } from "../holders.js";

interface Readable {
  get(key: Buffer): Buffer | undefined;
}
interface Writable {
  put(key: Buffer, value: Buffer): void;
  remove(key: Buffer): void;
}

export function rowOf(key: string): Buffer {
  return Buffer.from(`h:${key}`, "latin1");
}

export function holdersAt(rows: Readable, key: Key): readonly Holder[] {
  const text = rows.get(rowOf(key))?.toString("latin1") ?? "";
  return text
    .split("\n")
    .map((line) => holderOf(line.slice(0, line.indexOf(" ")), line.slice(line.indexOf(" ") + 1)))
    .filter((holder) => holder !== undefined);
}

/** Writes nothing if that is what is stored. */
export function storeHolders(rows: Readable, writer: Writable, key: Key, holders: readonly Holder[]): void {
  const row = rowOf(key);
  const stored = rows.get(row)?.toString("latin1") ?? "";
  const text = holders.map((holder) => `${holder.nodeId} ${factsOf(holder)}`).join("\n");
  if (text === stored) return;
  if (text === "") writer.remove(row);
  else writer.put(row, Buffer.from(text, "latin1"));
}
