/** `ctx.session`: the attributes as on a plain object, and the members of koa-session's Session, by callback or promise. */
import type { Sid } from "../names.js";
import type { AttributeTexts } from "../session/attributes.js";
import { taken } from "../session/session.js";
import { answer } from "./callback.js";
import { type PersonKeeper, PersonSession } from "./person-session.js";
import type { SessionCookie } from "./session-cookie.js";

type Done = (error?: unknown) => void;

interface Keeper extends PersonKeeper {
  readonly cookie: SessionCookie;
  save(session: KoaSession): Promise<void>;
  reload(session: KoaSession): Promise<void>;
  renewId(session: KoaSession): Promise<void>;
  commit(session: KoaSession): Promise<void>;
}

export class KoaSession extends PersonSession {
  readonly #keeper: Keeper;
  readonly #isNew: boolean;

  /** @internal Made by the middleware. */
  constructor(keeper: Keeper, isNew: boolean, attributes: AttributeTexts, sid?: Sid) {
    super(keeper, attributes, sid);
    this.#keeper = keeper;
    this.#isNew = isNew;
  }

  /** Whether nothing was stored of this session when the request came. */
  get isNew(): boolean {
    return this.#isNew;
  }
  set isNew(_: never) {
    throw taken("isNew");
  }
  /** How many attributes there are. */
  get length(): number {
    return Object.keys(this).length;
  }
  set length(_: never) {
    throw taken("length");
  }
  get populated(): boolean {
    return this.length > 0;
  }
  set populated(_: never) {
    throw taken("populated");
  }
  /** The session id. */
  get externalKey(): string {
    return this.id;
  }
  set externalKey(_: never) {
    throw taken("externalKey");
  }

  /** How long the session lives without a request, in ms, and the cookie without a new one; "session" = as long as the browser. */
  get maxAge(): number | "session" {
    return this.#keeper.cookie.originalMaxAge ?? "session";
  }
  set maxAge(ms: number | "session") {
    this.#keeper.cookie.maxAge = ms === "session" ? null : ms;
  }

  /** Stores the session now, populated or not. */
  save(callback?: Done): Promise<void> {
    return told(this.#keeper.save(this), callback);
  }
  /** Shows what is stored now: `ctx.session` is a new object then. */
  reload(callback?: Done): Promise<void> {
    return told(this.#keeper.reload(this), callback);
  }
  /** Ends this session and gives its attributes a new id: `ctx.session` is a new object then. */
  regenerate(callback?: Done): Promise<void> {
    return told(this.#keeper.renewId(this), callback);
  }
  /** With `autoCommit: false`: stores what changed and sets the cookie, as do `save`, `regenerate` and the others that store. */
  manuallyCommit(): Promise<void> {
    return this.#keeper.commit(this);
  }

  /** The attributes as a plain object. */
  toJSON(): Record<string, unknown> {
    return Object.fromEntries(Object.entries(this));
  }
}

function told(work: Promise<void>, callback: Done | undefined): Promise<void> {
  return answer(work, callback && ((error: unknown) => callback(error ?? undefined)));
}
