/**
 * The index of a person's sessions as a record: an attribute an entry, `name → JSON text`. It is sealed, merged and kept as any record is,
 * until the last of its sessions can't live any more.
 */
import { isKey, type Key } from "../names.js";
import { NOBODY, type SessionRecord } from "./record.js";

/** One of a person's sessions. */
export interface Entry {
  /** Where its record is: the last one; and where else it may be, while it moves. */
  readonly keys: readonly Key[];
  /** When its sign-in began, and how long it lives at the most; on the engine's clock. */
  readonly at: number;
  readonly absoluteAt: number;
  /** Of the client at sign-in, as far as that is recorded; "" = it isn't. */
  readonly address: string;
  readonly agent: string;
  /** It is being ended: whoever comes across it ends it, too. It never becomes live again. */
  readonly ending: boolean;
}
export type Entries = Map<string, Entry>;

/** Where an idle deadline would only be in the way: the absolute one counts. In ms. */
const NEVER_IDLE_MS = 1000 * 365 * 86_400_000;
/** More keys than a session that moves, and moves again, can be under. */
const MAX_KEYS = 8;

/** What this can't read, it leaves out. */
export function entriesOf({ attributes }: SessionRecord): Entries {
  const entries: Entries = new Map();
  for (const [name, text] of attributes) {
    const entry = entryIn(text);
    if (entry !== undefined) entries.set(name, entry);
  }
  return entries;
}

function entryIn(text: string): Entry | undefined {
  const value: unknown = JSON.parse(text);
  if (typeof value !== "object" || value === null) return undefined;
  const { keys, at, absoluteAt, address = "", agent = "", ending = false }: Partial<Record<string, unknown>> = { ...value };
  if (!Array.isArray(keys) || typeof at !== "number" || typeof absoluteAt !== "number") return undefined;
  if (typeof address !== "string" || typeof agent !== "string") return undefined;
  return {
    keys: keys.filter((key) => typeof key === "string").filter(isKey),
    at,
    absoluteAt,
    address,
    agent,
    ending: ending === true,
  };
}

/** The record that holds these entries, in place of `current`; `now`: on the engine's clock. */
export function recordOf(current: SessionRecord | undefined, entries: Entries, now: number): SessionRecord {
  const attributes = new Map<string, string>();
  // An index without entries has nothing to live for.
  let absoluteAt = now;
  for (const [name, { keys, at, absoluteAt: until, address, agent, ending }] of entries) {
    absoluteAt = Math.max(absoluteAt, until);
    const optional = { ...(address && { address }), ...(agent && { agent }), ...(ending && { ending }) };
    attributes.set(name, JSON.stringify({ keys: keys.slice(-MAX_KEYS), at, absoluteAt: until, ...optional }));
  }
  const createdAt = current?.header.createdAt || now;
  return { header: { createdAt, absoluteAt, idleMs: NEVER_IDLE_MS, ...NOBODY, cookie: "", movedTo: "" }, attributes };
}
