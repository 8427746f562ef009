/**
 * The keyring: which sealing key a record is sealed with, and which ones may open it.
 * The invariant: a key seals only once every registered node has it, so that no node meets a record that it can't open; and what isn't
 * sealed with a key of this ring is never read as a session, unless the ring says `"plain"`.
 */
import { AnynodeError } from "../errors.js";
import { SEALING_KEY_BYTES, SealingKey } from "./sealing-key.js";

/** One key, as the option `keyring` and `replace()` take it. */
export interface KeyringKey {
  /** What records and nodes call it: 1–32 letters, digits, `.`, `_`, `-`. No secret. */
  readonly id: string;
  /** 32 random bytes (a Buffer, or as base64 or hexadecimal text): `openssl rand -base64 32`. May be left out of a revoked one. */
  readonly key?: string | Uint8Array | undefined;
  /** `"revoked"`: what it sealed isn't read any more: no session. Default: it opens, and seals when its turn comes. */
  readonly state?: "revoked" | undefined;
}
/** `"plain"` stands for records that aren't sealed at all: for a fleet on its way to its first key (last), or away from keys (first). */
export type KeyringEntry = KeyringKey | typeof PLAIN;

/** An entry, checked. Without `sealing` it is `"plain"`, or revoked. */
export interface Member {
  readonly id: string;
  readonly sealing?: SealingKey;
  readonly revoked: boolean;
}

const PLAIN = "plain";
const MAX_ENTRIES = 32;
const ID = /^[A-Za-z0-9._-]{1,32}$/;
const HEX = /^[0-9A-Fa-f]{64}$/;
/** base64 and base64url, padded or not. */
const BASE64 = /^[A-Za-z0-9+/_-]{43}=?$/;

export function isSealingKeyId(text: string): boolean {
  return ID.test(text) && text !== PLAIN;
}

export class Keyring {
  /** Those that may seal (or `"plain"`), first the one that shall. */
  #writers: readonly Member[] = [];
  #members: ReadonlyMap<string, Member> = new Map();
  /** Which of the writers writes: the last until the others are known, since it is the one that all have; then never backwards. */
  #writing = 0;
  readonly #onReplaced: () => void;

  /** @internal Made by Sessions. No members: no keys were given, records are plain. `onReplaced`: what was opened so far is to be forgotten. */
  constructor(members: readonly Member[], onReplaced: () => void = () => {}) {
    this.#onReplaced = onReplaced;
    this.#set(members);
  }

  /**
   * Takes other keys from now on: to rotate, the new one in front of those that there are. Announced with this node's next beat; the first
   * one seals as soon as every registered node has it. A key that sealed must stay, behind, for as long as what it sealed may live.
   * What a revoked or missing key sealed isn't served any more, though a request under way goes on with what it loaded.
   * Throws OPTION_INVALID and changes nothing if they can't work.
   */
  replace(keys: readonly KeyringEntry[]): void {
    const before = this.#writers[this.#writing]?.id;
    this.#set(membersOf(keys));
    const still = this.#writers.findIndex(({ id }) => id === before);
    if (still >= 0) this.#writing = still;
    this.#onReplaced();
  }

  /** The id of the key with which this node seals now; `"plain"` = it doesn't. */
  get primary(): string {
    return this.#writers[this.#writing]?.id ?? PLAIN;
  }

  /** What this node can read, in its own order: ids, and `"plain"`. Its row in the registry says so. */
  get ids(): readonly string[] {
    return this.#writers.map(({ id }) => id);
  }

  /** @internal The key that seals; undefined = nothing does. */
  get sealing(): SealingKey | undefined {
    return this.#writers[this.#writing]?.sealing;
  }

  /** @internal Whether records that aren't sealed are read. */
  get readsPlain(): boolean {
    return this.#members.has(PLAIN);
  }

  /** @internal The key that opens what `id` sealed. */
  opening(id: string): SealingKey | "missing" | "revoked" {
    const member = this.#members.get(id);
    if (member?.revoked) return "revoked";
    return member?.sealing ?? "missing";
  }

  /** @internal Whether the first key seals. Until then it wants to hear of the other nodes with every beat. */
  get settled(): boolean {
    return this.#writing === 0;
  }

  /**
   * @internal What every other registered node can read, as of now. Never from memory: a node that joined since would get records that it
   * can't open.
   */
  heard(others: readonly (readonly string[])[]): void {
    const everybodys = this.#writers.findIndex(({ id }) => others.every((ids) => ids.includes(id)));
    if (everybodys >= 0) this.#writing = Math.min(this.#writing, everybodys);
  }

  #set(members: readonly Member[]): void {
    const given = members.length === 0 ? [{ id: PLAIN, revoked: false }] : members;
    this.#members = new Map(given.map((member) => [member.id, member]));
    this.#writers = given.filter(({ revoked }) => !revoked);
    this.#writing = this.#writers.length - 1;
  }
}

/** The option `keyring`, checked. Messages name the entry, never its key. Throws OPTION_INVALID. */
export function membersOf(keyring: unknown): readonly Member[] {
  if (!Array.isArray(keyring) || keyring.length === 0 || keyring.length > MAX_ENTRIES) {
    const is = Array.isArray(keyring) ? `a list of ${keyring.length}` : keyring === null ? "null" : `a ${typeof keyring}`;
    throw invalid(
      `The option keyring is ${is}; it must be a list of 1 to ${MAX_ENTRIES} entries { id, key }, the first of which seals.`,
    );
  }
  const members = keyring.map((entry, i) => memberOf(entry, `keyring[${i}]`));
  const writers = members.filter(({ revoked }) => !revoked);
  if (writers.length === 0) {
    throw invalid('Every entry of the option keyring is revoked; put a new key in front, or "plain" to go without.');
  }
  for (const [i, { id }] of members.entries()) {
    if (members.findIndex((other) => other.id === id) !== i) {
      throw invalid(`The option keyring has "${id}" twice; give each key an id of its own, such as the day it was made.`);
    }
  }
  return members;
}

function memberOf(entry: unknown, at: string): Member {
  if (entry === PLAIN) return { id: PLAIN, revoked: false };
  if (typeof entry !== "object" || entry === null) {
    throw invalid(`The option ${at} is ${entry === null ? "null" : `a ${typeof entry}`}; it must be { id, key }, or "plain".`);
  }
  const { id, key, state, ...more }: Record<string, unknown> = { ...entry };
  if (typeof id !== "string" || !isSealingKeyId(id)) {
    throw invalid(`The option ${at}.id must be 1 to 32 letters, digits, ".", "_" or "-", and not "plain", e.g. "2030-01".`);
  }
  const [unknown] = Object.keys(more);
  if (unknown !== undefined) throw invalid(`The option ${at} has "${unknown}", which nobody knows; it takes id, key and state.`);
  if (state !== undefined && state !== "revoked") {
    throw invalid(`The option ${at}.state of "${id}" must be "revoked", or left out.`);
  }
  if (state === "revoked" && key === undefined) return { id, revoked: true };
  const sealing = new SealingKey(id, secretOf(key, id, at));
  return state === "revoked" ? { id, revoked: true } : { id, sealing, revoked: false };
}

function secretOf(key: unknown, id: string, at: string): Buffer {
  const secret = bytesOf(key);
  if (secret?.length === SEALING_KEY_BYTES) return secret;
  const is =
    typeof key === "string"
      ? `a text of ${key.length} characters`
      : secret === undefined
        ? `of type ${typeof key}`
        : `${secret.length} bytes`;
  throw invalid(
    `The option ${at}.key of "${id}" is ${is}; it must be ${SEALING_KEY_BYTES} random bytes: a Buffer, 44 characters of base64 or 64 of hexadecimal. ` +
      "Make one with: openssl rand -base64 32",
  );
}

function bytesOf(key: unknown): Buffer | undefined {
  // Not instanceof: under Jest, where applications are tested, a Uint8Array may be of another realm.
  if (ArrayBuffer.isView(key)) return Buffer.from(key.buffer, key.byteOffset, key.byteLength);
  if (typeof key !== "string") return undefined;
  if (HEX.test(key)) return Buffer.from(key, "hex");
  return BASE64.test(key) ? Buffer.from(key, "base64") : undefined;
}

function invalid(message: string): AnynodeError {
  return new AnynodeError("OPTION_INVALID", message);
}
