/**
 * The near cache: decoded records of engines that tell at no cost whether a known version is still current. Every hit is checked by the
 * engine first, so nothing stale is ever served; what is saved is copying, checking and parsing. Bounded in bytes and entries, least
 * recently used out first. Records are immutable, so requests share them and none sees another's unsaved changes.
 */
import type { Key, Version } from "../names.js";
import type { SessionRecord } from "../session/record.js";

const MAX_ENTRIES = 20_000;
const MAX_BYTES = 33_554_432;
/** What an entry costs besides its text, roughly: map entries and objects. */
const ENTRY_BYTES = 600;
const ATTRIBUTE_BYTES = 100;

interface Entry {
  readonly version: Version;
  readonly record: SessionRecord;
  readonly bytes: number;
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

  put(key: Key, version: Version, record: SessionRecord): void {
    this.drop(key);
    const bytes = sizeOf(record);
    if (bytes > MAX_BYTES / 8) return;
    this.#entries.set(key, { version, record, bytes });
    this.#bytes += bytes;
    if (this.#bytes > MAX_BYTES || this.#entries.size > MAX_ENTRIES) this.#makeRoom();
  }

  /** A tenth at once: looking for the oldest walks over the places of all that went before. */
  #makeRoom(): void {
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= 0.9 * MAX_BYTES && this.#entries.size <= 0.9 * MAX_ENTRIES) break;
      this.drop(oldest);
    }
  }

  drop(key: Key): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#bytes -= entry.bytes;
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
  let bytes = ENTRY_BYTES + 2 * (header.user.length + header.cookie.length);
  for (const [name, text] of attributes) bytes += ATTRIBUTE_BYTES + 2 * (name.length + text.length);
  return bytes;
}
