/**
 * What the session objects of both native front ends have of whoever is signed in. None of it is an attribute: only `login` sets it, and
 * whoever assigns to it is told so.
 */
import { AnynodeError } from "../errors.js";
import type { Sid } from "../names.js";
import type { AttributeTexts } from "../session/attributes.js";
import type { Loaded } from "../session/record.js";
import { Session, taken } from "../session/session.js";

export interface LoginOptions {
  /** Names of the attributes that are carried over. Default: none. */
  readonly keep?: readonly string[] | undefined;
  /** The longer pair of timeouts (front end's option `remember`), and a cookie that outlasts the browser. Default false. */
  readonly remember?: boolean | undefined;
}

export interface RotateOptions {
  /** How long the old id leads to the session, in ms. Default 10,000. */
  readonly graceMs?: number | undefined;
}

/** How long a session has yet to live, at most and if this request extends it. */
export interface Lives {
  readonly idleMs: number;
  readonly absoluteMs: number;
}

export interface PersonKeeper {
  /** The record behind the session; undefined = nothing is stored yet. */
  readonly loaded: Loaded | undefined;
  readonly lives: Lives | undefined;
  readonly sinceSignInMs: number;
  readonly clientChanges: readonly ("address" | "agent")[];
  login(session: object, user: string, options: LoginOptions): Promise<void>;
  rotate(session: object, options: RotateOptions): Promise<void>;
  end(session: object): Promise<void>;
  watch(session: object): void;
}

export class PersonSession extends Session {
  readonly #keeper: PersonKeeper;

  /** @internal Made by front ends. */
  constructor(keeper: PersonKeeper, attributes: AttributeTexts, sid?: Sid) {
    super(attributes, sid);
    this.#keeper = keeper;
  }

  /** Aborted when the session ends, or gets a new id elsewhere, while the request still works on it. Asked for, this node listens for that. */
  override get signal(): AbortSignal {
    const signal = super.signal;
    this.#keeper.watch(this);
    return signal;
  }
  override set signal(_: never) {
    throw taken("signal");
  }

  /** Who is signed in; undefined = nobody. */
  get user(): string | undefined {
    return this.#keeper.loaded?.record.header.user || undefined;
  }
  set user(_: never) {
    throw kept("user");
  }

  /** When the person showed last who they are. */
  get authenticatedAt(): Date | undefined {
    const at = this.#keeper.loaded?.record.header.authenticatedAt ?? 0;
    return at > 0 ? new Date(at) : undefined;
  }
  set authenticatedAt(_: never) {
    throw kept("authenticatedAt");
  }

  /** Whether that is no longer ago than `ms`: for routes that want the password once more. */
  reauthenticatedWithin(ms: number): boolean {
    return this.#keeper.sinceSignInMs <= ms;
  }

  /** When the session ends unless another request comes; undefined while nothing is stored. */
  get expiresAt(): Date | undefined {
    return whenIn(this.#keeper.lives?.idleMs);
  }
  set expiresAt(_: never) {
    throw taken("expiresAt");
  }
  /** When it ends in any case; undefined = never, or nothing is stored. */
  get absoluteExpiresAt(): Date | undefined {
    return whenIn(this.#keeper.lives?.absoluteMs);
  }
  set absoluteExpiresAt(_: never) {
    throw taken("absoluteExpiresAt");
  }

  /** What isn't as it was at sign-in, of what the option `record` has recorded. */
  get clientChanges(): readonly ("address" | "agent")[] {
    return this.#keeper.clientChanges;
  }
  set clientChanges(_: never) {
    throw taken("clientChanges");
  }

  /**
   * Signs a person in. The session gets a new id, and the old one is dead everywhere when this resolves; the request has a new session
   * object then, with no attributes but those to `keep`. Rejects with SESSION_ENDED if the session, or the person's, ended meanwhile; with
   * TOO_MANY_SESSIONS where the option `maxPerUser` refuses. `user`: the same text for the same person, e.g. an account's id.
   */
  login(user: string, options: LoginOptions = {}): Promise<void> {
    return this.#keeper.login(this, user, options);
  }

  /** Signs out: ends the session, for good and on every node. The request has no session then. */
  logout(): Promise<void> {
    return this.#keeper.end(this);
  }

  /**
   * Gives the session a new id, from time to time. For a short grace the old one leads to it, too, for requests that are under way. What
   * this request changed is stored before; it has a new session object then. Not for sign-ins: `login` has no grace.
   */
  rotate(options: RotateOptions = {}): Promise<void> {
    return this.#keeper.rotate(this, options);
  }
}

function whenIn(ms: number | undefined): Date | undefined {
  return ms === undefined || ms === Number.POSITIVE_INFINITY ? undefined : new Date(Date.now() + ms);
}

function kept(name: string): AnynodeError {
  return new AnynodeError(
    "ATTRIBUTE_INVALID",
    `session.${name} is kept by the library: session.login(user) sets it. Give an attribute of your own another name.`,
  );
}
