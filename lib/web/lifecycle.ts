/**
 * One request and its session, from the cookie to the commit: find the cookie, verify it, open the session (place.ts), let the handler work
 * (turnover.ts), and before the first byte of the response store what changed. Promise G4 is kept here: `settle` rejects unless everything
 * is stored.
 */
import type { MaybePromise } from "../engines/engine.js";
import { AnynodeError } from "../errors.js";
import type { Loaded } from "../session/record.js";
import type { Session } from "../session/session.js";
import type { Sessions } from "../sessions.js";
import type { FrontSettings, Incoming } from "./front-options.js";
import type { Host } from "./host.js";
import { endedMeanwhile, NO_NEWS, type OpenSession } from "./open-session.js";
import type { Lives, LoginOptions, RotateOptions } from "./person-session.js";
import { Place } from "./place.js";
import type { CookieSettings, SessionCookie } from "./session-cookie.js";
import { Turnover } from "./turnover.js";
import { Turns } from "./turns.js";

export class Lifecycle<Req extends Incoming, S extends Session> {
  readonly req: Req;
  readonly #sessions: Sessions;
  readonly #settings: FrontSettings<Req>;
  readonly #host: Host<S>;
  readonly #turns = new Turns();
  readonly #place: Place<Req, S>;
  /** Most requests never ask for it. */
  #turnover: Turnover<Req, S> | undefined;
  /** The session that was in its place when this last settled. */
  #settled: OpenSession<S> | undefined;
  #line: string | undefined;
  readonly: boolean = false;

  constructor(sessions: Sessions, settings: FrontSettings<Req>, host: Host<S>, req: Req) {
    this.#sessions = sessions;
    this.#settings = settings;
    this.#host = host;
    this.req = req;
    this.#place = new Place(sessions, settings, host, req);
  }

  /** Puts the request's session in its place: the stored one, or a new one. At once where the engine, or a copy, answers at once. */
  open(): MaybePromise<void> {
    return this.#place.open();
  }

  /** Puts a new session in the place of the one that was opened, which stays as it is. */
  discard(): void {
    this.#place.discard();
  }

  // ── What a handler asks for ───────────────────────────────────────────────────────────────────────────────────────

  /** Whether the browser has a cookie of a session that isn't there any more. */
  get isMissed(): boolean {
    return this.#place.isMissed;
  }
  /** Whether nothing is stored of the session. */
  get isNew(): boolean {
    return this.loaded === undefined;
  }
  get loaded(): Loaded | undefined {
    return this.#place.current?.loaded;
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
    return this.#place.current?.session;
  }
  get cookie(): SessionCookie {
    const open = this.#place.current;
    if (open === undefined) throw new AnynodeError("SESSION_ENDED", "The request has no session.");
    return open.cookie;
  }
  replaceCookie(value: unknown): void {
    this.#place.current?.replaceCookie(value);
  }
  /** What the options say of this request's cookie. */
  get cookieSettings(): CookieSettings {
    return this.#place.cookieSettings;
  }

  /** The request's session with the attributes of a plain object instead of its own. */
  become(values: object): S | undefined {
    return this.#place.become(values);
  }

  /** Stores what this request changed, now. A session that ended meanwhile stays ended: dropped, or SESSION_ENDED if `onEnded` is 401. */
  save(session: S): Promise<void> {
    return this.#asked(session, (open) => {
      try {
        return this.#storing(open);
      } catch (error) {
        open.isTold = true;
        return Promise.reject(error);
      }
    });
  }

  /** Shows what is stored now, in a new object. What wasn't saved is forgotten. Rejects with SESSION_ENDED if nothing is stored. */
  reload(session: S): Promise<void> {
    return this.#turning.reload(session);
  }

  /**
   * Ends the session and puts a new, empty one with a new id in its place. Rejects with SESSION_ENDED if somebody else had ended it:
   * a slow request can't carry an ended session over to a new id.
   */
  regenerate(session: S): Promise<void> {
    return this.#asked(session, (open) => this.#turning.regenerate(open));
  }

  /** Ends the session and gives its attributes a new id, in one step where the engine can. Rejects as `regenerate` does. */
  renewId(session: S): Promise<void> {
    return this.#asked(session, (open) => this.#turning.renewId(open));
  }

  /** A person signs in: a new session object, and id, with the attributes that are to be kept. See PersonSession.login. */
  login(session: S, user: string, options: LoginOptions): Promise<void> {
    return this.#asked(session, (open) => this.#turning.login(open, user, options));
  }

  /** A new id, and a grace for the old one. Nothing is to be done for a session that isn't stored, or was rotated just now. */
  rotate(session: S, options: RotateOptions): Promise<void> {
    return this.#asked(session, (open) => this.#turning.rotate(open, options));
  }

  /** Stores what changed, now: see `settle`. */
  commit(session: S): Promise<void> {
    return this.#asked(session, async () => this.settle(200));
  }

  /** The session's signal was asked for. */
  watch(session: S): void {
    const open = this.#place.current;
    if (session === open?.session) open.watch();
  }

  /** Ends the session, for good; the browser is told to forget its cookie. */
  end(session: S): Promise<void> {
    return this.#asked(session, (open) => {
      this.#host.place(undefined, true);
      open.wantEnd();
      return this.#turning.finish(open);
    });
  }

  #asked(session: S, task: (open: OpenSession<S>) => Promise<void>): Promise<void> {
    if (this.readonly) {
      return Promise.reject(new AnynodeError("SESSION_READONLY", "This request may only read its session (option readonly)."));
    }
    const open = this.#place.current;
    if (session === open?.session) {
      // Put back after its end, it is another session: see Place.kept.
      const work = task(open.end === "done" ? (this.#place.kept() ?? open) : open);
      const { answered } = this.#host;
      return answered === undefined ? work : work.then(answered);
    }
    return Promise.reject(
      new AnynodeError(
        "SESSION_ENDED",
        "This session object was replaced by regenerate() or reload(). Use the request's new one.",
      ),
    );
  }

  get #turning(): Turnover<Req, S> {
    this.#turnover ??= new Turnover(this.#sessions, this.#settings, this.#host, this.#place, this.#turns);
    return this.#turnover;
  }

  // ── Before the first byte, and after ──────────────────────────────────────────────────────────────────────────────

  /**
   * Stores what the request changed. Once it is over, without an error, the response may go out, with the Set-Cookie line that
   * `cookieLine` gives. `status`: of the response. At once where there is nothing to store.
   */
  settle(status: number): MaybePromise<void> {
    const { over } = this.#turns;
    if (over !== undefined) return over.then(() => this.settle(status));
    const open = this.#place.current;
    if (open === undefined) return;
    // A failure that the application knows of, and says so, isn't told again.
    if (status >= 400 && open.end !== "done" && open.failure !== undefined) return this.#bakeFailed(open);
    const kept = this.#place.kept();
    if (kept === undefined) return this.#settleUnset(open, status);
    if (kept.end === "lost") {
      this.#line = undefined;
      return status >= 400 ? undefined : this.#dropped();
    }
    try {
      return this.#settleKept(kept);
    } catch (error) {
      this.#bakeFailed(kept);
      if (status >= 400 && kept.isTold) return;
      kept.isTold = true;
      throw error;
    }
  }

  #settleKept(open: OpenSession<S>): MaybePromise<void> {
    const { loaded } = open;
    const changes = open.changes();
    const news = open.news();
    const isChanged = changes.size > 0 || news !== NO_NEWS;
    if (this.#settled === open && !isChanged) return;
    const isDue = isChanged || (loaded === undefined && this.#settings.saveUninitialized);
    // What may have happened must not happen twice.
    if (open.failure !== undefined && isDue) throw open.failure.error;
    this.#settled = open;
    this.#line = undefined;
    if (isDue) {
      return this.#storing(open).then(
        () => this.#bake(open, news !== NO_NEWS),
        (error: unknown) => {
          this.#bakeFailed(open);
          throw error;
        },
      );
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

  #settleUnset(open: OpenSession<S>, status: number): MaybePromise<void> {
    this.#line = undefined;
    if (open.end === "lost" || (open.end === "none" && !this.#host.endsUnset)) return;
    if (open.end === "done") return this.#bakeForgetting();
    open.wantEnd();
    // Only then does it show whether there is another session in its place.
    return this.#turning.finish(open).then(() => this.settle(status));
  }

  /** After the first byte: what changed since is committed, and reported; the response can't tell any more. Never rejects. */
  settleLate(): MaybePromise<void> {
    const { over } = this.#turns;
    if (over !== undefined) return over.then(() => this.settleLate());
    const open = this.#place.current;
    if (open === undefined || open.end === "lost") return;
    try {
      const kept = this.#place.kept();
      if (kept === undefined) {
        return open.end === "done" || !this.#host.endsUnset ? undefined : this.#late(open, this.#turning.finish(open));
      }
      const isChanged = kept.changes().size > 0 || kept.news() !== NO_NEWS;
      if (isChanged) return this.#late(kept, kept.failure ? Promise.reject(kept.failure.error) : this.#storing(kept));
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

  /** What is stored is what the session is now, however long its turn is in coming. Throws for what can't be stored. */
  #storing(open: OpenSession<S>): Promise<void> {
    const save = open.saving();
    return this.#turns.take(async () => {
      await save();
      if (open.end === "lost") this.#dropped();
    });
  }

  #dropped(): void {
    if (this.#settings.refusesEnded) throw endedMeanwhile();
  }

  // ── The cookie ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The Set-Cookie line that the response carries, if any. */
  get cookieLine(): string | undefined {
    return this.#line;
  }

  /** Where the last change couldn't be stored: a session that the browser doesn't know yet is there all the same. */
  #bakeFailed(open: OpenSession<S>): void {
    this.#line = undefined;
    const isPresented = this.#place.presented?.sid === open.sid;
    if (open.loaded !== undefined && open.end === "none" && !isPresented) this.#bake(open, false);
  }

  /** Makes the line of what is stored by now, whatever else there is to store: for a response that nothing holds. */
  bakeNow(): void {
    const open = this.#place.current;
    this.#line = undefined;
    if (open?.end === "done") this.#bakeForgetting();
    else if (open?.loaded !== undefined) this.#bake(open, true);
  }

  #isCookieDue(open: OpenSession<S>, isChanged: boolean): boolean {
    if (this.#settings.rolling || isChanged) return true;
    const { presented } = this.#place;
    if (presented === undefined || presented.reissue || presented.sid !== open.sid) return true;
    return open.hasNews || (open.hasStored && open.cookie.originalMaxAge !== null);
  }

  #bake(open: OpenSession<S>, isChanged: boolean): void {
    this.#settled = this.#place.current;
    this.#line = undefined;
    if (open.end === "lost") this.#dropped();
    // An id that was rotated away is never given out again: the browser has, or gets, the new one.
    if (open.end !== "none" || open.hasMoved || !this.#isCookieDue(open, isChanged)) return;
    const { cookie, sid } = open;
    const { carrier } = this.#host;
    if (carrier !== undefined) {
      carrier.set(sid);
      return;
    }
    const { signer } = this.#settings;
    // A browser drops a secure cookie that comes over an insecure connection; and its text would have been read on the way.
    if ((cookie.secure || signer.isSecure) && !this.#host.isSecure()) return;
    cookie.reset(this.lives?.absoluteMs);
    this.#line = signer.line(sid, cookie, this.#place.presented);
  }

  #bakeForgetting(): void {
    const { forget } = this.#place;
    // What took its place sets the cookie of its own.
    if (forget === undefined || this.#host.carrier !== undefined || this.#place.isOthers) return;
    this.#line = this.#settings.signer.clearing(forget);
  }
}
