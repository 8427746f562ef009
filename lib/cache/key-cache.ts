/** The keys of the ids seen last, so that a visitor who comes again saves a hash. Bounded; forgets everything when it is full. */
import type { Key, Sid } from "../names.js";
import { keyOf } from "../session/id.js";

const LIMIT = 10_000;

export class KeyCache {
  readonly #namespace: string;
  readonly #keys = new Map<Sid, Key>();

  constructor(namespace: string) {
    this.#namespace = namespace;
  }

  keyOf(sid: Sid): Key {
    const known = this.#keys.get(sid);
    if (known !== undefined) return known;
    const key = keyOf(sid, this.#namespace);
    if (this.#keys.size >= LIMIT) this.#keys.clear();
    this.#keys.set(sid, key);
    return key;
  }
}
