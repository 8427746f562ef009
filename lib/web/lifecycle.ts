/**
 * One request and its session, from the cookie to the commit: find the cookie, verify it, open the session, let the handler work, and
 * before the first byte of the response store what changed. Promise G4 is kept here: `settle` rejects unless everything is stored.
 */
import type { MaybePromise } from "../engines/engine.js";
import { AnynodeError } from "../errors.js";
import type { Sid } from "../names.js";
import { whole } from "../options.js";
import { isSid, makeSid } from "../session/id.js";
import type { Loaded } from "../session/record.js";
import { Session } from "../session/session.js";
import type { Sessions } from "../sessions.js";
import type { Presented } from "./cookie.js";
import type { FrontSettings, Incoming } from "./front-options.js";
import type { Host } from "./host.js";
import { endedMeanwhile, NO_NEWS, OpenSession } from "./open-session.js";
import type { Lives, LoginOptions, RotateOptions } from "./person-session.js";
import { type CookieSettings, SessionCookie } from "./session-cookie.js";
import { patchOf } from "./stored-cookie.js";
import { Turns } from "./turns.js";

const GRACE_MS = 10_000;
/** An old id that leads to a session for longer is a second id. */
const MAX_GRACE_MS = 60_000;

export class Lifecycle<Req extends Incoming, S extends Session> {
  readonly req: Req;
  readonly #sessions: Sessions;
  readonly #settings: FrontSettings<Req>;
  readonly #host: Host<S>;
  readonly #turns = new Turns();
  #open: OpenSession<S> | undefined;
  /** The cookie of the browser's that led to a session. */
  #presented: Presented | undefined;
  /** The settings of a cookie that the browser shall forget. */
  #forget: SessionCookie | undefined;
  #line: string | undefined;
  #cookieSettings: CookieSettings | undefined;
  #isSettled = false;
  readonly: boolean = false;

  constructor(sessions: Sessions, settings: FrontSettings<Req>, host: Host<S>, req: Req) {
    this.#sessions = sessions;
    this.#settings = settings;
    this.#host = host;
    this.req = req;
  }

  // ── Opening ───────────────────────────────────────────────────────────────────────────────────────────────────────

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
    if (carrier === undefined) return this.#settings.signer.find(this.req.headers.cookie, nth);
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
    this.#show(presented.sid, loaded);
    // Told by event, whether or not anybody asks.
    if (loaded.record.header.client !== "") this.#sessions.clientChanges(loaded, this.#host.client());
  }

  /** Puts a new session in the place of the one that was opened, which stays as it is. */
  discard(): void {
    this.#presented = undefined;
    this.#begin();
  }

  #begin(): void {
    this.#show(this.#generated());
  }

  #show(sid: Sid | undefined, loaded?: Loaded): void {
    const isForeign = this.#settings.genid !== undefined;
    this.#open = new OpenSession(this.#sessions, this.#host, { defaults: this.cookieSettings, sid, isForeign }, loaded);
    this.#isSettled = false;
    this.#host.place(this.#open.session, loaded === undefined);
  }

  #generated(): Sid | undefined {
    const { genid } = this.#settings;
    if (genid === undefined) return undefined;
    const sid: unknown = genid(this.req);
    if (isSid(sid)) return sid;
    throw new AnynodeError("OPTION_INVALID", "The function genid must return a well-formed string of 1–256 bytes.");
  }

  // ── What a handler asks for ───────────────────────────────────────────────────────────────────────────────────────

  /** Whether the browser has a cookie of a session that isn't there any more. */
  get isMissed(): boolean {
    return this.#presented === undefined && this.#presentedAs(0) !== undefined;
  }
  /** Whether nothing is stored of the session. */
  get isNew(): boolean {
    return this.#open?.loaded === undefined;
  }
  get loaded(): Loaded | undefined {
    return this.#open?.loaded;
  }
  get lives(): Lives | undefined {
    return this.loaded && this.#sessions.livesMs(this.loaded);
  }
  get sinceSignInMs(): number {
    return this.loaded === undefined ? Number.POSITIVE_INFINITY : this.#sessions.sinceSignInMs(this.loaded);
  }
  get clientChanges(): readonly ("address" | "agent")[] {
    return this.loaded === undefined ? [] : this.#sessions.clientChanges(this.loaded, this.#host.client());
  }
  get session(): S | undefined {
    return this.#open?.session;
  }
  get cookie(): SessionCookie {
    if (this.#open === undefined) throw new AnynodeError("SESSION_ENDED", "The request has no session.");
    return this.#open.cookie;
  }
  replaceCookie(value: unknown): void {
    this.#open?.replaceCookie(value);
  }
  /** What the options say of this request's cookie. */
  get cookieSettings(): CookieSettings {
    const { cookie } = this.#settings;
    if (typeof cookie !== "function") return cookie;
    this.#cookieSettings ??= cookie(this.req);
    return this.#cookieSettings;
  }

  /** The request's session with the attributes of a plain object instead of its own. */
  become(values: object): S | undefined {
    if (this.#open !== undefined) Session.become(this.#open.session, values, this.#host.own);
    return this.#open?.session;
  }

  /** Stores what this request changed, now. A session that ended meanwhile stays ended: dropped, or SESSION_ENDED if `onEnded` is 401. */
  save(session: S): Promise<void> {
    return this.#asked(session, (open) => this.#storing(open));
  }

  /** Shows what is stored now, in a new object. What wasn't saved is forgotten. Rejects with SESSION_ENDED if nothing is stored. */
  reload(session: S): Promise<void> {
    return this.#turns.take(async () => {
      const sid = Session.sidOf(session);
      const loaded = await this.#sessions.load(sid);
      if (loaded === undefined) {
        throw new AnynodeError("SESSION_ENDED", "There is no stored session to reload: it ended, or never was.");
      }
      this.#show(sid, loaded);
    });
  }

  /**
   * Ends the session and puts a new, empty one with a new id in its place. Rejects with SESSION_ENDED if somebody else had ended it:
   * a slow request can't carry an ended session over to a new id.
   */
  regenerate(session: S): Promise<void> {
    return this.#asked(session, (open) =>
      this.#turns.take(async () => {
        await this.#forgotten(open);
        await open.release();
        this.#left(open);
        this.#begin();
      }),
    );
  }

  /** Ends the session and gives its attributes a new id, in one step where the engine can. Rejects as `regenerate` does. */
  renewId(session: S): Promise<void> {
    return this.#asked(session, (open) =>
      this.#turns.take(async () => {
        const to = this.#generated() ?? makeSid(open.sid);
        const texts = open.texts();
        await this.#forgotten(open);
        const outcome = await (open.loaded === undefined
          ? open.create(to, texts)
          : this.#sessions.regenerate(open.sid, open.loaded, to, texts, open.news()));
        if (outcome.outcome === "gone") {
          open.lose();
          throw endedMeanwhile();
        }
        open.over();
        this.#left(open);
        this.#show(to, outcome.loaded);
      }),
    );
  }

  /** A person signs in: a new session object, and id, with the attributes that are to be kept. See PersonSession.login. */
  login(session: S, user: string, { keep = [], remember = false }: LoginOptions): Promise<void> {
    return this.#asked(session, (open) =>
      this.#turns.take(async () => {
        const to = this.#generated() ?? makeSid(open.sid);
        const cookie = new SessionCookie(this.cookieSettings, this.#host.isSecure());
        const { idleMs, absoluteMs } = this.#settings.remember;
        if (remember) cookie.maxAge = idleMs;
        await this.#forgotten(open);
        const outcome = await this.#sessions.login(open.loaded && open.sid, open.loaded, to, {
          user,
          attributes: new Map([...open.texts()].filter(([name]) => keep.includes(name))),
          patch: patchOf(cookie),
          absoluteMs: remember ? absoluteMs : undefined,
          client: this.#host.client(),
        });
        if (outcome.outcome === "gone") {
          open.lose();
          throw endedMeanwhile();
        }
        open.over();
        this.#left(open);
        this.#show(to, outcome.loaded);
      }),
    );
  }

  /** A new id, and a grace for the old one. Nothing is to be done for a session that isn't stored, or was rotated just now. */
  rotate(session: S, { graceMs = GRACE_MS }: RotateOptions): Promise<void> {
    return this.#asked(session, (open) => {
      whole("graceMs", graceMs, 1, MAX_GRACE_MS);
      const save = open.loaded === undefined ? undefined : open.saving();
      return this.#turns.take(async () => {
        await save?.();
        const { loaded, sid } = open;
        if (loaded === undefined || open.end !== "none" || open.hasMoved) return;
        const to = this.#generated() ?? makeSid(sid);
        await this.#forgotten(open);
        // Whoever works on the session in this request goes on with it under the new id.
        const isWatched = open.unwatch();
        const outcome = await this.#sessions.rotate(sid, loaded, to, graceMs).catch((error: unknown) => {
          if (isWatched) open.watch();
          throw error;
        });
        if (outcome.outcome === "gone") {
          open.lose();
          throw endedMeanwhile();
        }
        this.#show(this.#sessions.isCurrent(to, outcome.loaded) ? to : sid, outcome.loaded);
        if (isWatched) this.#watchAs(session);
      });
    });
  }

  #watchAs(before: S): void {
    if (this.#open === undefined) return;
    Session.passSignal(before, this.#open.session);
    this.#open.watch();
  }

  /** The session's signal was asked for. */
  watch(session: S): void {
    if (session === this.#open?.session) this.#open.watch();
  }

  /** Ends the session, for good; the browser is told to forget its cookie. */
  end(session: S): Promise<void> {
    return this.#asked(session, (open) => {
      this.#host.place(undefined, true);
      open.wantEnd();
      return this.#finishing(open);
    });
  }

  #finishing(open: OpenSession<S>): Promise<void> {
    return this.#turns.take(async () => {
      try {
        await this.#forgotten(open);
        await open.finish();
      } catch (error) {
        open.failure = { error };
        throw error;
      }
      this.#left(open);
    });
  }

  /** The store that had the session before forgets an id that ends here, or is left for another one. */
  #forgotten(open: OpenSession<S>): Promise<void> | undefined {
    const isThere = open.loaded !== undefined && (open.end === "none" || open.end === "wanted");
    return isThere ? this.#settings.migration?.forget(open.sid) : undefined;
  }

  /** The browser's cookie of a session that is over is to be forgotten. */
  #left(open: OpenSession<S>): void {
    if (open.end === "done" && this.#presented?.sid === open.sid) this.#forget = open.cookie;
  }

  #asked(session: S, task: (open: OpenSession<S>) => Promise<void>): Promise<void> {
    if (this.readonly) {
      return Promise.reject(new AnynodeError("SESSION_READONLY", "This request may only read its session (option readonly)."));
    }
    if (session === this.#open?.session) return task(this.#open);
    return Promise.reject(
      new AnynodeError(
        "SESSION_ENDED",
        "This session object was replaced by regenerate() or reload(). Use the request's new one.",
      ),
    );
  }

  // ── Before the first byte, and after ──────────────────────────────────────────────────────────────────────────────

  /**
   * Stores what the request changed. Once it is over, without an error, the response may go out, with the Set-Cookie line that
   * `cookieLine` gives. `status`: of the response. At once where there is nothing to store.
   */
  settle(status: number): MaybePromise<void> {
    const { over } = this.#turns;
    if (over !== undefined) return over.then(() => this.settle(status));
    const open = this.#open;
    // A failure that the application knows of, and says so, isn't told again.
    if (open === undefined || (open.failure !== undefined && status >= 400)) return;
    if (!this.#isLeft(open)) return this.#settleUnset(open);
    if (open.end === "lost") return status >= 400 ? undefined : this.#dropped();
    const changes = open.changes();
    // What may have happened must not happen twice.
    if (open.failure !== undefined && changes.size > 0) throw open.failure.error;
    const news = open.news();
    if (this.#isSettled && changes.size === 0 && news === NO_NEWS) return;
    this.#isSettled = true;
    this.#line = undefined;
    const { loaded } = open;
    if (changes.size > 0 || news !== NO_NEWS || (loaded === undefined && this.#settings.saveUninitialized)) {
      return this.#storing(open).then(() => this.#bake(open, news !== NO_NEWS));
    }
    return loaded === undefined ? this.#bakeForgetting() : this.#settleUnchanged(open, loaded);
  }

  #settleUnchanged(open: OpenSession<S>, loaded: Loaded): MaybePromise<void> {
    const touched = open.touch(loaded);
    const isRenewed = this.#host.renews && touched instanceof Promise;
    if (!this.#isCookieDue(open, isRenewed)) {
      // The response needn't wait: it claims nothing of the touch.
      if (touched instanceof Promise) touched.catch(() => {});
      return;
    }
    // Between this request's load and now somebody may have ended or moved the session: then no cookie of it is sent. A touch that was
    // written shows that nobody has.
    const isUnseen = () => open.end !== "lost" && open.loaded === loaded;
    const looked = touched instanceof Promise ? touched.then(() => (isUnseen() ? open.look() : undefined)) : open.look();
    return looked instanceof Promise ? looked.then(() => this.#bake(open, isRenewed)) : this.#bake(open, isRenewed);
  }

  #settleUnset(open: OpenSession<S>): MaybePromise<void> {
    if (open.end === "lost" || (open.end === "none" && !this.#host.endsUnset)) return;
    if (open.end === "done") return this.#bakeForgetting();
    open.wantEnd();
    return this.#finishing(open).then(() => this.#bakeForgetting());
  }

  /** After the first byte: what changed since is committed, and reported; the response can't tell any more. Never rejects. */
  settleLate(): MaybePromise<void> {
    const { over } = this.#turns;
    if (over !== undefined) return over.then(() => this.settleLate());
    const open = this.#open;
    if (open === undefined || open.end === "lost") return;
    try {
      if (!this.#isLeft(open)) {
        return open.end === "done" || !this.#host.endsUnset ? undefined : this.#late(open, this.#finishing(open));
      }
      const isChanged = open.changes().size > 0 || open.news() !== NO_NEWS;
      if (isChanged) return this.#late(open, open.failure ? Promise.reject(open.failure.error) : this.#storing(open));
    } catch (error) {
      return this.#late(open, Promise.reject(error));
    }
  }

  async #late(open: OpenSession<S>, storing: Promise<void>): Promise<void> {
    try {
      await storing;
      this.#sessions.reportLate({ stored: open.end !== "lost", error: undefined });
    } catch (error) {
      this.#sessions.reportLate({ stored: false, error });
    }
  }

  /** Whether the application has left a session in its place, be it an object of its own. */
  #isLeft(open: OpenSession<S>): boolean {
    const left = this.#host.current();
    if (typeof left !== "object" || left === null) return false;
    if (left !== open.session && !this.#host.isMade(left)) this.#host.place(this.become(left), open.loaded === undefined);
    return true;
  }

  /** What is stored is what the session is now, however long its turn is in coming. */
  #storing(open: OpenSession<S>): Promise<void> {
    try {
      const save = open.saving();
      return this.#turns.take(async () => {
        await save();
        if (open.end === "lost") this.#dropped();
      });
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #dropped(): void {
    if (this.#settings.refusesEnded) throw endedMeanwhile();
  }

  // ── The cookie ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The Set-Cookie line that the response carries, if any. */
  get cookieLine(): string | undefined {
    return this.#line;
  }

  #isCookieDue(open: OpenSession<S>, isChanged: boolean): boolean {
    if (this.#settings.rolling || isChanged) return true;
    if (this.#presented === undefined || this.#presented.reissue || this.#presented.sid !== open.sid) return true;
    return open.hasStored && open.cookie.originalMaxAge !== null;
  }

  #bake(open: OpenSession<S>, isChanged: boolean): void {
    this.#isSettled = true;
    if (open.end === "lost") this.#dropped();
    // An id that was rotated away is never given out again: the browser has, or gets, the new one.
    if (open.end === "lost" || open.hasMoved || !this.#isCookieDue(open, isChanged)) return;
    const { cookie, sid } = open;
    // A browser drops a secure cookie that comes over an insecure connection; and its text would have been read on the way.
    if (cookie.secure && !this.#host.isSecure()) return;
    cookie.reset(this.lives?.absoluteMs);
    if (this.#host.carrier !== undefined) this.#host.carrier.set(sid);
    else this.#line = this.#settings.signer.line(sid, cookie, this.#presented);
  }

  #bakeForgetting(): void {
    if (this.#forget === undefined || this.#host.carrier !== undefined) return;
    this.#line = this.#settings.signer.clearing(this.#forget);
  }
}
