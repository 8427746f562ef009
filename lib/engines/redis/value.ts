/**
 * A record in Redis: one string, a header of fixed size, then the body. lua/record.lua writes it and has the layout.
 * The invariant: what isn't of this layout is RECORD_UNREADABLE: never missing, never somebody's session.
 */
import { AnynodeError } from "../../errors.js";
import { isVersion, type Version } from "../../names.js";
import type { Found, Gone } from "../engine.js";

export const HEADER_BYTES = 35;
const RECORD = 0x52; // "R"
const ENDED_MARK = 0x45; // "E"
const VERSION_AT = 1;
const IDLE_AT_AT = 7;

/** A record's facts, or that there is none. Takes a whole value, just its header, or null and "" for nothing there. */
export function header(value: unknown): { readonly version: Version; readonly idleAt: number } | Gone {
  if (value === null) return { outcome: "gone", ended: false };
  if (!Buffer.isBuffer(value)) throw unreadable();
  if (value.length === 0) return { outcome: "gone", ended: false };
  if (value[0] === ENDED_MARK) return { outcome: "gone", ended: true };
  if (value[0] !== RECORD || value.length < HEADER_BYTES) throw unreadable();
  const version = value.readUIntBE(VERSION_AT, 6);
  if (!isVersion(version)) throw unreadable();
  return { version, idleAt: value.readUIntBE(IDLE_AT_AT, 6) };
}

export function whole(value: unknown): Found | Gone {
  const facts = header(value);
  if ("outcome" in facts) return facts;
  if (!Buffer.isBuffer(value)) throw unreadable();
  return { outcome: "found", version: facts.version, idleAt: facts.idleAt, body: value.subarray(HEADER_BYTES) };
}

/** For lists, which one unreadable value must not break off: undefined stands for it. */
export function readable(value: unknown): Found | Gone | undefined {
  try {
    return whole(value);
  } catch {
    return undefined;
  }
}

function unreadable(): AnynodeError {
  return new AnynodeError("RECORD_UNREADABLE", "A stored record is damaged or of a newer format. It was left as it is.");
}
