/**
 * One request and its session, from the cookie to the commit: find the cookie, verify it, open the session, let the handler work, and
 * before the first byte of the response store what changed. Promise G4 is kept here: `settle` rejects unless everything is stored.
 * What a session object is asked to do (save, end, …) happens one after the other, so a request is never in conflict with itself.
 */
import type { CommitOutcome } from "../commits.js";
import type { MaybePromise } from "../engines/engine.js";
import { AnynodeError } from "../errors.js";
import type { Sid } from "../names.js";
import { type AttributeTexts, type Change, type Changes, NO_CHANGES } from "../session/attributes.js";
import { isSid, makeSid } from "../session/id.js";
import type { Loaded } from "../session/record.js";
import { Session } from "../session/session.js";
import type { HeaderPatch, Sessions } from "../sessions.js";
import type { Presented } from "./cookie.js";
import type { FrontSettings, Incoming } from "./front-options.js";
import { type CookieSettings, cookieFrom, SessionCookie } from "./session-cookie.js";
import { cookieOf, patchOf } from "./stored-cookie.js";

/** Where a host keeps the session of a request, and how it answers with an error. */
export interface Host<S extends Session> {
  /** What the application has left in the session's place: the object that was put there, another one, or nothing. */
  current(): unknown;
  place(session: S | undefined): void;
  make(attributes: AttributeTexts, sid: Sid | undefined): S;
  isMade(value: object): value is S;
  isSecure(): boolean;
  /** Whether an empty session in this place ends the stored one. */
  readonly endsUnset: boolean;
  /** An own property of the session object that is no attribute. */
  readonly own: string | undefined;
  /** Whether the cookie is set anew whenever the stored session's life is extended. */
  readonly renews: boolean;
  /** Where the id comes from, and goes to, if not by our cookie. */
  readonly carrier: Carrier | undefined;
  /** The session is about to be stored. */
  storing(session: S): void;
}

/** Another way for the id to travel: a header, a token. Nobody verifies it but whoever gives it. */
export interface Carrier {
  get(): string | undefined;
  set(sid: string): void;
}

const NOTHING: AttributeTexts = new Map();
const NO_NEWS: HeaderPatch = {};

export class Lifecycle<Req extends Incoming, S extends Session> {
  readonly #sessions: Sessions;
  readonly #settings: FrontSettings<Req>;
  readonly #host: Host<S>;
  readonly #req: Req;
  /** The cookie of the browser's that led to a session. */
  #presented: Presented | undefined;
  #session: S | undefined;
  /** The record behind the session object; undefined = nothing is stored yet. */
  #loaded: Loaded | undefined;
  /** What this request has stored of what it changed. */
  #stored: Changes = NO_CHANGES;
  #cookie: SessionCookie | undefined;
  /** What a save was told that the application may have ignored. */
  #failure: { readonly error: unknown } | undefined;
  /** `wanted`: by this request, but the engine hasn't confirmed it. `lost`: somebody else ended the session, or it expired. */
  #end: "none" | "wanted" | "done" | "lost" = "none";
  /** The settings of a cookie that the browser shall forget. */
  #forget: SessionCookie | undefined;
  #line: string | undefined;
  #isSettled = false;
  #tail: Promise<void> | undefined;
  readonly: boolean = false;

  constructor(sessions: Sessions, settings: FrontSettings<Req>, host: Host<S>, req: Req) {
    this.#sessions = sessions;
    this.#settings = settings;
    this.#host = host;
    this.#req = req;
  }

  // ── Opening ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Puts a new session in the place of the one that was opened, which stays as it is. */
  discard(): void {
    this.#presented = undefined;
    this.#begin();
  }

  /** Puts the request's session in its place: the stored one, or a new one. At once where the engine, or a copy, answers at once. */
  open(nth = 0): MaybePromise<void> {
    const presented = this.#presentedAs(nth);
    if (presented === undefined) return this.#begin();
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
    // A browser may have several cookies of the name, not all of them of a live session.
    if (loaded === undefined) return this.open(nth + 1);
    this.#presented = presented;
    this.#show(presented.sid, loaded);
  }

  #show(sid: Sid, loaded: Loaded): void {
    this.#loaded = loaded;
    this.#stored = NO_CHANGES;
    this.#cookie = undefined;
    this.#failure = undefined;
    this.#session = this.#host.make(loaded.record.attributes, sid);
    this.#host.place(this.#session);
  }

  /** A new session, of which nothing is stored yet. */
  #begin(): void {
    this.#loaded = undefined;
    this.#stored = NO_CHANGES;
    this.#cookie = undefined;
    this.#failure = undefined;
    this.#session = this.#host.make(NOTHING, this.#generated());
    this.#host.place(this.#session);
  }

  #generated(): Sid | undefined {
    const { genid } = this.#settings;
    if (genid === undefined) return undefined;
    const sid: unknown = genid(this.#req);
    if (isSid(sid)) return sid;
    throw new AnynodeError("OPTION_INVALID", "The function genid must return a well-formed string of 1–256 bytes.");
  }

  // ── What a handler sees and asks for ──────────────────────────────────────────────────────────────────────────────

  get req(): Req {
    return this.#req;
  }
  /** Whether the browser has a cookie of a session that isn't there any more. */
  get isMissed(): boolean {
    return this.#loaded === undefined && this.#presentedAs(0) !== undefined;
  }
  get isNew(): boolean {
    return this.#loaded === undefined;
  }
  /** The request's session object as this knows it, wherever the application has put it. */
  get session(): S | undefined {
    return this.#session;
  }

  get cookie(): SessionCookie {
    if (this.#cookie === undefined) {
      const loaded = this.#loaded;
      this.#cookie =
        loaded === undefined
          ? new SessionCookie(this.cookieSettings, this.#host.isSecure())
          : new SessionCookie({ ...cookieOf(loaded.record.header) }, this.#host.isSecure(), this.#sessions.remainingMs(loaded));
    }
    return this.#cookie;
  }
  replaceCookie(value: unknown): void {
    if (typeof value === "object" && value !== null) this.#cookie = cookieFrom(value, this.#host.isSecure());
  }

  /** The request's session with the attributes of a plain object instead of its own. */
  become(values: object): S | undefined {
    if (this.#session !== undefined) Session.become(this.#session, values, this.#host.own);
    return this.#session;
  }

  /** What the options say of this request's cookie. */
  get cookieSettings(): CookieSettings {
    const { cookie } = this.#settings;
    return typeof cookie === "function" ? cookie(this.#req) : cookie;
  }

  /** Stores what this request changed, now. A session that ended meanwhile stays ended: dropped, or SESSION_ENDED if `onEnded` is 401. */
  save(session: S): Promise<void> {
    const refused = this.#refusal(session);
    if (refused !== undefined) return Promise.reject(refused);
    return this.#storing(session);
  }

  /** Shows what is stored now, in a new object. What wasn't saved is forgotten. Rejects with SESSION_ENDED if nothing is stored. */
  reload(session: S): Promise<void> {
    return this.#inTurn(async () => {
      const sid = Session.sidOf(session);
      const loaded = await this.#sessions.load(sid);
      if (loaded === undefined)
        throw new AnynodeError("SESSION_ENDED", "There is no stored session to reload: it ended, or never was.");
      this.#show(sid, loaded);
    });
  }

  /**
   * Ends the session and puts a new, empty one with a new id in its place. Rejects with SESSION_ENDED if somebody else had ended it:
   * a slow request can't carry an ended session over to a new id.
   */
  regenerate(session: S): Promise<void> {
    const refused = this.#refusal(session);
    if (refused !== undefined) return Promise.reject(refused);
    return this.#inTurn(async () => {
      await this.#endStored(session);
      this.#end = "none";
      this.#begin();
    });
  }

  /** Ends the session and gives its attributes a new id, in one step where the engine can. Rejects as `regenerate` does. */
  renewId(session: S): Promise<void> {
    const refused = this.#refusal(session);
    if (refused !== undefined) return Promise.reject(refused);
    return this.#inTurn(async () => {
      const from = Session.sidOf(session);
      const to = this.#generated() ?? makeSid(from);
      const loaded = this.#loaded;
      const texts = withChanges(loaded?.record.attributes ?? NOTHING, since(this.#stored, this.#changesOf(session)));
      const outcome = await (loaded === undefined
        ? this.#create(to, texts)
        : this.#sessions.regenerate(from, loaded, to, texts, this.#news()));
      if (outcome.outcome === "gone") {
        this.endedElsewhere();
        throw ended();
      }
      this.#over(session);
      this.#end = "none";
      this.#show(to, outcome.loaded);
    });
  }

  /** Ends the session, for good; the browser is told to forget its cookie. */
  end(session: S): Promise<void> {
    const refused = this.#refusal(session);
    if (refused !== undefined) return Promise.reject(refused);
    this.#host.place(undefined);
    if (this.#end === "none") this.#end = "wanted";
    return this.#inTurn(() => this.#finish(session)).catch((error: unknown) => {
      this.#failure = { error };
      throw error;
    });
  }

  /** Somebody else ended this request's session. Its writes are dropped from now on, and no cookie is set. */
  endedElsewhere(): void {
    this.#end = "lost";
    if (this.#session !== undefined) Session.tellEnded(this.#session);
  }

  #refusal(session: S): AnynodeError | undefined {
    if (this.readonly) {
      return new AnynodeError("SESSION_READONLY", "This request may only read its session (option readonly).");
    }
    if (session === this.#session) return undefined;
    return new AnynodeError(
      "SESSION_ENDED",
      "This session object was replaced by regenerate() or reload(). Use the request's new one.",
    );
  }

  // ── Before the first byte ─────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Stores what the request changed. Once it is over, without an error, the response may go out, with the cookie line that
   * `cookieLine` gives. `status`: of the response. At once where there is nothing to store.
   */
  settle(status: number): MaybePromise<void> {
    if (this.#tail !== undefined) return this.#tail.then(() => this.settle(status));
    // A failure that the application knows of, and says so, isn't told again.
    if (this.#failure !== undefined && status >= 400) return;
    const session = this.#left();
    if (session === undefined) return this.#settleUnset();
    if (this.#end === "lost") return this.#dropped();
    const changes = since(this.#stored, this.#changesOf(session));
    // What may have happened must not happen twice.
    if (this.#failure !== undefined && changes.size > 0) throw this.#failure.error;
    const news = this.#loaded === undefined ? NO_NEWS : this.#news();
    if (this.#isSettled && changes.size === 0 && news === NO_NEWS) return;
    this.#isSettled = true;
    this.#line = undefined;
    if (
      this.#loaded === undefined ? changes.size > 0 || this.#settings.saveUninitialized : changes.size > 0 || news !== NO_NEWS
    ) {
      return this.#storing(session).then(() => {
        this.#isSettled = true;
        this.#bake(session, news !== NO_NEWS);
      });
    }
    if (this.#loaded === undefined) return this.#bakeForgetting();
    return this.#settleUnchanged(session, this.#loaded);
  }

  #settleUnchanged(session: S, loaded: Loaded): MaybePromise<void> {
    const touched = this.#sessions.touch(loaded);
    const isDue = this.#isCookieDue(session, this.#host.renews && touched instanceof Promise);
    if (touched instanceof Promise) {
      const settled = touched.then((outcome) => this.#settled(outcome));
      if (isDue) return settled.then(() => this.#bake(session, true));
      // The response needn't wait: it claims nothing of it.
      settled.catch(() => {});
      return;
    }
    this.#settled(touched);
    if (!isDue) return;
    // Between this request's load and now somebody may have ended the session: then no cookie of it is sent.
    const now = this.#sessions.load(Session.sidOf(session));
    const bake = (found: Loaded | undefined): void => {
      if (found === undefined) this.endedElsewhere();
      this.#bake(session, false);
    };
    return now instanceof Promise ? now.then(bake) : bake(now);
  }

  /** The Set-Cookie line that the response carries, if any. */
  get cookieLine(): string | undefined {
    return this.#line;
  }

  /**
   * After the first byte: what changed since is committed, and reported; the response can't tell any more. Never rejects.
   */
  settleLate(): MaybePromise<void> {
    if (this.#tail !== undefined) return this.#tail.then(() => this.settleLate());
    try {
      const session = this.#left();
      if (this.#end === "lost") return;
      if (session === undefined)
        return this.#end === "done" || !this.#host.endsUnset ? undefined : this.#late(this.#settleUnset());
      const changed =
        since(this.#stored, this.#changesOf(session)).size > 0 || (this.#loaded !== undefined && this.#news() !== NO_NEWS);
      if (changed) return this.#late(this.#failure === undefined ? this.#storing(session) : Promise.reject(this.#failure.error));
    } catch (error) {
      return this.#late(Promise.reject(error));
    }
  }

  async #late(storing: MaybePromise<void>): Promise<void> {
    try {
      await storing;
      this.#sessions.reportLate({ stored: this.#end !== "lost", error: undefined });
    } catch (error) {
      this.#sessions.reportLate({ stored: false, error });
    }
  }

  /** The session object that the application left, whatever it put there. */
  #left(): S | undefined {
    const left = this.#host.current();
    if (typeof left !== "object" || left === null) return undefined;
    if (left !== this.#session && this.#session !== undefined && !this.#host.isMade(left)) {
      this.#host.place(this.become(left));
    }
    return this.#session;
  }

  #settleUnset(): MaybePromise<void> {
    const session = this.#session;
    if (session === undefined || this.#end === "lost") return;
    if (this.#end === "none" && !this.#host.endsUnset) return;
    if (this.#end === "done") return this.#bakeForgetting();
    this.#end = "wanted";
    return this.#inTurn(() => this.#finish(session)).then(() => this.#bakeForgetting());
  }

  /** A request whose session ended meanwhile. */
  #dropped(): void {
    if (this.#settings.refusesEnded) throw ended();
  }

  #isCookieDue(session: S, cookieChanged: boolean): boolean {
    if (this.#settings.rolling || cookieChanged) return true;
    if (this.#presented === undefined || this.#presented.reissue || this.#presented.sid !== Session.sidOf(session)) return true;
    return this.#stored.size > 0 && this.cookie.originalMaxAge !== null;
  }

  #bake(session: S, cookieChanged: boolean): void {
    if (this.#end === "lost") this.#dropped();
    if (this.#end === "lost" || !this.#isCookieDue(session, cookieChanged)) return;
    const cookie = this.cookie;
    // A browser drops a secure cookie that comes over an insecure connection; and its text would have been read on the way.
    if (cookie.secure && !this.#host.isSecure()) return;
    cookie.reset();
    const sid = Session.sidOf(session);
    if (this.#host.carrier !== undefined) this.#host.carrier.set(sid);
    else this.#line = this.#settings.signer.line(sid, cookie, this.#presented);
  }

  #bakeForgetting(): void {
    if (this.#forget === undefined || this.#presented === undefined || this.#host.carrier !== undefined) return;
    this.#line = this.#settings.signer.clearing(this.#forget);
  }

  // ── Storing, one after the other ──────────────────────────────────────────────────────────────────────────────────

  /** What is stored is what the session is now, however long its turn is in coming. */
  #storing(session: S): Promise<void> {
    try {
      this.#host.storing(session);
      const wanted = this.#changesOf(session);
      const news = this.#news();
      return this.#inTurn(() => this.#commit(session, wanted, news));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async #commit(session: S, wanted: Changes, news: HeaderPatch): Promise<void> {
    this.#isSettled = false;
    if (this.#end !== "none") return this.#dropped();
    const loaded = this.#loaded;
    try {
      const outcome = await (loaded === undefined
        ? this.#create(Session.sidOf(session), withChanges(NOTHING, wanted))
        : this.#sessions.save(loaded, since(this.#stored, wanted), news));
      this.#failure = undefined;
      this.#stored = wanted;
      this.#settled(outcome);
    } catch (error) {
      this.#failure = { error };
      throw error;
    }
    if (this.isLost) this.#dropped();
  }

  get isLost(): boolean {
    return this.#end === "lost";
  }

  #create(sid: Sid, texts: AttributeTexts): Promise<CommitOutcome> {
    const patch = patchOf(this.cookie);
    return this.#settings.genid === undefined
      ? this.#sessions.create(sid, texts, patch)
      : this.#sessions.replace(sid, texts, patch);
  }

  #settled(outcome: CommitOutcome): void {
    if (outcome.outcome === "committed") this.#loaded = outcome.loaded;
    else this.endedElsewhere();
  }

  /** Ends what is stored; the browser's cookie of it is to be forgotten. */
  async #finish(session: S): Promise<void> {
    if (this.#end === "done" || this.#end === "lost") return;
    if (this.#loaded !== undefined) await this.#sessions.end(Session.sidOf(session));
    this.#over(session);
  }

  async #endStored(session: S): Promise<void> {
    if (this.#loaded !== undefined) {
      const { ended: endedNow } = await this.#sessions.end(Session.sidOf(session));
      if (!endedNow) {
        this.endedElsewhere();
        throw ended();
      }
    }
    this.#over(session);
  }

  #over(session: S): void {
    if (this.#presented?.sid === Session.sidOf(session)) this.#forget = this.cookie;
    this.#end = "done";
    this.#isSettled = false;
    this.#loaded = undefined;
    Session.tellEnded(session);
  }

  #changesOf(session: S): Changes {
    return Session.changesOf(session, this.#host.own);
  }

  /** What the request did to its cookie's settings; one that nobody looked at hasn't changed. */
  #news(): HeaderPatch {
    if (this.#cookie === undefined || this.#loaded === undefined) return NO_NEWS;
    const known = this.#loaded.record.header.cookie;
    const patch = patchOf(this.#cookie, known);
    return patch.cookie === known ? NO_NEWS : patch;
  }

  #inTurn(task: () => Promise<void>): Promise<void> {
    const turn = this.#tail === undefined ? task() : this.#tail.then(task);
    const tail = turn
      .catch(() => {})
      .then(() => {
        if (this.#tail === tail) this.#tail = undefined;
      });
    this.#tail = tail;
    return turn;
  }
}

function ended(): AnynodeError {
  return new AnynodeError(
    "SESSION_ENDED",
    "The session ended while the request worked on it; nothing of it was stored or carried over.",
  );
}

/** What is left to store: `wanted` is told from the base on, and so is what is stored already. */
function since(stored: Changes, wanted: Changes): Changes {
  if (stored.size === 0) return wanted;
  const left = new Map<string, Change>();
  for (const [name, { base, mine }] of wanted) {
    const before = stored.get(name);
    const there = before === undefined ? base : before.mine;
    if (there !== mine) left.set(name, { base: there, mine });
  }
  for (const [name, { base, mine }] of stored) if (!wanted.has(name)) left.set(name, { base: mine, mine: base });
  return left;
}

function withChanges(texts: AttributeTexts, changes: Changes): AttributeTexts {
  const all = new Map(texts);
  for (const [name, { mine }] of changes) {
    if (mine === undefined) all.delete(name);
    else all.set(name, mine);
  }
  return all;
}
