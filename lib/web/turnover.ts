/**
 * What takes the place of a request's session because a handler asks for it: what is stored now, a new session, the same under a new id, a
 * person's, or none. Each in its turn.
 */
import type { CommitOutcome } from "../commits.js";
import { AnynodeError } from "../errors.js";
import type { Sid } from "../names.js";
import { whole } from "../options.js";
import { makeSid } from "../session/id.js";
import type { Loaded } from "../session/record.js";
import { Session } from "../session/session.js";
import type { Sessions } from "../sessions.js";
import type { FrontSettings, Incoming } from "./front-options.js";
import type { Host } from "./host.js";
import { endedMeanwhile, type OpenSession } from "./open-session.js";
import type { LoginOptions, RotateOptions } from "./person-session.js";
import type { Place } from "./place.js";
import { SessionCookie } from "./session-cookie.js";
import { patchOf } from "./stored-cookie.js";
import type { Turns } from "./turns.js";

const GRACE_MS = 10_000;
/** An old id that leads to a session for longer is a second id. */
const MAX_GRACE_MS = 60_000;

export class Turnover<Req extends Incoming, S extends Session> {
  readonly #sessions: Sessions;
  readonly #settings: FrontSettings<Req>;
  readonly #host: Host<S>;
  readonly #place: Place<Req, S>;
  readonly #turns: Turns;

  constructor(sessions: Sessions, settings: FrontSettings<Req>, host: Host<S>, place: Place<Req, S>, turns: Turns) {
    this.#sessions = sessions;
    this.#settings = settings;
    this.#host = host;
    this.#place = place;
    this.#turns = turns;
  }

  /** See Lifecycle, for these. */
  reload(session: S): Promise<void> {
    return this.#turns.take(async () => {
      const sid = Session.sidOf(session);
      const loaded = await this.#sessions.load(sid);
      if (loaded === undefined) {
        throw new AnynodeError("SESSION_ENDED", "There is no stored session to reload: it ended, or never was.");
      }
      this.#place.show(sid, loaded);
    });
  }

  regenerate(open: OpenSession<S>): Promise<void> {
    return this.#turns.take(async () => {
      const to = this.#place.generated();
      await this.#forgotten(open);
      await open.release();
      this.#place.left(open);
      this.#place.show(to);
    });
  }

  renewId(open: OpenSession<S>): Promise<void> {
    return this.#turns.take(async () => {
      const to = this.#place.generated() ?? makeSid(open.sid);
      this.#host.storing(open.session);
      const texts = open.texts();
      await this.#forgotten(open);
      const outcome = await (open.loaded === undefined
        ? open.create(to, texts)
        : this.#sessions.regenerate(open.sid, open.loaded, to, texts, open.news()));
      this.#moved(open, to, outcome);
    });
  }

  login(open: OpenSession<S>, user: string, { keep = [], remember = false }: LoginOptions): Promise<void> {
    return this.#turns.take(async () => {
      const to = this.#place.generated() ?? makeSid(open.sid);
      const cookie = new SessionCookie(this.#place.cookieSettings, this.#host.isSecure());
      const { idleMs, absoluteMs } = this.#settings.remember;
      if (remember) cookie.maxAge = idleMs;
      const before = open.texts();
      this.#host.storing(open.session);
      await this.#forgotten(open);
      const outcome = await this.#sessions.login(open.loaded && open.sid, open.loaded, to, {
        user,
        // And what the application adds to whatever is stored.
        attributes: new Map([...open.texts()].filter(([name, text]) => keep.includes(name) || before.get(name) !== text)),
        patch: patchOf(cookie),
        absoluteMs: remember ? absoluteMs : undefined,
        client: this.#host.client(),
      });
      this.#moved(open, to, outcome);
    });
  }

  /** The session of that id takes the place of the one that was open. */
  #moved(open: OpenSession<S>, to: Sid, outcome: CommitOutcome): void {
    const loaded = loadedOf(open, outcome);
    open.over();
    this.#place.left(open);
    this.#place.show(to, loaded);
  }

  rotate(open: OpenSession<S>, { graceMs = GRACE_MS }: RotateOptions): Promise<void> {
    whole("graceMs", graceMs, 1, MAX_GRACE_MS);
    const save = open.loaded === undefined ? undefined : open.saving();
    return this.#turns.take(async () => {
      await save?.();
      const { loaded, sid } = open;
      if (loaded === undefined || open.end !== "none" || open.hasMoved) return;
      const to = this.#place.generated() ?? makeSid(sid);
      await this.#forgotten(open);
      // Whoever works on the session in this request goes on with it under the new id.
      const isWatched = open.unwatch();
      const outcome = await this.#sessions.rotate(sid, loaded, to, graceMs).catch((error: unknown) => {
        if (isWatched) open.watch();
        throw error;
      });
      const moved = loadedOf(open, outcome);
      this.#place.show(this.#sessions.isCurrent(to, moved) ? to : sid, moved);
      if (isWatched) this.#watchAs(open.session);
    });
  }

  #watchAs(before: S): void {
    const { current } = this.#place;
    if (current === undefined) return;
    Session.passSignal(before, current.session);
    current.watch();
  }

  /** Ends the session that this request wants to end. */
  finish(open: OpenSession<S>): Promise<void> {
    return this.#turns.take(async () => {
      try {
        await this.#forgotten(open);
        await open.finish();
      } catch (error) {
        open.failure = { error };
        throw error;
      }
      this.#place.left(open);
    });
  }

  /** The store that had the session before forgets an id that ends here, or is left for another one. */
  #forgotten(open: OpenSession<S>): Promise<void> | undefined {
    const isThere = open.loaded !== undefined && (open.end === "none" || open.end === "wanted");
    return isThere ? this.#settings.migration?.forget(open.sid) : undefined;
  }
}

/** What is stored now. Throws SESSION_ENDED if somebody else ended the session meanwhile. */
function loadedOf<S extends Session>(open: OpenSession<S>, outcome: CommitOutcome): Loaded {
  if (outcome.outcome === "committed") return outcome.loaded;
  open.lose();
  throw endedMeanwhile();
}
