/**
 * A sealing key: seals what is stored of a record, and opens it again. AES-256-GCM under a key of the record's own, derived (HKDF-SHA256)
 * from 16 random bytes, so that no key ever meets a nonce twice however much a fleet writes.
 * What was sealed opens only behind the same head, at the same place, with the same key, every bit unchanged.
 */
import { createCipheriv, createDecipheriv, createHmac, createSecretKey, type KeyObject, randomBytes } from "node:crypto";

const CIPHER = "aes-256-gcm";
const SALT_BYTES = 16;
const NONCE_BYTES = 12;
/** Said to OpenSSL too: Node 20 accepts tags down to 4 bytes where it isn't. */
const TAG = { authTagLength: 16 };
const BEFORE_BYTES = SALT_BYTES + NONCE_BYTES;
const LABEL = Buffer.from("anynode seal 1");
const FIRST_BLOCK = Buffer.of(1);

export const SEALING_KEY_BYTES = 32;

export class SealingKey {
  readonly id: string;
  /** What HKDF extracts from the secret, once; each record's key is one expanding step away. No Buffer of it is kept. */
  readonly #extracted: KeyObject;

  /** `secret`: 32 bytes. */
  constructor(id: string, secret: Buffer) {
    this.id = id;
    this.#extracted = createSecretKey(createHmac("sha256", Buffer.alloc(32)).update(secret).digest());
  }

  /** `head`: what stands in front in clear; `place`: where it is stored. Both are sealed along. Returns salt, nonce, ciphertext, tag. */
  seal(payload: Buffer, head: Buffer, place: string): readonly Buffer[] {
    const before = drawn();
    const cipher = createCipheriv(CIPHER, this.#keyFor(before), before.subarray(SALT_BYTES), TAG);
    cipher.setAAD(along(head, place));
    return [before, cipher.update(payload), cipher.final(), cipher.getAuthTag()];
  }

  /** The payload, or undefined if not every bit is as it was sealed. Never throws. */
  open(sealed: Buffer, head: Buffer, place: string): Buffer | undefined {
    const tagAt = sealed.length - TAG.authTagLength;
    if (tagAt < BEFORE_BYTES) return undefined;
    const decipher = createDecipheriv(CIPHER, this.#keyFor(sealed), sealed.subarray(SALT_BYTES, BEFORE_BYTES), TAG);
    decipher.setAAD(along(head, place));
    decipher.setAuthTag(sealed.subarray(tagAt));
    const payload = decipher.update(sealed.subarray(BEFORE_BYTES, tagAt));
    try {
      decipher.final();
      return payload;
    } catch {
      return undefined;
    }
  }

  /** HKDF-Expand to 32 bytes is one HMAC. (hkdfSync does the same for three times the cost.) */
  #keyFor(salted: Buffer): Buffer {
    return createHmac("sha256", this.#extracted)
      .update(LABEL)
      .update(salted.subarray(0, SALT_BYTES))
      .update(FIRST_BLOCK)
      .digest();
  }
}

/** Salt and nonce, neither of them secret, never given out twice: drawn 64 at a time, since drawing costs as much as sealing a kilobyte. */
function drawn(): Buffer {
  if (drawnAt === pool.length) [pool, drawnAt] = [randomBytes(BEFORE_BYTES * 64), 0];
  drawnAt += BEFORE_BYTES;
  return pool.subarray(drawnAt - BEFORE_BYTES, drawnAt);
}
let pool = Buffer.alloc(0);
let drawnAt = 0;

/** Unambiguous: a head tells its own length, and so does a place. */
function along(head: Buffer, place: string): Buffer {
  return Buffer.concat([head, Buffer.from(place)]);
}
