/**
 * Session ids: make one, check one, and turn one into the key of its record.
 * The id is the visitor's secret and never leaves the process; engines see only a hash of it, from which nobody gets back to the id.
 */
import { createHash, randomBytes } from "node:crypto";
import { AnynodeError } from "../errors.js";
import { isKey, type Key, type Sid } from "../names.js";

/** Our own ids: a tag of 4 characters that is no secret, and 192 random bits. */
const OWN = /^[A-Za-z0-9_-]{4}\.[A-Za-z0-9_-]{32}$/;
const MAX_BYTES = 256;

/** A new id. `successorOf`: an id whose tag it keeps, so that both records share a slot and regenerating is one atomic step. */
export function makeSid(successorOf?: Sid): Sid {
  const tag = successorOf !== undefined && OWN.test(successorOf) ? successorOf.slice(0, 4) : randomBytes(3).toString("base64url");
  const sid = `${tag}.${randomBytes(24).toString("base64url")}`;
  if (!isSid(sid)) throw new AnynodeError("ID_MALFORMED", "A fresh session id is malformed; this is a bug in anynode.");
  return sid;
}

/**
 * A well-formed id: any string of 1–256 bytes, since an application may make its own (`genid`). Lone surrogates are refused:
 * they have no UTF-8 form, so two such ids could meet in one key.
 */
export function isSid(value: unknown): value is Sid {
  if (typeof value !== "string" || value.length === 0 || value.length > MAX_BYTES) return false;
  return value.isWellFormed() && Buffer.byteLength(value) <= MAX_BYTES;
}

/** 24 random bytes as our and express-session's generators write them (not a hash in hexadecimal), and a random UUID as koa-session's does. */
const RANDOM = /^(?=.*[G-Zg-z_-])[A-Za-z0-9_-]{32}$|^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/**
 * Whether an id that a host has just made is a random one: then nobody can have a copy of an earlier record under it. An id of an
 * application's own make (`genid`) may come again.
 */
export function isRandomSid(sid: string): boolean {
  return OWN.test(sid) || RANDOM.test(sid);
}

/** Whether two ids carry the same tag, so that one atomic script can reach both records. Ids of foreign make never do. */
export function sharesTag(a: Sid, b: Sid): boolean {
  return OWN.test(a) && OWN.test(b) && a.startsWith(b.slice(0, 4));
}

/** The key of an id: `{tag}hash`; 132 bits of SHA-256 over label, namespace (with its length, so that it can't run into the id) and id. The tag of a foreign id comes from the hash. */
export function keyOf(sid: Sid, namespace: string): Key {
  const digest = createHash("sha256").update(`anynode key 1\n${namespace.length}\n${namespace}\n${sid}`).digest("base64url");
  const tag = OWN.test(sid) ? sid.slice(0, 4) : digest.slice(22, 26);
  const key = `{${tag}}${digest.slice(0, 22)}`;
  if (!isKey(key)) throw new AnynodeError("ID_MALFORMED", "The key of a session id is malformed; this is a bug in anynode.");
  return key;
}
