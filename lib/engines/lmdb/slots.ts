/**
 * A slot of the register as bytes: a byte for kind and format, the version, the deadline, then the record's body as it came.
 * A slot of a kind or format that this code doesn't know is reported and left as it is.
 */
import { AnynodeError } from "../../errors.js";
import { isVersion } from "../../names.js";
import type { EndedMark, Slot, StoredRecord } from "../register.js";

const RECORD = 0x11;
const ENDED = 0x12;
const HEADER_BYTES = 1 + 8 + 8;

export function encodeSlot(slot: StoredRecord | EndedMark): Buffer {
  const body = slot.state === "record" ? slot.body : undefined;
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + (body?.length ?? 0));
  bytes[0] = body === undefined ? ENDED : RECORD;
  bytes.writeDoubleBE(slot.version, 1);
  bytes.writeDoubleBE(slot.state === "record" ? slot.idleAt : slot.until, 9);
  body?.copy(bytes, HEADER_BYTES);
  return bytes;
}

/** The body is a view of `bytes`, not a copy. Throws RECORD_UNREADABLE. */
export function decodeSlot(bytes: Buffer | undefined): Slot {
  if (bytes === undefined) return undefined;
  if (bytes.length < HEADER_BYTES) throw unreadable();
  const version = bytes.readDoubleBE(1);
  const deadline = bytes.readDoubleBE(9);
  if (bytes[0] === ENDED) return { state: "ended", version, until: deadline };
  if (bytes[0] !== RECORD || !isVersion(version)) throw unreadable();
  return { state: "record", version, idleAt: deadline, body: bytes.subarray(HEADER_BYTES, bytes.length) };
}

function unreadable(): AnynodeError {
  return new AnynodeError(
    "RECORD_UNREADABLE",
    "A stored record is damaged, or of a newer format: then update anynode on this node. It was left as it is.",
  );
}
