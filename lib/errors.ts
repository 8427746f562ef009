/**
 * The one error class of anynode and its closed set of codes. Every code has a heading in docs/errors.md.
 * A message names the value, the bound and the cure; it never holds a session id, a key or a payload.
 */

/** What went wrong, and the HTTP status with which a front end should answer it. */
const STATUS = {
  /** An option, or a combination of options, that can't work. Thrown at construction or by `ready()`. */
  OPTION_INVALID: 500,
  /** A client, package or server of a kind or version that can't be used here. */
  ENGINE_UNSUPPORTED: 500,
  /** The engine refused or couldn't be reached. Nothing was stored. */
  ENGINE_UNAVAILABLE: 503,
  /** The engine didn't answer within the deadline. What was asked may or may not have happened. */
  ENGINE_TIMEOUT: 503,
  /** The engine has no room for a write (maxmemory, map or disk full). Nothing was stored. */
  ENGINE_FULL: 503,
  /** A session id that isn't a string of 1–256 bytes. No engine was asked. */
  ID_MALFORMED: 400,
  /** Two requests changed the same attribute and the policy is "reject". Nothing was stored. */
  CONFLICT: 409,
  /** Other nodes committed to the same session again and again until the deadline. Nothing was stored. */
  CONTENDED: 503,
  /** The session ended while this was under way. Nothing was stored. */
  SESSION_ENDED: 401,
  /** A sign-in of a person who has as many sessions as the option maxPerUser allows. Nothing was stored. */
  TOO_MANY_SESSIONS: 403,
  /** An attribute with a forbidden name, or a value that JSON can't hold. Nothing was sent. */
  ATTRIBUTE_INVALID: 500,
  /** A request that may only read its session wanted to store or end it. Nothing was sent. */
  SESSION_READONLY: 500,
  /** A session over the size limits. Nothing was sent. */
  SESSION_TOO_LARGE: 500,
  /** A stored record that this node can't read: damaged, moved, or of a newer format. It is left as it is. */
  RECORD_UNREADABLE: 503,
  /** No number is left for one more node (63 at the most). */
  REGISTRY_FULL: 503,
  /** Used after `close()`. */
  CLOSED: 503,
} as const;

export type ErrorCode = keyof typeof STATUS;

export class AnynodeError extends Error {
  override readonly name = "AnynodeError";
  readonly code: ErrorCode;
  /** The HTTP status for whoever answers a request with this error (Express and Koa read it). */
  readonly status: number;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
    this.status = STATUS[code];
  }
}

/** All codes, for tests that hold the documentation against them. */
export const errorCodes: readonly string[] = Object.keys(STATUS);
