/**
 * The names of everything this engine keeps in Redis. All begin with the prefix, and nothing else of ours does.
 * A record's key is `<prefix>{tag}hash`; the braces make Redis Cluster place keys of one tag together.
 */
import { AnynodeError } from "../../errors.js";
import { isKey, type Key } from "../../names.js";

const MAX_PREFIX = 64;

export class Keys {
  readonly prefix: string;
  /** The registry's keys, as lua/registry.lua numbers them. */
  readonly registry: readonly [rows: string, leases: string, meta: string];
  /** Who may trust copies for how long, and how many drops each node was sent: see lua/copies.lua. */
  readonly ledger: string;
  /** What SCAN is to match: every record (and the registry, whose names aren't keys). */
  readonly pattern: string;

  constructor(prefix: string) {
    this.prefix = checkPrefix(prefix);
    this.registry = [`${prefix}{registry}:rows`, `${prefix}{registry}:leases`, `${prefix}{registry}:meta`];
    this.ledger = `${prefix}{registry}:copies`;
    this.pattern = `${prefix}{*`;
  }

  record(key: Key): string {
    return this.prefix + key;
  }

  /** Who holds something live of a record: in its slot, and no key of a record (see `keyOf`). */
  holders(key: Key): string {
    return `${this.record(key)}:h`;
  }

  /** A record, its holders and the ledger: what a verb needs that writes one and tells those who have copies. */
  told(key: Key): [record: string, holders: string, ledger: string] {
    return [this.record(key), this.holders(key), this.ledger];
  }

  /** The same for a verb that may find nothing there, and then tells all nodes. */
  toldAll(key: Key): [record: string, rows: string, holders: string, ledger: string] {
    return [this.record(key), this.registry[0], this.holders(key), this.ledger];
  }

  /** The key that a name from SCAN stands for, if it is a record's. */
  keyOf(name: string): Key | undefined {
    const key = name.slice(this.prefix.length);
    return name.startsWith(this.prefix) && isKey(key) ? key : undefined;
  }

  channel(name: string): string {
    return `${this.prefix}channel:${name}`;
  }
}

function checkPrefix(prefix: unknown): string {
  const wrong = (what: string) =>
    new AnynodeError(
      "OPTION_INVALID",
      `The Redis prefix ${typeof prefix === "string" ? JSON.stringify(prefix.slice(0, MAX_PREFIX)) : typeof prefix} ${what}. ` +
        `It must be 1 to ${MAX_PREFIX} printable characters without * ? [ ] \\ ^ { } and spaces. Use something like "shop:sessions:".`,
    );
  if (typeof prefix !== "string") throw wrong("isn't a string");
  if (prefix === "") throw wrong("is empty, so every key of the database would be ours");
  if (prefix.length > MAX_PREFIX) throw wrong(`has ${prefix.length} characters`);
  // Globs would make list() read other applications' keys; braces would move all records into one slot.
  const forbidden = /[*?[\]\\^{}\s\p{C}]/u.exec(prefix);
  if (forbidden !== null) throw wrong(`contains ${JSON.stringify(forbidden[0])}`);
  return prefix;
}
