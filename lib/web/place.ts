/**
 * The place of a request's session: the stored one that a cookie of the browser's leads to, or a new one; later whatever takes its place.
 * It knows which cookie led here, and whose cookie the browser shall forget.
 */
import { types } from "node:util";
import type { MaybePromise } from "../engines/engine.js";
import { AnynodeError } from "../errors.js";
import type { Sid } from "../names.js";
import { isSid } from "../session/id.js";
import type { Loaded } from "../session/record.js";
import { Session } from "../session/session.js";
import type { Sessions } from "../sessions.js";
import type { Presented } from "./cookie.js";
import type { FrontSettings, Incoming } from "./front-options.js";
import type { Host } from "./host.js";
import { OpenSession } from "./open-session.js";
import type { CookieSettings, SessionCookie } from "./session-cookie.js";

export class Place<Req extends Incoming, S extends Session> {
  readonly #sessions: Sessions;
  readonly #settings: FrontSettings<Req>;
  readonly #host: Host<S>;
  readonly #req: Req;
  #open: OpenSession<S> | undefined;
  #presented: Presented | undefined;
  #forget: SessionCookie | undefined;
  #cookieSettings: CookieSettings | undefined;

  constructor(sessions: Sessions, settings: FrontSettings<Req>, host: Host<S>, req: Req) {
    this.#sessions = sessions;
    this.#settings = settings;
    this.#host = host;
    this.#req = req;
  }

  /** The session that is there; undefined before one was opened. */
  get current(): OpenSession<S> | undefined {
    return this.#open;
  }
  /** The cookie of the browser's that led to a session. */
  get presented(): Presented | undefined {
    return this.#presented;
  }
  /** The settings of a cookie that the browser shall forget. */
  get forget(): SessionCookie | undefined {
    return this.#forget;
  }
  /** Whether the browser has a cookie of a session that isn't there any more. */
  get isMissed(): boolean {
    return this.#presented === undefined && this.#presentedAs(0) !== undefined;
  }
  /** What the options say of this request's cookie. */
  get cookieSettings(): CookieSettings {
    const { cookie } = this.#settings;
    if (typeof cookie !== "function") return cookie;
    this.#cookieSettings ??= cookie(this.#req);
    return this.#cookieSettings;
  }

  /** Finds the request's session, from the browser's `nth` cookie on. At once where the engine, or a copy, answers at once. */
  open(nth = 0): MaybePromise<void> {
    const presented = this.#presentedAs(nth);
    if (presented === undefined) return this.begin();
    const loaded = this.#sessions.load(presented.sid);
    if (loaded instanceof Promise) return loaded.then((found) => this.#opened(presented, found, nth));
    return this.#opened(presented, loaded, nth);
  }

  #presentedAs(nth: number): Presented | undefined {
    const { carrier } = this.#host;
    if (carrier === undefined) return this.#settings.signer.find(this.#req.headers.cookie, nth);
    const sid = nth === 0 ? carrier.get() : undefined;
    return isSid(sid) ? { sid, text: "", reissue: false } : undefined;
  }

  #opened(presented: Presented, loaded: Loaded | undefined, nth: number): MaybePromise<void> {
    if (loaded === undefined) return this.#missed(presented, nth);
    this.#found(presented, loaded);
  }

  /** A browser may have several cookies of the name, not all of them of a live session; one may be of a session that hasn't moved in. */
  #missed(presented: Presented, nth: number): MaybePromise<void> {
    const { migration } = this.#settings;
    if (migration === undefined) return this.open(nth + 1);
    return migration
      .adopt(presented.sid)
      .then((adopted) => (adopted === undefined ? this.open(nth + 1) : this.#found(presented, adopted)));
  }

  #found(presented: Presented, loaded: Loaded): void {
    this.#presented = presented;
    this.show(presented.sid, loaded);
    // Told by event, whether or not anybody asks.
    if (loaded.record.header.client !== "") this.#sessions.clientChanges(loaded, this.#host.client());
  }

  /** Puts a new session in the place of the one that was opened, which stays as it is. */
  discard(): void {
    this.#presented = undefined;
    this.begin();
  }

  /** Puts a new, empty session there. */
  begin(): void {
    this.show(this.generated());
  }

  /** Without `loaded` nothing is stored of it yet. */
  show(sid: Sid | undefined, loaded?: Loaded): void {
    const isForeign = this.#settings.genid !== undefined;
    this.#open = new OpenSession(this.#sessions, this.#host, { defaults: this.cookieSettings, sid, isForeign }, loaded);
    this.#host.place(this.#open.session, loaded === undefined);
  }

  /** The id that the application gives the next session; undefined: it leaves that to us. */
  generated(): Sid | undefined {
    const { genid } = this.#settings;
    if (genid === undefined) return undefined;
    const sid: unknown = genid(this.#req);
    if (isSid(sid)) return sid;
    throw new AnynodeError("OPTION_INVALID", "The function genid must return a well-formed string of 1–256 bytes.");
  }

  /** The request's session, or a new one if this request has ended it, with the attributes of a plain object instead of its own. */
  become(values: object): S | undefined {
    if (this.#open?.end === "done") this.begin();
    else if (this.#open !== undefined && isBehind(this.#open.session, values)) return this.#open.session;
    if (this.#open !== undefined) Session.become(this.#open.session, values, this.#host.own);
    return this.#open?.session;
  }

  /** What the application has left there, be it an object of its own; undefined: no session. */
  kept(): OpenSession<S> | undefined {
    const open = this.#open;
    const kept = this.#host.current();
    if (open === undefined || open.end === "wanted" || typeof kept !== "object" || kept === null) return undefined;
    // What stands in the place of a session that was ended is another one, whatever it was made of.
    const isOver = open.end === "done";
    if (kept === open.session && !isOver) return open;
    if (this.#host.isOthers(kept)) return isOver ? undefined : open;
    if (isOver || !isBehind(open.session, kept)) this.#host.place(this.become(kept), open.loaded === undefined);
    return this.#open;
  }

  /** Whether it is the session of another middleware, for the same request, that stands there. */
  get isOthers(): boolean {
    const kept = this.#host.current();
    return typeof kept === "object" && kept !== null && this.#host.isOthers(kept);
  }

  /** The browser's cookie of a session that is over is to be forgotten. */
  left(open: OpenSession<S>): void {
    if (open.end === "done" && this.#presented?.sid === open.sid) this.#forget = open.cookie;
  }
}

/** Whether an object is one that inherits from a session, or a Proxy around one: what it shows are that session's attributes. */
function isBehind(session: Session, object: object): boolean {
  return Object.prototype.isPrototypeOf.call(session, object) || (types.isProxy(object) && object instanceof Session);
}
