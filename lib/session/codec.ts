/**
 * Record <-> bytes. A body is: format byte, flags, an 8-byte checksum over the key and all the rest, then the payload, compressed
 * above a threshold. The payload is the header, then the attributes as length-prefixed `name → JSON text` segments.
 * The checksum binds a record to its key: one that was damaged, cut or moved to another key doesn't decode.
 */
import { createHash } from "node:crypto";
import { constants, deflateRawSync, inflateRawSync } from "node:zlib";
import { AnynodeError } from "../errors.js";
import type { Key } from "../names.js";
import { isAttributeName } from "./attributes.js";
import type { SessionRecord } from "./record.js";

const FORMAT = 1;
const COMPRESSED = 1;
const PREFIX_BYTES = 10;
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
  let payload: Uint8Array = payloadOf(record, maxBytes);
  let flags = 0;
  if (payload.length > COMPRESS_ABOVE_BYTES) {
    const smaller = deflateRawSync(payload, { level: constants.Z_BEST_SPEED });
    if (smaller.length < payload.length * 0.9) {
      payload = smaller;
      flags |= COMPRESSED;
    }
  }
  const body = Buffer.allocUnsafe(PREFIX_BYTES + payload.length);
  body[0] = FORMAT;
  body[1] = flags;
  body.set(payload, PREFIX_BYTES);
  checksum(body, key).copy(body, 2, 0, 8);
  return body;
}

/** Never throws: bytes from outside are judged, not trusted. `maxBytes` bounds what decompressing may yield. */
export function decode(body: Buffer, key: Key, maxBytes: number): Decoded {
  const flags = body[1];
  if (flags === undefined) return { outcome: "damaged" };
  if (body[0] !== FORMAT || (flags & ~COMPRESSED) !== 0) {
    return { outcome: body[0] !== undefined && body[0] >= FORMAT ? "unknown" : "damaged" };
  }
  if (body.length < PREFIX_BYTES + FIXED_BYTES || checksum(body, key).compare(body, 2, PREFIX_BYTES, 0, 8) !== 0) {
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

function checksum(body: Buffer, key: Key): Buffer {
  return createHash("sha256").update(key).update(body.subarray(0, 2)).update(body.subarray(PREFIX_BYTES)).digest();
}

function payloadOf({ header, attributes }: SessionRecord, maxBytes: number): Buffer {
  if (attributes.size > MAX_ATTRIBUTES) throw tooLarge(`${attributes.size} attributes`, `${MAX_ATTRIBUTES}`);
  // A UTF-16 unit takes three bytes of UTF-8 at the most; a length takes five.
  let bound = FIXED_BYTES + 10 + 3 * (header.user.length + header.cookie.length);
  for (const [name, text] of attributes) bound += 10 + 3 * (name.length + text.length);
  if (bound > maxBytes) bound = exactly({ header, attributes });
  if (bound > maxBytes) throw tooLarge(`${bound} bytes`, `${maxBytes} bytes (maxBytes)`);
  const writer = new Writer(bound);
  writer.instant(header.createdAt);
  writer.instant(header.absoluteAt);
  writer.instant(header.idleMs);
  writer.text(header.user);
  writer.text(header.cookie);
  for (const [name, text] of attributes) {
    writer.text(name);
    writer.text(text);
  }
  return writer.done();
}

function exactly({ header, attributes }: SessionRecord): number {
  let bytes = FIXED_BYTES + 10 + Buffer.byteLength(header.user) + Buffer.byteLength(header.cookie);
  for (const [name, text] of attributes) bytes += 10 + Buffer.byteLength(name) + Buffer.byteLength(text);
  return bytes;
}

function tooLarge(is: string, bound: string): AnynodeError {
  return new AnynodeError(
    "SESSION_TOO_LARGE",
    `A session has ${is}; the limit is ${bound}. Keep large data elsewhere, by reference.`,
  );
}

class Writer {
  readonly #bytes: Buffer;
  #at = 0;
  constructor(bound: number) {
    this.#bytes = Buffer.allocUnsafe(bound);
  }
  instant(ms: number): void {
    this.#at = this.#bytes.writeUIntBE(ms, this.#at, 6);
  }
  text(text: string): void {
    let length = Buffer.byteLength(text);
    const end = length;
    while (length > 127) {
      this.#bytes[this.#at++] = (length & 127) | 128;
      length >>>= 7;
    }
    this.#bytes[this.#at++] = length;
    this.#bytes.write(text, this.#at, "utf8");
    this.#at += end;
  }
  done(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }
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
