/**
 * Record <-> bytes. A body is: format byte, flags, a checksum (CRC-32) over the key and all the rest, then the payload, compressed
 * above a threshold. The payload is the header, then the attributes as length-prefixed `name → JSON text` segments.
 * The checksum binds a record to its key: one that was damaged, cut or moved to another key doesn't decode.
 */
import { constants, deflateRawSync, inflateRawSync } from "node:zlib";
import { AnynodeError } from "../errors.js";
import type { Key } from "../names.js";
import { isAttributeName } from "./attributes.js";
import { crc32 } from "./crc32.js";
import type { SessionRecord } from "./record.js";

const FORMAT = 1;
const COMPRESSED = 1;
const PREFIX_BYTES = 6;
const FIXED_BYTES = 18;
/**
 * Measured on JSON (Node 20, deflateRaw level 1): 2 KB shrink to a quarter for 23 µs, and 9 µs back. Below that the fixed cost of a
 * zlib stream outweighs what it saves; higher levels and brotli cost two to five times as much for a few per cent.
 */
const COMPRESS_ABOVE_BYTES = 2048;
const MAX_ATTRIBUTES = 1024;

export type Decoded =
  | { readonly outcome: "record"; readonly record: SessionRecord }
  /** Damaged, truncated, or moved here from another key. */
  | { readonly outcome: "damaged" }
  /** Written by a newer version of this library: it may be fine, but not for us to judge. */
  | { readonly outcome: "unknown" };

/** Throws SESSION_TOO_LARGE if the payload is over `maxBytes` or has more than 1,024 attributes. */
export function encode(record: SessionRecord, key: Key, maxBytes: number): Buffer {
  const whole = written(record, maxBytes);
  const body = whole.length > COMPRESS_ABOVE_BYTES ? compressed(whole) : whole;
  body.writeUInt32BE(checksum(body, key), 2);
  return body;
}

/** The body with its payload deflated, if that saves a tenth or more. */
function compressed(whole: Buffer): Buffer {
  const payload = deflateRawSync(whole.subarray(PREFIX_BYTES), { level: constants.Z_BEST_SPEED });
  if (payload.length > whole.length * 0.9) return whole;
  const body = Buffer.allocUnsafe(PREFIX_BYTES + payload.length);
  body[0] = FORMAT;
  body[1] = COMPRESSED;
  body.set(payload, PREFIX_BYTES);
  return body;
}

/** Never throws: bytes from outside are judged, not trusted. `maxBytes` bounds what decompressing may yield. */
export function decode(body: Buffer, key: Key, maxBytes: number): Decoded {
  const flags = body[1];
  if (flags === undefined) return { outcome: "damaged" };
  if (body[0] !== FORMAT || (flags & ~COMPRESSED) !== 0) {
    return { outcome: body[0] !== undefined && body[0] >= FORMAT ? "unknown" : "damaged" };
  }
  if (body.length < PREFIX_BYTES + FIXED_BYTES || checksum(body, key) !== body.readUInt32BE(2)) {
    return { outcome: "damaged" };
  }
  try {
    const stored = body.subarray(PREFIX_BYTES);
    return {
      outcome: "record",
      record: parse(flags & COMPRESSED ? inflateRawSync(stored, { maxOutputLength: maxBytes }) : stored),
    };
  } catch {
    return { outcome: "damaged" };
  }
}

function checksum(body: Buffer, key: Key): number {
  return crc32(body.subarray(PREFIX_BYTES), crc32(body.subarray(0, 2), crc32(key)));
}

/** The body before compression, without its checksum. */
function written({ header, attributes }: SessionRecord, maxBytes: number): Buffer {
  if (attributes.size > MAX_ATTRIBUTES) throw tooLarge(`${attributes.size} attributes`, `${MAX_ATTRIBUTES}`);
  const texts = [header.user, header.cookie];
  for (const [name, text] of attributes) texts.push(name, text);
  const lengths = texts.map((text) => Buffer.byteLength(text));
  // A length takes five bytes at the most.
  const bytes = lengths.reduce((sum, length) => sum + length, FIXED_BYTES + 5 * lengths.length);
  if (bytes > maxBytes) throw tooLarge(`${bytes} bytes`, `${maxBytes} bytes (maxBytes)`);
  const body = Buffer.allocUnsafe(PREFIX_BYTES + bytes);
  body[0] = FORMAT;
  body[1] = 0;
  let at = body.writeUIntBE(header.createdAt, PREFIX_BYTES, 6);
  at = body.writeUIntBE(header.absoluteAt, at, 6);
  at = body.writeUIntBE(header.idleMs, at, 6);
  for (const [i, text] of texts.entries()) {
    let rest = lengths[i] ?? 0;
    for (; rest > 127; rest >>>= 7) body[at++] = (rest & 127) | 128;
    body[at++] = rest;
    at += body.write(text, at, "utf8");
  }
  return body.subarray(0, at);
}

function tooLarge(is: string, bound: string): AnynodeError {
  return new AnynodeError(
    "SESSION_TOO_LARGE",
    `A session has ${is}; the limit is ${bound}. Keep large data elsewhere, by reference.`,
  );
}

/** Throws a plain Error on anything out of place; `decode` turns it into "damaged". */
function parse(payload: Buffer): SessionRecord {
  let at = FIXED_BYTES;
  const text = (): string => {
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = payload[at++];
      if (byte === undefined || shift > 28) throw new Error("length");
      length |= (byte & 127) << shift;
      if (byte < 128) break;
    }
    if (length < 0 || at + length > payload.length) throw new Error("cut");
    const from = at;
    at += length;
    return payload.toString("utf8", from, at);
  };
  const header = {
    createdAt: payload.readUIntBE(0, 6),
    absoluteAt: payload.readUIntBE(6, 6),
    idleMs: payload.readUIntBE(12, 6),
    user: text(),
    cookie: text(),
  };
  const attributes = new Map<string, string>();
  while (at < payload.length) {
    const name = text();
    if (!isAttributeName(name) || attributes.size === MAX_ATTRIBUTES) throw new Error("name");
    attributes.set(name, text());
  }
  return { header, attributes };
}
