/**
 * A session object and what is behind it: the record that was loaded, what of the object's changes is stored by now, and its cookie.
 * A request works on one of these at a time.
 */
import type { CommitOutcome } from "../commits.js";
import type { MaybePromise } from "../engines/engine.js";
import { AnynodeError } from "../errors.js";
import type { Sid } from "../names.js";
import { type AttributeTexts, type Changes, NO_CHANGES } from "../session/attributes.js";
import { since, withChanges } from "../session/changes.js";
import type { Loaded } from "../session/record.js";
import { Session } from "../session/session.js";
import type { HeaderPatch, Sessions } from "../sessions.js";
import type { Host } from "./host.js";
import { type CookieSettings, cookieFrom, SessionCookie } from "./session-cookie.js";
import { cookieOf, patchOf } from "./stored-cookie.js";
import { Watch } from "./watch.js";

export const NO_TEXTS: AttributeTexts = new Map();
export const NO_NEWS: HeaderPatch = {};

export class OpenSession<S extends Session> {
  readonly session: S;
  readonly #sessions: Sessions;
  readonly #host: Host<S>;
  /** What the options say of a new session's cookie. */
  readonly #defaults: CookieSettings;
  /** The id was made by the application: nobody knows whether it is a new one. */
  readonly #hasForeignId: boolean;
  #loaded: Loaded | undefined;
  #stored: Changes = NO_CHANGES;
  #cookie: SessionCookie | undefined;
  #watch: Watch | undefined;
  /** What a save was told that the application may have ignored. */
  failure: { readonly error: unknown } | undefined;
  /** Whether somebody was told that something of this can't be stored; the engine wasn't asked. */
  isTold = false;
  /** Whether this request has stored other settings of the cookie. */
  hasNews = false;
  #end: "none" | "wanted" | "done" | "lost" = "none";

  constructor(
    sessions: Sessions,
    host: Host<S>,
    { defaults, sid, isForeign }: { defaults: CookieSettings; sid: Sid | undefined; isForeign: boolean },
    loaded?: Loaded,
  ) {
    this.#sessions = sessions;
    this.#host = host;
    this.#defaults = defaults;
    this.#hasForeignId = isForeign;
    this.#loaded = loaded;
    this.session = host.make(loaded?.record.attributes ?? NO_TEXTS, sid, loaded === undefined);
  }

  /** `wanted`: by this request, but the engine hasn't confirmed it. `lost`: somebody else ended the session, or it expired. */
  get end(): "none" | "wanted" | "done" | "lost" {
    return this.#end !== "done" && Session.isEnded(this.session) ? "lost" : this.#end;
  }

  /** This request wants the session to end. */
  wantEnd(): void {
    if (this.#end === "none") this.#end = "wanted";
  }

  get sid(): Sid {
    return Session.sidOf(this.session);
  }
  /** Undefined while nothing is stored. */
  get loaded(): Loaded | undefined {
    return this.#loaded;
  }
  /** Whether this request has stored changes of the attributes. */
  get hasStored(): boolean {
    return this.#stored.size > 0;
  }

  get cookie(): SessionCookie {
    this.#cookie ??=
      this.#loaded === undefined
        ? new SessionCookie(this.#defaults, this.#host.isSecure())
        : new SessionCookie(
            { ...cookieOf(this.#loaded.record.header) },
            this.#host.isSecure(),
            this.#sessions.remainingMs(this.#loaded),
          );
    return this.#cookie;
  }
  replaceCookie(value: unknown): void {
    if (typeof value === "object" && value !== null) this.#cookie = cookieFrom(value, this.#host.isSecure());
  }

  /** What the request did to the attributes and hasn't stored. Throws ATTRIBUTE_INVALID for what can't be stored. */
  changes(): Changes {
    return since(this.#stored, Session.changesOf(this.session, this.#host.own));
  }

  /** What the request did to its cookie's settings; one that nobody looked at hasn't changed. */
  news(): HeaderPatch {
    if (this.#cookie === undefined || this.#loaded === undefined) return NO_NEWS;
    const known = this.#loaded.record.header.cookie;
    const patch = patchOf(this.#cookie, known);
    return patch.cookie === known ? NO_NEWS : patch;
  }

  /** All attributes as they would be stored. */
  texts(): AttributeTexts {
    return withChanges(this.#loaded?.record.attributes ?? NO_TEXTS, this.changes());
  }

  /** Takes down what is to be stored, for a turn that may come later. */
  saving(): () => Promise<void> {
    this.#host.storing(this.session);
    const wanted = Session.changesOf(this.session, this.#host.own);
    const news = this.news();
    return () => this.#save(wanted, news);
  }

  async #save(wanted: Changes, news: HeaderPatch): Promise<void> {
    if (this.end !== "none") return;
    try {
      const outcome = await (this.#loaded === undefined
        ? this.create(this.sid, withChanges(NO_TEXTS, wanted))
        : this.#sessions.save(this.#loaded, since(this.#stored, wanted), news));
      this.failure = undefined;
      this.isTold = false;
      this.#stored = wanted;
      if (news !== NO_NEWS) this.hasNews = true;
      this.settled(outcome);
    } catch (error) {
      this.failure = { error };
      throw error;
    }
  }

  create(sid: Sid, texts: AttributeTexts): Promise<CommitOutcome> {
    const patch = { ...patchOf(this.cookie), isBounded: true };
    return this.#hasForeignId ? this.#sessions.replace(sid, texts, patch) : this.#sessions.create(sid, texts, patch);
  }

  /** Extends the stored session's life: at once while that is only remembered. */
  touch(loaded: Loaded): MaybePromise<void> {
    const outcome = this.#sessions.touch(loaded);
    return outcome instanceof Promise ? outcome.then((settled) => this.settled(settled)) : this.settled(outcome);
  }

  /** Looks whether somebody has ended the session since it was loaded. */
  look(): MaybePromise<void> {
    const now = this.#sessions.load(this.sid);
    const seen = (found: Loaded | undefined): void => {
      if (found === undefined) this.lose();
      else this.#loaded = found;
    };
    return now instanceof Promise ? now.then(seen) : seen(now);
  }

  settled(outcome: CommitOutcome): void {
    if (outcome.outcome === "committed") this.#loaded = outcome.loaded;
    else this.lose();
  }

  /** Whether the session goes on under another id than the one that this request knows. */
  get hasMoved(): boolean {
    return this.#loaded !== undefined && !this.#sessions.isCurrent(this.sid, this.#loaded);
  }

  /** From now on an end elsewhere aborts the session object's signal. Of what isn't stored there is none. */
  watch(): void {
    if (this.#watch !== undefined || this.#loaded === undefined || this.end !== "none") return;
    const lasting = this.#host.lasting();
    if (lasting !== undefined) this.#watch = new Watch(this.#sessions, this.session, lasting);
  }
  /** Whether it did. */
  unwatch(): boolean {
    const watched = this.#watch !== undefined;
    this.#watch?.stop();
    this.#watch = undefined;
    return watched;
  }

  /** Somebody else ended the session. */
  lose(): void {
    this.#end = "lost";
    Session.tellEnded(this.session);
  }

  /** Ends the stored session; that somebody else has done so is as good. */
  async finish(): Promise<void> {
    if (this.end === "done" || this.end === "lost") return;
    if (this.#loaded !== undefined) await this.#sessions.end(this.sid);
    this.over();
  }

  /** Ends the stored session. Rejects with SESSION_ENDED if somebody else has done so. */
  async release(): Promise<void> {
    if (this.#loaded !== undefined) {
      const { ended } = await this.#sessions.end(this.sid);
      if (!ended) {
        this.lose();
        throw endedMeanwhile();
      }
    }
    this.over();
  }

  over(): void {
    this.#end = "done";
    this.#loaded = undefined;
    Session.tellEnded(this.session);
  }
}

export function endedMeanwhile(): AnynodeError {
  return new AnynodeError(
    "SESSION_ENDED",
    "The session ended while the request worked on it; nothing of it was stored or carried over.",
  );
}
