/**
 * The external store for koa-session (`store: new AnynodeKoaStore()`): koa-session keeps the cookie, anynode keeps the session.
 * What a request loaded is paired with what it saves by its `ctx`; a call without one replaces the whole record.
 */
import { AnynodeError } from "../errors.js";
import { hidden } from "../hidden.js";
import { type AnynodeOptions, anynode } from "../index.js";
import { type AttributeTexts, objectOf, textsOf } from "../session/attributes.js";
import { Sessions } from "../sessions.js";
import { tellVisitor } from "../visitor.js";
import { Origin } from "./origin.js";
import { cookieOf, patchOf } from "./stored-cookie.js";

/** What koa-session hands over with every call. */
export interface KoaStoreOptions {
  ctx?: object | undefined;
  changed?: boolean | undefined;
  rolling?: boolean | undefined;
}

/** Members of koa-session's Session; an attribute of that name would replace a method, or be swallowed. It keeps no name with a leading _. */
const RESERVED: ReadonlySet<string> = new Set([
  ...["isNew", "save", "regenerate", "manuallyCommit", "commit", "maxAge"],
  ...["externalKey", "length", "populated", "toJSON", "inspect"],
]);
const PRIVATE: ReadonlySet<string> = new Set(["_expire", "_maxAge", "_session"]);

/** The sessions that one request works on. `lost`: one of them was ended by somebody else while the request worked on it. */
interface Work {
  readonly origins: Map<string, Origin>;
  lost: boolean;
}

export class AnynodeKoaStore {
  /** The sessions behind this store: `ready()`, `registry`, `on()`, `update()`, `drain()`, `close()`. */
  readonly sessions: Sessions;
  readonly #works = hidden<Work>();

  /** With sessions made by `anynode()`, or with its options. `new AnynodeKoaStore()` keeps sessions in `./data/sessions` (LMDB). */
  constructor(sessions: Sessions | AnynodeOptions = {}) {
    this.sessions = sessions instanceof Sessions ? sessions : anynode(sessions);
  }

  /** The session of a key, as plain data; undefined if there is none. */
  async get(key: string, _maxAge?: unknown, { ctx }: KoaStoreOptions = {}): Promise<Record<string, unknown> | undefined> {
    const loaded = await this.sessions.load(key);
    if (loaded === undefined) return undefined;
    const attributes = shown(loaded.record.attributes);
    const origin = new Origin(this.sessions, key, loaded, attributes);
    if (ctx !== undefined) this.#workOf(ctx).origins.set(key, origin);
    const { originalMaxAge } = cookieOf(loaded.record.header);
    if (originalMaxAge === null) {
      // koa-session never touches a session that it doesn't save, but one without maxAge lives by our idle timeout.
      await origin.touch({});
      return { ...objectOf(attributes), _session: true };
    }
    return { ...objectOf(attributes), _expire: Date.now() + this.sessions.remainingMs(loaded), _maxAge: originalMaxAge };
  }

  /**
   * Stores what changed since `get` of the same `ctx`. Never skips data on `changed: false`, which koa-session says on `save()` although
   * data changed. Rejects with SESSION_ENDED if the request wants to carry a session that somebody else ended over to another key.
   */
  async set(key: string, session: object, maxAge?: unknown, { ctx }: KoaStoreOptions = {}): Promise<void> {
    const texts = textsOf(session, PRIVATE);
    for (const name of texts.keys()) {
      if (RESERVED.has(name)) {
        throw new AnynodeError("ATTRIBUTE_INVALID", `"${name}" can't be an attribute: koa-session needs it. Rename it.`);
      }
    }
    const own: unknown = Reflect.get(session, "_maxAge");
    const originalMaxAge = typeof own === "number" ? own : typeof maxAge === "number" ? maxAge : null;
    const origin = this.#originOf(key, ctx);
    // koa-session keeps its cookie's settings to itself; those that another front end stored stay.
    const settings = origin.header === undefined ? { httpOnly: true, path: "/" } : cookieOf(origin.header);
    await origin.save(texts, patchOf({ ...settings, originalMaxAge }));
  }

  /** Ends the session, for good. */
  async destroy(key: string, { ctx }: KoaStoreOptions = {}): Promise<void> {
    const { ended } = await this.sessions.end(key);
    const work = ctx === undefined ? undefined : this.#works.get(ctx);
    if (work?.origins.get(key)?.stored && !ended) work.lost = true;
    work?.origins.delete(key);
  }

  #workOf(ctx: object): Work {
    const known = this.#works.get(ctx);
    if (known !== undefined) return known;
    const fresh: Work = { origins: new Map(), lost: false };
    this.#works.set(ctx, fresh);
    // The key that it was given last: regenerating gives a new one.
    const sid = () => [...fresh.origins.keys()].at(-1);
    const req: unknown = Reflect.get(ctx, "req");
    for (const whose of [ctx, req]) if (typeof whose === "object" && whose !== null) tellVisitor(whose, sid);
    return fresh;
  }

  #originOf(key: string, ctx: object | undefined): Origin {
    if (ctx === undefined) return new Origin(this.sessions, key);
    const work = this.#workOf(ctx);
    const known = work.origins.get(key);
    if (known !== undefined) return known;
    if (work.lost) {
      throw new AnynodeError(
        "SESSION_ENDED",
        "The session ended while a request wanted to regenerate it; nothing was carried over.",
      );
    }
    const fresh = new Origin(this.sessions, key, undefined, undefined, true);
    work.origins.set(key, fresh);
    return fresh;
  }
}

/** What a koa-session Session shows of a record: names that it can't take (another front end may have stored them) stay out of its way. */
function shown(attributes: AttributeTexts): AttributeTexts {
  return new Map([...attributes].filter(([name]) => !RESERVED.has(name) && !name.startsWith("_")));
}
