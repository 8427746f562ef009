/** Sealing keys for tests: random ones, and named ones that every process makes alike. */
import { createHash, randomBytes } from "node:crypto";
import type { KeyringEntry, KeyringKey } from "../../lib/session/keyring.js";

/** A key that nobody else has. */
export function freshKey(id: string): KeyringKey {
  return { id, key: randomBytes(32) };
}

/** The same key for the same id, wherever it is asked for. */
export function keyNamed(id: string): KeyringKey {
  return { id, key: createHash("sha256").update(`a key of the tests: ${id}`).digest() };
}

/** A keyring from ids, `"k2,k1,plain"`. */
export function keyringOf(ids: string): KeyringEntry[] {
  return ids.split(",").map((id) => (id === "plain" ? "plain" : keyNamed(id)));
}
