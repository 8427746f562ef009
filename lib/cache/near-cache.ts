/**
 * The near cache: decoded records, bounded in bytes and entries, least recently used out first. Records are immutable, so requests share
 * them and none sees another's unsaved changes. An entry is a *copy* while the run of the lease that it was filled in lasts: then it may
 * be served as it is. Otherwise it saves only copying, checking and parsing, once the engine has said that its version is still current.
 */
import type { Key, Version } from "../names.js";
import type { Loaded, SessionRecord } from "../session/record.js";

export const MAX_ENTRIES = 20_000;
export const MAX_BYTES = 33_554_432;
/** What an entry costs besides its text, roughly: map entries and objects. */
const ENTRY_BYTES = 600;
const ATTRIBUTE_BYTES = 100;

export interface Entry {
  /** As it is served. */
  loaded: Loaded;
  /** The run that it was filled in; 0: it isn't a copy. */
  readonly run: number;
  readonly bytes: number;
  /** Whether it was served since it was put here. */
  hit: boolean;
}

export class NearCache {
  readonly #entries = new Map<Key, Entry>();
  #bytes = 0;

  get(key: Key): Entry | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    // Last in a Map is most recently used.
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry;
  }

  put(loaded: Loaded, run: number): void {
    const { key, record } = loaded;
    this.drop(key);
    const bytes = sizeOf(record);
    if (bytes > MAX_BYTES / 8) return;
    this.#entries.set(key, { loaded, run, bytes, hit: false });
    this.#bytes += bytes;
    if (this.#bytes > MAX_BYTES || this.#entries.size > MAX_ENTRIES) this.#makeRoom();
  }

  /** Somebody extended the idle deadline of that version. */
  extend(key: Key, version: Version, idleAt: number): void {
    const entry = this.#entries.get(key);
    if (entry?.loaded.version === version) entry.loaded = { ...entry.loaded, idleAt };
  }

  /** A tenth at once: looking for the oldest walks over the places of all that went before. */
  #makeRoom(): void {
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= 0.9 * MAX_BYTES && this.#entries.size <= 0.9 * MAX_ENTRIES) break;
      this.drop(oldest);
    }
  }

  /** Forgets an entry; gives it back if there was one. */
  drop(key: Key): Entry | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    this.#bytes -= entry.bytes;
    return entry;
  }

  get size(): number {
    return this.#entries.size;
  }

  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
  }

  /** What the entries cost, by estimate, in bytes. */
  get bytes(): number {
    return this.#bytes;
  }
}

function sizeOf({ header, attributes }: SessionRecord): number {
  let bytes = ENTRY_BYTES + 2 * (header.user.length + header.cookie.length + header.client.length);
  for (const [name, text] of attributes) bytes += ATTRIBUTE_BYTES + 2 * (name.length + text.length);
  return bytes;
}
