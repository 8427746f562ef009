/**
 * What an express-session store promises to whoever calls it. Where express-session's own MemoryStore should agree, the same tests run on
 * it: that shows that the expectation is right.
 */
import { AnynodeStore } from "anynode/express-session";
import session from "express-session";
import { anynode } from "../../lib/index.js";
import { MEDIA } from "../support/media.js";
import { type Stored, type StoreUnderTest, storeBasics } from "../support/store-basics.js";

describe("MemoryStore agrees", () => {
  storeBasics(async () => {
    const store = new session.MemoryStore();
    return { store: promised(store), close: async () => {} };
  });
});

for (const kind of MEDIA) {
  describe(`AnynodeStore on ${kind.name}`, () => {
    beforeAll(kind.start);
    afterAll(kind.stop);
    storeBasics(async () => {
      const medium = await kind.medium();
      const sessions = anynode({ engine: medium.engine(), keyring: ["plain"] });
      const store = new AnynodeStore(sessions);
      return {
        store: promised(store),
        async close() {
          await sessions.close();
          await medium.remove();
        },
      };
    });
  });
}

/** A store by its callbacks, which is how hosts call it. */
function promised(store: session.MemoryStore | AnynodeStore): StoreUnderTest {
  return {
    get: (sid) => settled((done) => store.get(sid, (error, data) => done(error, plain(data)))),
    set: (sid, data) => settled((done) => Reflect.apply(store.set, store, [sid, data, done])),
    touch: (sid, data) => settled((done) => Reflect.apply(store.touch, store, [sid, data, done])),
    destroy: (sid) => settled((done) => store.destroy(sid, done)),
    all: () =>
      settled((done) => Reflect.apply(store.all, store, [(error: unknown, all: object) => done(error, Object.values(all))])),
    length: () => settled((done) => store.length(done)),
    clear: () => settled((done) => store.clear(done)),
    createSession: (sid, data) => Reflect.apply(store.createSession, store, [{ sessionID: sid, sessionStore: store }, data]),
  };
}

function plain(data: object | null | undefined): Stored | undefined {
  return data === null || data === undefined ? undefined : { cookie: {}, ...data };
}

function settled<T>(start: (done: (error?: unknown, value?: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => {
      if (error) reject(error);
      else Reflect.apply(resolve, undefined, [value]);
    });
  });
}
