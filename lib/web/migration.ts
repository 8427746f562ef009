/**
 * Moving in without logging anyone out (`migrateFrom`): a session that isn't in our engine is looked up in the store that had it before,
 * and adopted in one atomic step; from then on it is ours. The former store is asked for a session as long as we don't have it, and
 * keeps its own until the session ends: nodes of the former kind go on serving it.
 * The invariant: what was adopted, changed or ended here is never overwritten by what the former store still has.
 */
import { within } from "../clock.js";
import { AnynodeError } from "../errors.js";
import { invalid, shown } from "../options.js";
import { textsOf } from "../session/attributes.js";
import type { Loaded } from "../session/record.js";
import type { Sessions } from "../sessions.js";
import { patchOf } from "./stored-cookie.js";

/** Any store of express-session's: connect-redis, MemoryStore, connect-mongo … */
export interface FormerStore {
  get(sid: string, callback: (error: unknown, session?: object | null) => void): unknown;
  destroy(sid: string, callback?: (error?: unknown) => void): unknown;
}

const COOKIE: ReadonlySet<string> = new Set(["cookie"]);

export class Migration {
  readonly #sessions: Sessions;
  readonly #former: FormerStore;

  constructor(sessions: Sessions, former: FormerStore) {
    this.#sessions = sessions;
    this.#former = former;
  }

  /**
   * The session of an id as it is here now, after it was adopted if the former store has it; undefined if it hasn't, or if the session was ended
   * here. Rejects if the former store fails, or doesn't answer within `deadlineMs`: never "no session" in place of a real one.
   */
  async adopt(sid: string): Promise<Loaded | undefined> {
    const data = await this.#asked<object | null | undefined>((done) => this.#former.get(sid, done));
    if (typeof data !== "object" || data === null) return undefined;
    const adopted = await this.#sessions.adopt(sid, textsOf(data, COOKIE), patchOf(Reflect.get(data, "cookie")));
    // It was ended here without the former store's knowing: by sessions.end(), by another application.
    if (adopted === undefined) await this.forget(sid);
    return adopted;
  }

  /**
   * The former store forgets a session that is about to end here, or it would be adopted again once our ended mark is gone. Before, not
   * after: if this fails the session still lives, and whoever ends it can try again.
   */
  forget(sid: string): Promise<void> {
    return this.#asked<void>((done) => this.#former.destroy(sid, done));
  }

  #asked<T>(start: (done: (error: unknown, value: T) => void) => unknown): Promise<T> {
    const asked = new Promise<T>((resolve, reject) => {
      const failed = (cause: unknown) =>
        reject(new AnynodeError("ENGINE_UNAVAILABLE", "The former session store (migrateFrom) failed.", { cause }));
      try {
        const returned = start((error, value) => (error && !isNone(error) ? failed(error) : resolve(value)));
        // Some answer by promise as well: a rejection that nobody hears would end the process.
        if (returned instanceof Promise) returned.catch(failed);
      } catch (error) {
        failed(error);
      }
    });
    return within(this.#sessions.clock, this.#sessions.deadlineMs, asked);
  }
}

/** The option `migrateFrom`, checked. */
export function migrationGiven(sessions: Sessions, store: FormerStore | undefined): Migration | undefined {
  if (store === undefined) return undefined;
  const isStore =
    typeof store === "object" && store !== null && typeof store.get === "function" && typeof store.destroy === "function";
  if (isStore) return new Migration(sessions, store);
  throw invalid(
    `The option migrateFrom is ${shown(store)}; it must be the store that has the sessions now, with the functions get and destroy: e.g. new RedisStore({ client }).`,
  );
}

/** Stores in files say so of a session that they don't have, and express-session takes it as that. */
function isNone(error: unknown): boolean {
  return typeof error === "object" && error !== null && Reflect.get(error, "code") === "ENOENT";
}
