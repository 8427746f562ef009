/**
 * The drop-in for express-session: it keeps the cookie, anynode keeps the session. One changed line: `store: new AnynodeStore()`.
 * A session that this store gave out is saved as what its request changed, merged with what others changed; a hidden
 * field of the Session object tells where it comes from. An object of other make replaces the whole record.
 */
import session from "express-session";
import type { MaybePromise } from "../engines/engine.js";
import { AnynodeError } from "../errors.js";
import { hidden } from "../hidden.js";
import { type AnynodeOptions, anynode } from "../index.js";
import { type AttributeTexts, objectOf, textsOf } from "../session/attributes.js";
import type { Loaded } from "../session/record.js";
import { Sessions } from "../sessions.js";
import { answer, answerTogether } from "./callback.js";
import { Origin } from "./origin.js";
import { inOnePacket } from "./packet.js";
import { cookieOf, patchOf } from "./stored-cookie.js";
import { makeTabular } from "./tabular.js";

type Callback<T> = (error: unknown, value?: T) => void;
/** What express-session stores: plain data with a cookie. */
type Data = session.SessionData;
type Request = Parameters<session.Store["createSession"]>[0];

/** The cookie is header, not attribute. The rest is what the Session object itself needs: such an attribute would break its requests. */
const COOKIE: ReadonlySet<string> = new Set(["cookie"]);
const RESERVED: ReadonlySet<string> = new Set([
  ...["id", "req", "save", "reload", "regenerate", "destroy", "touch", "resetMaxAge"],
  ...Object.getOwnPropertyNames(Object.prototype),
]);

export class AnynodeStore extends session.Store {
  /** The sessions behind this store: `ready()`, `registry`, `on()`, `update()`, `drain()`, `close()`. */
  readonly sessions: Sessions;
  readonly #given = hidden<Origin>();
  readonly #origins = hidden<Origin>();

  /** With sessions made by `anynode()`, or with its options. `new AnynodeStore()` keeps sessions in `./data/sessions` (LMDB). */
  constructor(sessions: Sessions | AnynodeOptions = {}) {
    super();
    this.sessions = sessions instanceof Sessions ? sessions : anynode(sessions);
  }

  /** The session of an id, as plain data that belongs to the caller; undefined if there is none. */
  override get(sid: string, callback?: Callback<Data | undefined>): Promise<Data | undefined> {
    return answerTogether(this.#get(sid), callback);
  }

  /** Stores what changed. A session that ended meanwhile stays ended (event `write-dropped`), and that is no error. */
  override set(sid: string, session: Data, callback?: Callback<void>): Promise<void> {
    return answer(inOnePacket(session, this.#set(sid, session), callback), callback);
  }

  /** Extends the session's life, and stores its cookie settings if they changed. Mostly costs nothing. */
  override touch(sid: string, session: Data, callback?: Callback<void>): Promise<void> {
    const origin = this.#originOf(sid, session);
    return answer(origin.touch(patchOf(session.cookie, origin.cookie)), callback);
  }

  /** Ends the session, for good. */
  override destroy(sid: string, callback?: Callback<void>): Promise<void> {
    return answer(
      this.sessions.end(sid).then(() => {}),
      callback,
    );
  }

  /** All live sessions as plain data. Their ids aren't among it: the engine holds only hashes of them. */
  override all(callback?: Callback<Data[]>): Promise<Data[]> {
    return answer(
      this.#collect((loaded) => this.#dataOf(loaded)),
      callback,
    );
  }

  /** One name for each live session: the key of its record, from which nobody gets back to its id. */
  ids(callback?: Callback<string[]>): Promise<string[]> {
    return answer(
      this.#collect(({ key }) => key),
      callback,
    );
  }

  /** How many live sessions there are. */
  override length(callback?: Callback<number>): Promise<number> {
    return answer(
      this.#collect(() => 0).then((all) => all.length),
      callback,
    );
  }

  /** Ends every live session. */
  override clear(callback?: Callback<void>): Promise<void> {
    return answer(this.#clear(), callback);
  }

  /**
   * Ends the request's session and gives it a new one. If another request ended the session that this one works on, e.g. by a sign-out,
   * nothing is made anew: the callback gets SESSION_ENDED, so that a slow request can't carry an ended session over to a new id.
   */
  override regenerate(req: Request, callback: (error?: unknown) => unknown): void {
    const origin = req.session === undefined ? undefined : this.#origins.get(req.session);
    void answer(this.#release(req.sessionID, origin), (error) => {
      if (!error) generate(this, req);
      callback(error);
    });
  }

  override createSession(req: Request, data: Data): session.Session & Data {
    makeTabular(req);
    const origin = this.#given.get(data);
    const made = super.createSession(req, data);
    if (origin !== undefined) this.#origins.set(made, origin);
    return made;
  }

  #get(sid: string): MaybePromise<Data | undefined> {
    const loaded = this.sessions.load(sid);
    return loaded instanceof Promise ? loaded.then((found) => this.#give(sid, found)) : this.#give(sid, loaded);
  }

  #give(sid: string, loaded: Loaded | undefined): Data | undefined {
    if (loaded === undefined) return undefined;
    const attributes = shown(loaded.record.attributes);
    const data = this.#dataOf(loaded, attributes);
    this.#given.set(data, new Origin(this.sessions, sid, loaded, attributes));
    return data;
  }

  #dataOf(loaded: Loaded, attributes = shown(loaded.record.attributes)): Data {
    const cookie = cookieOf(loaded.record.header);
    const expires =
      cookie.originalMaxAge === null ? null : new Date(Date.now() + this.sessions.remainingMs(loaded)).toISOString();
    const data = objectOf(attributes);
    data["cookie"] = { ...cookie, expires };
    if (!isData(data)) throw new AnynodeError("RECORD_UNREADABLE", "A session without a cookie; this is a bug in anynode.");
    return data;
  }

  // Not an async function: the object may change while we wait, so what is stored is what it was when we were asked.
  #set(sid: string, data: Data): Promise<void> {
    try {
      const texts = textsOf(data, COOKIE);
      for (const name of texts.keys()) {
        if (isReserved(name)) {
          throw new AnynodeError("ATTRIBUTE_INVALID", `"${name}" can't be an attribute: the session object needs it. Rename it.`);
        }
      }
      const origin = this.#originOf(sid, data);
      return origin.save(texts, patchOf(data.cookie, origin.cookie));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Ends the session that a request leaves behind. */
  async #release(sid: string, origin: Origin | undefined): Promise<void> {
    const { ended } = await this.sessions.end(sid);
    if (!ended && origin?.stored && origin.sid === sid) {
      throw new AnynodeError(
        "SESSION_ENDED",
        "The session ended while a request wanted to regenerate it; nothing was carried over.",
      );
    }
  }

  async #clear(): Promise<void> {
    for await (const loaded of this.sessions.list()) await this.sessions.endListed(loaded);
  }

  async #collect<T>(pick: (loaded: Loaded) => T): Promise<T[]> {
    const picked: T[] = [];
    for await (const loaded of this.sessions.list()) picked.push(pick(loaded));
    return picked;
  }

  #originOf(sid: string, data: object): Origin {
    const known = this.#origins.get(data);
    if (known !== undefined && known.sid === sid) return known;
    // Only the host's own object lives on after this call; a plain one is a whole session each time that it comes.
    const own = typeof Reflect.get(data, "save") === "function";
    const fresh = new Origin(this.sessions, sid, undefined, undefined, own);
    if (own) this.#origins.set(data, fresh);
    return fresh;
  }
}

/** What a Session object shows of a record: names that it can't take (another front end may have stored them) stay out of its way. */
function shown(attributes: AttributeTexts): AttributeTexts {
  for (const name of attributes.keys()) {
    if (isReserved(name) || COOKIE.has(name)) {
      return new Map([...attributes].filter(([name]) => !isReserved(name) && !COOKIE.has(name)));
    }
  }
  return attributes;
}

/** Names that a Session object doesn't take: express-session drops them silently when it loads a session. */
function isReserved(name: string): boolean {
  return RESERVED.has(name);
}

/** express-session's middleware gives every store its `generate`. */
function generate(store: object, req: Request): void {
  if ("generate" in store && typeof store.generate === "function") store.generate(req);
}

function isData(value: object): value is Data {
  return "cookie" in value;
}
