/**
 * The record: a session at rest, without its version and idle deadline, which the engine keeps.
 * Records are immutable values: a change makes a new one, so that requests may share them.
 */
import type { Deadlines } from "../engines/engine.js";
import type { Key, Version } from "../names.js";
import type { AttributeTexts } from "./attributes.js";

export interface Header {
  /** When the session began, on the engine's clock. */
  readonly createdAt: number;
  /** When it ends however active it is, on the engine's clock; 0 = never. */
  readonly absoluteAt: number;
  /** How long it lives without a request. */
  readonly idleMs: number;
  /** Whose session it is, once somebody signed in; "" = nobody. Only `login` sets it. */
  readonly user: string;
  /** When that person showed last who they are, on the engine's clock; 0 = never. */
  readonly authenticatedAt: number;
  /** The cookie's settings as the front end keeps them: JSON text, or "". Header, not attribute: it never conflicts. */
  readonly cookie: string;
  /** Digests of the client's properties at sign-in, so that a change of them can be told; "" = none were recorded. */
  readonly client: string;
  /** The session goes on under another key, and this is what its old id leads to for a while; "" = it is here. */
  readonly movedTo: Key | "";
}

/** What a header says of a person before anybody signed in. */
export const NOBODY = { user: "", authenticatedAt: 0, client: "" } as const;

export interface SessionRecord {
  readonly header: Header;
  readonly attributes: AttributeTexts;
}

/** A record as it was found: where, in which version, and when it expires unless it is touched. */
export interface Loaded {
  readonly key: Key;
  readonly version: Version;
  readonly idleAt: number;
  readonly record: SessionRecord;
}

export function deadlinesOf(header: Header): Deadlines {
  return { idleMs: header.idleMs, absoluteAt: header.absoluteAt };
}

/** The idle deadline that a touch at `now` would give. */
export function idleAtOf(header: Header, now: number): number {
  const idleAt = now + header.idleMs;
  return header.absoluteAt > 0 ? Math.min(idleAt, header.absoluteAt) : idleAt;
}

/**
 * Touches are coalesced: the stored deadline may lag behind the true one by a tenth of the idle timeout, 60 s at the most.
 * Whether the lag of `storedIdleAt` has grown that large.
 */
export function touchIsDue(header: Header, storedIdleAt: number, now: number): boolean {
  const lagMs = idleAtOf(header, now) - storedIdleAt;
  return lagMs >= Math.min(header.idleMs / 10, 60_000);
}
