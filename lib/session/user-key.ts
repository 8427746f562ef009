/**
 * Where the index of a person's sessions lies, and what its entries are called outside. Such a key has a tag of 8 characters, so it can't
 * be a session's, whose tag has 4. Nobody gets from here to a session's id; a user name that somebody guesses can be checked, though.
 */
import { createHash } from "node:crypto";
import { AnynodeError } from "../errors.js";
import { isKey, type Key } from "../names.js";

const MAX_BYTES = 256;
const HANDLE = /^([A-Za-z0-9_-]{8})([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{22})$/;

/** What `login`, `of` and `endAll` take for a user: a text of 1–256 bytes, the same for the same person. Throws OPTION_INVALID. */
export function checkUser(user: unknown): string {
  if (typeof user === "string" && user !== "" && user.isWellFormed() && Buffer.byteLength(user) <= MAX_BYTES) return user;
  const is = typeof user === "string" ? `a text of ${user.length} characters` : user === null ? "null" : `of type ${typeof user}`;
  throw new AnynodeError(
    "OPTION_INVALID",
    `The user is ${is}; it must be a well-formed text of 1–${MAX_BYTES} bytes, e.g. an account's id.`,
  );
}

export function userKeyOf(user: string, namespace: string): Key {
  const digest = hash(`anynode user 1\n${namespace.length}\n${namespace}\n${user}`);
  return keyFrom(digest.slice(22, 30), digest.slice(0, 22));
}

export function isUserKey(key: Key): boolean {
  return key.charCodeAt(9) === 125;
}

/** What an entry is called in its index: it stays the same when the session moves on to another key. */
export function entryNameOf(key: Key): string {
  return hash(`anynode entry 1\n${key}`).slice(0, 22);
}

/** What applications hold of an entry. */
export function handleIdOf(index: Key, name: string): string {
  return `${index.slice(1, 9)}${index.slice(10)}.${name}`;
}

export function parseHandleId(id: unknown): { readonly index: Key; readonly name: string } | undefined {
  const [, tag, rest, name] = (typeof id === "string" && HANDLE.exec(id)) || [];
  if (tag === undefined || rest === undefined || name === undefined) return undefined;
  return { index: keyFrom(tag, rest), name };
}

function keyFrom(tag: string, rest: string): Key {
  const key = `{${tag}}${rest}`;
  if (!isKey(key)) throw new AnynodeError("OPTION_INVALID", "The key of a user is malformed; this is a bug in anynode.");
  return key;
}

function hash(text: string): string {
  return createHash("sha256").update(text).digest("base64url");
}
