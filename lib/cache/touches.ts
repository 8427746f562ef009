/**
 * Coalesced touches: those that were not worth a write yet. Their node remembers them, shows them, and writes them when it drains.
 * Forgetting one is allowed: it makes the idle timeout come early by a tenth at the most. So the memory is bounded, oldest out first.
 */
import type { Engine } from "../engines/engine.js";
import type { Key, Version } from "../names.js";
import type { Loaded } from "../session/record.js";

const LIMIT = 50_000;
const FLUSH_AT_ONCE = 32;
/** A process that ends has more to do than this. */
const FLUSH_MS = 5_000;

interface Remembered {
  readonly version: Version;
  readonly idleAt: number;
  readonly absoluteAt: number;
}

export class Touches {
  readonly #remembered = new Map<Key, Remembered>();

  remember({ key, version, record }: Loaded, idleAt: number): void {
    this.#remembered.delete(key);
    this.#remembered.set(key, { version, idleAt, absoluteAt: record.header.absoluteAt });
    if (this.#remembered.size <= LIMIT) return;
    // A tenth at once: looking for the oldest walks over the places of all that went before.
    for (const oldest of this.#remembered.keys()) {
      if (this.#remembered.size <= 0.9 * LIMIT) break;
      this.#remembered.delete(oldest);
    }
  }

  forget(key: Key): void {
    this.#remembered.delete(key);
  }

  /** The idle deadline that this node promised, if it is later than the stored one. */
  idleAt(key: Key, version: Version, stored: number): number {
    const remembered = this.#remembered.get(key);
    return remembered !== undefined && remembered.version === version ? Math.max(stored, remembered.idleAt) : stored;
  }

  /**
   * Writes what is remembered, as of when it happened. `now`: the engine's clock. Stops at the first failure, and after 5 s. What another
   * node has extended further since stays: a touch never shortens.
   */
  async flush(engine: Engine, now: () => number): Promise<void> {
    const entries = [...this.#remembered];
    this.#remembered.clear();
    const startedAt = now();
    for (let from = 0; from < entries.length && now() - startedAt < FLUSH_MS; from += FLUSH_AT_ONCE) {
      await Promise.all(
        entries.slice(from, from + FLUSH_AT_ONCE).map(async ([key, { version, idleAt, absoluteAt }]) => {
          const idleMs = idleAt - now();
          if (idleMs > 0) await engine.touch(key, version, { idleMs, absoluteAt });
        }),
      );
    }
  }
}
