/**
 * Record <-> bytes. A body is plain or sealed; either way it is bound to its key, so that one that was damaged, cut, or moved to another
 * key doesn't decode, and its payload is compressed above a threshold. The first byte tells which, and neither is ever tried as the other:
 *   plain   format 1 | flags | CRC-32 over the key and all the rest | payload
 *   sealed  format 2 | flags | length of the sealing key's id | id | salt | nonce | ciphertext | tag
 */
import { constants, deflateRawSync, inflateRawSync } from "node:zlib";
import { AnynodeError } from "../errors.js";
import type { Key } from "../names.js";
import { crc32 } from "./crc32.js";
import { isSealingKeyId, type Keyring } from "./keyring.js";
import { FIXED_BYTES, payloadOf, recordIn } from "./payload.js";
import type { SessionRecord } from "./record.js";
import type { SealingKey } from "./sealing-key.js";
import { isUserKey } from "./user-key.js";

const PLAIN = 1;
const SEALED = 2;
const COMPRESSED = 1;
const PREFIX_BYTES = 6;
const SEALED_PREFIX_BYTES = 3;
/**
 * Measured on JSON (Node 20, deflateRaw level 1): 2 KB shrink to a quarter for 23 µs, and 9 µs back. Below that the fixed cost of a
 * zlib stream outweighs what it saves; higher levels and brotli cost two to five times as much for a few per cent.
 */
const COMPRESS_ABOVE_BYTES = 2048;
const INDEX_BYTES = 1_048_576;

export type Decoded = { readonly outcome: "record"; readonly record: SessionRecord } | Unreadable;
export type Unreadable =
  /** Damaged, truncated, out of bounds, or moved here from another key. */
  | { readonly outcome: "damaged" }
  /** Written by a newer version of this library: it may be fine, but not for us to judge. */
  | { readonly outcome: "unknown" }
  /** Sealed with a key that this node lacks: other nodes may well read it. */
  | { readonly outcome: "key-missing"; readonly keyId: string }
  /** Sealed with a key that was revoked: whoever has that key may have written it. */
  | { readonly outcome: "key-revoked" }
  /** Not sealed, where records must be: whoever can write to the engine may have written it. */
  | { readonly outcome: "plain" };

export class Codec {
  readonly #maxBytes: number;
  readonly #namespace: string;
  readonly #keyring: Keyring;

  /** `maxBytes` bounds a payload, when writing and when reading, where it bounds what decompressing may yield. */
  constructor(maxBytes: number, namespace: string, keyring: Keyring) {
    this.#maxBytes = maxBytes;
    this.#namespace = namespace;
    this.#keyring = keyring;
  }

  /** Sealed if the keyring has a key for it. Throws SESSION_TOO_LARGE for what is out of bounds. `known`: see `payloadOf`. */
  encode(record: SessionRecord, key: Key, known?: SessionRecord): Buffer {
    const payload = payloadOf(record, this.#boundOf(key), known);
    const small = payload.length > COMPRESS_ABOVE_BYTES ? compressed(payload) : undefined;
    const flags = small === undefined ? 0 : COMPRESSED;
    const { sealing } = this.#keyring;
    return sealing === undefined
      ? plain(flags, small ?? payload, key)
      : sealed(sealing, flags, small ?? payload, this.#placeOf(key));
  }

  /** Never throws: bytes from outside are judged, not trusted. */
  decode(body: Buffer, key: Key): Decoded {
    const format = body[0];
    const flags = body[1];
    if (format === undefined || flags === undefined || format < PLAIN) return { outcome: "damaged" };
    if (format > SEALED || (flags & ~COMPRESSED) !== 0) return { outcome: "unknown" };
    const opened = format === SEALED ? this.#open(body, key) : this.#openPlain(body, key);
    if (!Buffer.isBuffer(opened)) return opened;
    try {
      const payload = flags & COMPRESSED ? inflateRawSync(opened, { maxOutputLength: this.#boundOf(key) }) : opened;
      return { outcome: "record", record: recordIn(payload) };
    } catch {
      return { outcome: "damaged" };
    }
  }

  /** The index of a person's sessions has a bound of its own: nobody shall be kept from signing in for small sessions' sake. */
  #boundOf(key: Key): number {
    return isUserKey(key) ? Math.max(this.#maxBytes, INDEX_BYTES) : this.#maxBytes;
  }

  #open(body: Buffer, key: Key): Buffer | Unreadable {
    const headBytes = SEALED_PREFIX_BYTES + (body[SEALED_PREFIX_BYTES - 1] ?? 0);
    const keyId = body.toString("latin1", SEALED_PREFIX_BYTES, headBytes);
    if (body.length < headBytes || !isSealingKeyId(keyId)) return { outcome: "damaged" };
    const opening = this.#keyring.opening(keyId);
    if (opening === "missing") return { outcome: "key-missing", keyId };
    if (opening === "revoked") return { outcome: "key-revoked" };
    const payload = opening.open(body.subarray(headBytes), body.subarray(0, headBytes), this.#placeOf(key));
    return payload ?? { outcome: "damaged" };
  }

  #openPlain(body: Buffer, key: Key): Buffer | Unreadable {
    if (!this.#keyring.readsPlain) return { outcome: "plain" };
    if (body.length < PREFIX_BYTES + FIXED_BYTES) return { outcome: "damaged" };
    const stored = body.subarray(PREFIX_BYTES);
    return checksum(body[1] ?? 0, stored, key) === body.readUInt32BE(2) ? stored : { outcome: "damaged" };
  }

  /** Where a record is, unambiguously: sealed along, so that it opens nowhere else. */
  #placeOf(key: Key): string {
    return `${this.#namespace.length}\n${this.#namespace}\n${key}`;
  }
}

/** The error for whoever needs a record that can't be read. */
export function unreadable(decoded: Unreadable): AnynodeError {
  const why = {
    damaged: "damaged",
    unknown: "of a format unknown",
    plain: "not sealed, and so refused",
    "key-revoked": "sealed with a revoked key, and so refused",
    "key-missing": `sealed with the key "${"keyId" in decoded ? decoded.keyId : ""}", which is missing`,
  }[decoded.outcome];
  const cure = decoded.outcome === "key-missing" ? " Give it that key (keyring)." : "";
  return new AnynodeError("RECORD_UNREADABLE", `The stored record is ${why} to this node; it is left as it is.${cure}`);
}

/** The payload deflated, if that saves a tenth or more. */
function compressed(payload: Buffer): Buffer | undefined {
  const small = deflateRawSync(payload, { level: constants.Z_BEST_SPEED });
  return small.length > payload.length * 0.9 ? undefined : small;
}

function plain(flags: number, stored: Buffer, key: Key): Buffer {
  const body = Buffer.allocUnsafe(PREFIX_BYTES + stored.length);
  body[0] = PLAIN;
  body[1] = flags;
  body.writeUInt32BE(checksum(flags, stored, key), 2);
  body.set(stored, PREFIX_BYTES);
  return body;
}

function checksum(flags: number, stored: Buffer, key: Key): number {
  return crc32(stored, crc32(flags === COMPRESSED ? COMPRESSED_HEAD : HEAD, crc32(key)));
}
const HEAD = Buffer.from([PLAIN, 0]);
const COMPRESSED_HEAD = Buffer.from([PLAIN, COMPRESSED]);

function sealed(sealing: SealingKey, flags: number, stored: Buffer, place: string): Buffer {
  const head = Buffer.from(`\0\0\0${sealing.id}`, "latin1");
  head[0] = SEALED;
  head[1] = flags;
  head[2] = sealing.id.length;
  return Buffer.concat([head, ...sealing.seal(stored, head, place)]);
}
