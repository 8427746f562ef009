/**
 * An LMDB environment as this engine uses it: one database, reads that are always fresh, writes in batches of this process' own.
 * The invariant: the event loop never waits for the machine-wide writer lock, whoever holds it; so no synchronous write, ever.
 *
 * Acknowledged means *on disk*: a commit resolves after fdatasync, and a batch carries whatever came meanwhile (group commit).
 * lmdb-js' `overlappingSync` is off: it acknowledges after the flush as well, costs no less CPU, and would let the next writer
 * in between commit and flush, so that a process stopped there leaves the others with writes that are neither done nor undone.
 */
import type { Database, RootDatabaseOptions, TransactionFlags } from "lmdb";
import { AnynodeError } from "../../errors.js";
import { reasonOf, unusable } from "./directory.js";

/**
 * Address space of the map, not a file size, and the same in every process: one with a smaller map could not follow the others.
 * What the environment may hold is bounded by `mapSizeBytes`, below this.
 */
export const MAP_BYTES = 64 * 2 ** 30;

type Store = Database<Buffer, Buffer>;
type StoreClass = new (name: null, options: RootDatabaseOptions) => Store;

export interface Entry {
  readonly key: Buffer;
  readonly value: Buffer;
}

export class Environment {
  readonly #store: Store;

  private constructor(store: Store) {
    this.#store = store;
  }

  /** In a directory that was prepared, and while nobody commits (door.ts). Rejects with what is wrong and the cure. */
  static async open(dir: string): Promise<Environment> {
    const lmdb = await load();
    const options = {
      path: dir,
      // What its own open() sets: without it close() would leave the environment open.
      isRoot: true,
      // lmdb-js takes a name with a dot for a file.
      noSubdir: false,
      mapSize: MAP_BYTES,
      overlappingSync: false,
      // We batch by ourselves; and with its batching on, a commit that fails rejects a promise that nobody can handle: a crash.
      eventTurnBatching: false,
      encoding: "binary",
      keyEncoding: "binary",
      permissionsMode: 0o600,
    } as const;
    try {
      const Base: unknown = lmdb.openAsClass(options);
      if (!isStoreClass(Base)) throw new TypeError("openAsClass gave no class");
      return new Environment(new (lockFree(Base))(null, options));
    } catch (cause) {
      throw unusable(dir, reasonOf(cause), cause);
    }
  }

  /** What is stored, as of now in any process: valid until the next call of this object. */
  peek(key: Buffer): Buffer | undefined {
    // lmdb-js keeps one snapshot per turn of the event loop; another process' commit of this turn would not be seen.
    this.#store.resetReadTxn();
    return this.#store.getBinaryFast(key);
  }

  /** A copy of what is stored: inside a batch as of this batch, else as of the last `peek` or `range` of this turn. */
  get(key: Buffer): Buffer | undefined {
    return this.#store.getBinary(key);
  }

  /** Itself, with a fresh snapshot for the `get`s of this turn. */
  fresh(): this {
    this.#store.resetReadTxn();
    return this;
  }

  /** Copies of at most `limit` entries after `after` and before `end`, as of now. */
  range(after: Buffer, end: Buffer, limit: number): Entry[] {
    this.#store.resetReadTxn();
    return [...this.#store.getRange({ start: after, exclusiveStart: true, end, limit })];
  }

  /** Only inside of a batch. */
  put(key: Buffer, value: Buffer): void {
    this.#store.put(key, value);
  }

  /** Only inside of a batch. */
  remove(key: Buffer): void {
    this.#store.remove(key);
  }

  /** Runs `work` on this event loop once this process has the writer lock; resolves when all that it put is on disk. */
  transaction(work: () => void): Promise<void> {
    return this.#store.transaction(work);
  }

  /** Bytes in use by what is stored, without what is free to be used again. */
  usedBytes(): number {
    const stats: object = this.#store.getStats();
    const root = "root" in stats ? stats.root : undefined;
    if (typeof root !== "object" || root === null) return 0;
    const of = new Map<string, unknown>(Object.entries(root));
    const number = (name: string) => Number(of.get(name) ?? 0);
    return number("pageSize") * (number("treeBranchPageCount") + number("treeLeafPageCount") + number("overflowPages"));
  }

  /** Frees the places of killed processes in the reader table, and what their snapshots kept from being used again. */
  forgetDeadReaders(): void {
    this.#store.readerCheck();
  }

  /** Resolves when all writes are done with, however long that takes. */
  close(): Promise<void> {
    return this.#store.close();
  }
}

/** The package, which is optional. Rejects with ENGINE_UNSUPPORTED, and the cure. */
export async function load(): Promise<typeof import("lmdb")> {
  try {
    return await import("lmdb");
  } catch (cause) {
    throw new AnynodeError(
      "ENGINE_UNSUPPORTED",
      'engine "lmdb:": the optional package "lmdb" can\'t be loaded. Install it (npm install lmdb), or use "redis://…" or "memory:".',
      { cause },
    );
  }
}

/**
 * lmdb-js opens a database inside of a synchronous write transaction, and so for as long as another process holds the writer lock
 * (stopped, say), it would stop this event loop. The one database that we use always exists: a read transaction is enough.
 */
function lockFree(Base: StoreClass): StoreClass {
  return class LockFreeStore extends Base {
    override transactionSync<T>(action: () => T, _flags?: TransactionFlags): T {
      const reading = this.useReadTransaction();
      try {
        return action();
      } finally {
        reading.done();
      }
    }
  };
}

function isStoreClass(value: unknown): value is StoreClass {
  return typeof value === "function";
}
