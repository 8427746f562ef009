/** `req.session`: the attributes as on a plain object, and the members of express-session's Session, by callback or promise. */
import type { Sid } from "../names.js";
import type { AttributeTexts } from "../session/attributes.js";
import { taken } from "../session/session.js";
import { answer } from "./callback.js";
import { type PersonKeeper, PersonSession } from "./person-session.js";
import type { SessionCookie } from "./session-cookie.js";

export type Done = (error?: unknown) => void;

/** What a session object asks of its request's lifecycle. */
interface Keeper extends PersonKeeper {
  readonly req: object;
  cookie: SessionCookie;
  replaceCookie(value: unknown): void;
  save(session: ExpressSession): Promise<void>;
  reload(session: ExpressSession): Promise<void>;
  regenerate(session: ExpressSession): Promise<void>;
}

/** As express-session's, the cookie is an own property of the session: printed, spread and stringified with it. */
const OWN_COOKIE: PropertyDescriptor = {
  get(this: object) {
    return ExpressSession.cookieOf(this);
  },
  set(this: object, value: unknown) {
    ExpressSession.putCookie(this, value);
  },
  enumerable: true,
  configurable: true,
};

export class ExpressSession extends PersonSession {
  readonly #keeper: Keeper;

  /** @internal Made by the middleware. */
  constructor(keeper: Keeper, attributes: AttributeTexts, sid?: Sid) {
    super(keeper, attributes, sid);
    this.#keeper = keeper;
    Object.defineProperty(this, "cookie", OWN_COOKIE);
  }

  /** @internal Whether another keeper has made it, for the same request. */
  static isOthers(object: object, keeper: Keeper): boolean {
    return #keeper in object && object.#keeper !== keeper && object.#keeper.req === keeper.req;
  }

  /** The request. */
  get req(): object {
    return this.#keeper.req;
  }
  set req(_: never) {
    throw taken("req");
  }

  /** The settings of this session's cookie. What is changed here is stored, and the browser hears of it. */
  declare cookie: SessionCookie;

  /** Stores what this request changed, now. Without a callback it gives a promise. */
  save(): Promise<void>;
  save(callback: Done): this;
  save(callback?: Done): this | Promise<void> {
    return this.#answer(this.#keeper.save(this), callback);
  }

  /** Shows what is stored now: `req.session` is a new object then, without what wasn't saved. */
  reload(): Promise<void>;
  reload(callback: Done): this;
  reload(callback?: Done): this | Promise<void> {
    return this.#answer(this.#keeper.reload(this), callback);
  }

  /** Ends this session; `req.session` is a new, empty one then, with a new id. */
  regenerate(): Promise<void>;
  regenerate(callback: Done): this;
  regenerate(callback?: Done): this | Promise<void> {
    return this.#answer(this.#keeper.regenerate(this), callback);
  }

  /** Ends this session, for good and on every node; `req.session` is undefined. */
  destroy(): Promise<void>;
  destroy(callback: Done): this;
  destroy(callback?: Done): this | Promise<void> {
    return this.#answer(this.#keeper.end(this), callback);
  }

  /** Begins the cookie's `maxAge` anew. Every request does that for the stored session by itself. */
  touch(): this {
    return this.resetMaxAge();
  }
  resetMaxAge(): this {
    this.cookie.reset();
    return this;
  }

  #answer(work: Promise<void>, callback: Done | undefined): this | Promise<void> {
    const answered = answer(work, callback && ((error: unknown) => callback(error ?? undefined)));
    return callback === undefined ? answered : this;
  }

  /** @internal For the own property; a clone may carry that along, or its prototype, without the session. */
  static cookieOf(session: object): SessionCookie | undefined {
    return #keeper in session ? session.#keeper.cookie : undefined;
  }
  /** @internal */
  static putCookie(session: object, value: unknown): void {
    if (#keeper in session) session.#keeper.replaceCookie(value);
    else Object.defineProperty(session, "cookie", { value, writable: true, enumerable: true, configurable: true });
  }

  static {
    // Also there: no attribute can have that name.
    Object.defineProperty(ExpressSession.prototype, "cookie", OWN_COOKIE);
  }
}
