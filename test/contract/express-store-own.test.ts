/** What AnynodeStore promises beyond MemoryStore: calls of every style, refusals that say why, merging, ends that are final, and its cost. */
import { AnynodeStore } from "anynode/express-session";
import type session from "express-session";
import { type AnynodeOptions, anynode, type EventMap } from "../../lib/index.js";
import { startChild } from "../support/child.js";
import { MEDIA, type Medium } from "../support/media.js";
import { until } from "../support/until.js";
import { watchedEngine } from "../support/watched-engine.js";

test("a callback that throws is called once, and its throw is the host's uncaughtException; no style of call rejects unheard", async () => {
  expect(await startChild("callbacks.ts", []).rest()).toEqual(["ok"]);
});

for (const kind of MEDIA) {
  describe(`on ${kind.name}`, () => {
    let medium: Medium;
    const opened: { close(): Promise<void> }[] = [];
    beforeAll(kind.start);
    afterAll(kind.stop);
    beforeEach(async () => {
      medium = await kind.medium();
    });
    afterEach(async () => {
      await Promise.all(opened.splice(0).map((one) => one.close()));
      await medium.remove();
    });

    function newStore(options: AnynodeOptions = {}) {
      const watched = watchedEngine(medium.engine());
      const sessions = anynode({ ...options, engine: watched.engine });
      opened.push(sessions);
      const conflicts: EventMap["conflict"][] = [];
      const dropped: EventMap["write-dropped"][] = [];
      sessions.on("conflict", (event) => conflicts.push(event));
      sessions.on("write-dropped", (event) => dropped.push(event));
      return { store: new AnynodeStore(sessions), sessions, watched, conflicts, dropped };
    }

    /** A script's plain data. */
    const data = (attributes: object, cookie: object = {}) => ({ cookie, ...attributes });
    /** Applications declare what their sessions hold; scripts pass what they like. */
    const set = (store: AnynodeStore, sid: string, plain: object): Promise<void> => Reflect.apply(store.set, store, [sid, plain]);
    const touch = (store: AnynodeStore, sid: string, plain: object): Promise<void> =>
      Reflect.apply(store.touch, store, [sid, plain]);

    /** What a request of the host has: a Session object of that id. */
    async function visit(store: AnynodeStore, sid: string) {
      const found = await store.get(sid);
      if (found === undefined) throw new Error(`no session ${sid}`);
      const made: unknown = Reflect.apply(store.createSession, store, [{ sessionID: sid, sessionStore: store }, found]);
      if (!isSession(made)) throw new Error("no Session");
      return made;
    }

    test("every method answers by promise, too", async () => {
      const { store } = newStore();
      await set(store, "a", data({ name: "x" }));
      expect(await store.get("a")).toMatchObject({ name: "x" });
      await touch(store, "a", data({}));
      expect([await store.all(), await store.length(), await store.ids()]).toEqual([
        [expect.objectContaining({ name: "x" })],
        1,
        [expect.any(String)],
      ]);
      await store.destroy("a");
      await store.clear();
      expect(await store.length()).toBe(0);
    });

    test("ids are names without a way back to the id", async () => {
      const { store } = newStore();
      await set(store, "the secret", data({}));
      const [name] = await store.ids();
      expect(name).not.toContain("the secret");
      expect(await store.get(String(name))).toBeUndefined();
    });

    test("a session without a cookie gets one: the host would crash on it otherwise", async () => {
      const { store } = newStore();
      await set(store, "a", { name: "x" });
      expect(await store.get("a")).toEqual({
        name: "x",
        cookie: expect.objectContaining({ originalMaxAge: null, expires: null }),
      });
      expect((await visit(store, "a")).cookie.originalMaxAge).toBeNull();
    });

    test("maxAge alone, as scripts write it, is the session's life", async () => {
      const { store } = newStore();
      await set(store, "a", data({ name: "x" }, { maxAge: 300 }));
      expect((await store.get("a"))?.cookie.originalMaxAge).toBe(300);
      await until("it expires", async () => (await store.get("a")) === undefined, 900);
    });

    test("without maxAge a session idles for 24 h, or for idleMs", async () => {
      const { store, sessions } = newStore();
      await set(store, "a", data({}));
      const loaded = await sessions.load("a");
      expect(loaded?.record.header.idleMs).toBe(86_400_000);
      const short = newStore({ idleMs: 250 });
      await set(short.store, "b", data({}));
      await until("it expires", async () => (await short.store.get("b")) === undefined, 900);
    });

    test("names that the Session object needs are refused, and the message says which", async () => {
      const { store } = newStore();
      for (const name of [
        "id",
        "req",
        "save",
        "reload",
        "regenerate",
        "destroy",
        "touch",
        "resetMaxAge",
        "toString",
        "valueOf",
      ]) {
        await expect(set(store, "a", data({ [name]: 1 }))).rejects.toMatchObject({
          code: "ATTRIBUTE_INVALID",
          message: expect.stringContaining(`"${name}"`),
        });
      }
      for (const name of ["__proto__", "constructor", "prototype", "n".repeat(257)]) {
        const hostile = data({});
        Object.defineProperty(hostile, name, { value: { admin: true }, enumerable: true });
        await expect(set(store, "a", hostile)).rejects.toMatchObject({ code: "ATTRIBUTE_INVALID" });
      }
      expect(await store.get("a")).toBeUndefined();
    });

    test("such names, stored by another front end, are harmless, and outlive a save", async () => {
      const { store, sessions } = newStore();
      await sessions.replace(
        "a",
        new Map([
          ["save", "1"],
          ["toString", "2"],
          ["cookie", '"x"'],
          ["name", '"x"'],
        ]),
      );
      const one = await visit(store, "a");
      expect(typeof one.save).toBe("function");
      expect(String(one)).toBe("[object Object]");
      expect(Object.keys(one).toSorted()).toEqual(["cookie", "name"]);
      Reflect.set(one, "name", "y");
      await set(store, "a", one);
      const loaded = await sessions.load("a");
      expect(Object.fromEntries(loaded?.record.attributes ?? [])).toEqual({
        save: "1",
        toString: "2",
        cookie: '"x"',
        name: '"y"',
      });
    });

    test("what JSON can't hold is refused whole", async () => {
      const { store } = newStore();
      const cycle: Record<string, unknown> = {};
      cycle["self"] = cycle;
      await expect(set(store, "a", data({ fine: 1, cycle }))).rejects.toMatchObject({ code: "ATTRIBUTE_INVALID" });
      await expect(set(store, "a", data({ big: 1n }))).rejects.toMatchObject({ code: "ATTRIBUTE_INVALID" });
      expect(await store.get("a")).toBeUndefined();
    });

    test("malformed ids cost no engine command and meet nobody's session", async () => {
      const { store, sessions, watched } = newStore();
      await sessions.ready();
      const malformed = ["", "z".repeat(257), "é".repeat(129), "\ud800", "x".repeat(1_000_000)];
      for (const sid of malformed) {
        expect(await store.get(sid)).toBeUndefined();
        await expect(set(store, sid, data({}))).rejects.toMatchObject({ code: "ID_MALFORMED", status: 400 });
        await expect(store.destroy(sid)).rejects.toMatchObject({ code: "ID_MALFORMED" });
        await touch(store, sid, data({}));
      }
      for (const sid of [undefined, null, 7, {}, [], ["a"]]) {
        expect(await Reflect.apply(store.get, store, [sid])).toBeUndefined();
      }
      expect(watched.taken()).toEqual([]);
    });

    test("a request that changed nothing costs one read and no write", async () => {
      const { store, watched } = newStore();
      await set(store, "a", data({ name: "x" }, { originalMaxAge: 60_000 }));
      // The host itself adds its defaults to a script's cookie: stored once.
      await touch(store, "a", await visit(store, "a"));
      watched.taken();
      for (let i = 0; i < 200; i++) {
        const one = await visit(store, "a");
        one.touch();
        await touch(store, "a", one);
        await set(store, "a", one);
      }
      expect([...new Set(watched.taken())]).toEqual(["read"]);
    });

    test("the host's rounding of maxAge by a millisecond or two is not a change", async () => {
      const { store, watched } = newStore();
      await set(store, "a", data({}, { originalMaxAge: 60_000, path: "/", httpOnly: true }));
      await touch(store, "a", await visit(store, "a"));
      watched.taken();
      const one = await visit(store, "a");
      // Its setter reads the clock twice: between the two a millisecond may pass.
      one.cookie.originalMaxAge = 59_999;
      await touch(store, "a", one);
      expect(watched.taken()).toEqual(["read"]);
      expect((await store.get("a"))?.cookie.originalMaxAge).toBe(60_000);
    });

    test("RACE: two requests change different attributes, one deletes a third: all three survive, no conflict", async () => {
      const [a, b] = [newStore(), newStore()];
      await set(a.store, "a", data({ old: 1, kept: 1 }));
      const [one, two] = [await visit(a.store, "a"), await visit(b.store, "a")];
      Reflect.set(one, "mine", 1);
      Reflect.deleteProperty(two, "old");
      await Promise.all([set(a.store, "a", one), set(b.store, "a", two)]);
      const { cookie: _, ...attributes } = (await b.store.get("a")) ?? {};
      expect(attributes).toEqual({ mine: 1, kept: 1 });
      expect([a.conflicts, b.conflicts]).toEqual([[], []]);
    });

    test("the same attribute on both sides: the last one stays, and an event says so", async () => {
      const { store, conflicts } = newStore();
      await set(store, "a", data({ n: 0 }));
      const [one, two] = [await visit(store, "a"), await visit(store, "a")];
      Reflect.set(one, "n", 1);
      Reflect.set(two, "n", 2);
      await set(store, "a", one);
      await set(store, "a", two);
      expect(await store.get("a")).toMatchObject({ n: 2 });
      await until("the event", () => conflicts.length > 0);
      expect(conflicts).toEqual([{ attributes: ["n"] }]);
    });

    test("cookie settings never conflict, not even under reject", async () => {
      const { store, conflicts } = newStore({ conflict: "reject" });
      await set(store, "a", data({ n: 0 }));
      const [one, two] = [await visit(store, "a"), await visit(store, "a")];
      one.cookie.maxAge = 50_000;
      two.cookie.maxAge = 70_000;
      Reflect.set(two, "n", 1);
      await Promise.all([touch(store, "a", one), set(store, "a", two)]);
      expect(await store.get("a")).toMatchObject({ n: 1 });
      expect(conflicts).toEqual([]);
    });

    test("RACE: settings that a request left alone don't undo what another one set meanwhile", async () => {
      const { store } = newStore();
      await set(store, "a", data({ n: 0 }, { originalMaxAge: 60_000, path: "/", httpOnly: true }));
      const [rememberMe, slow] = [await visit(store, "a"), await visit(store, "a")];
      rememberMe.cookie.maxAge = 900_000;
      await touch(store, "a", rememberMe);
      Reflect.set(slow, "n", 1);
      await set(store, "a", slow);
      await touch(store, "a", slow);
      const found = await store.get("a");
      expect(found).toMatchObject({ n: 1 });
      expect(found?.cookie.originalMaxAge).toBeGreaterThan(890_000);
    });

    test("saves of one Session object never conflict with each other, awaited or not", async () => {
      const { store, conflicts } = newStore({ conflict: "reject" });
      await set(store, "a", data({ n: 0 }));
      const one = await visit(store, "a");
      const saves = [1, 2, 3].map((n) => {
        Reflect.set(one, "n", n);
        return set(store, "a", one);
      });
      await Promise.all([...saves, touch(store, "a", one)]);
      expect(await store.get("a")).toMatchObject({ n: 3 });
      expect(conflicts).toEqual([]);
    });

    test("RACE: after destroy nothing revives: no save, no touch, no regenerate of a request that was under way", async () => {
      const [a, b] = [newStore(), newStore()];
      await set(a.store, "a", data({ n: 0 }));
      const [saving, touching] = [await visit(a.store, "a"), await visit(a.store, "a")];
      await b.store.destroy("a");
      Reflect.set(saving, "n", 1);
      await set(a.store, "a", saving);
      touching.cookie.maxAge = 90_000;
      await touch(a.store, "a", touching);
      expect([await a.store.get("a"), await b.store.get("a")]).toEqual([undefined, undefined]);
      await until("two events", () => a.dropped.length === 2);
      expect(a.dropped).toEqual([{ ended: true }, { ended: true }]);
    });

    test("LIMIT: an object that the store didn't give out (a copy, a script's) replaces the whole record, without merging", async () => {
      const { store } = newStore();
      await set(store, "a", data({ n: 0, theirs: 0 }));
      const copy = { ...(await store.get("a")) };
      await set(store, "a", data({ n: 0, theirs: 1, more: 1 }));
      await set(store, "a", { ...copy, n: 1 });
      const { cookie: _, ...attributes } = (await store.get("a")) ?? {};
      expect(attributes).toEqual({ n: 1, theirs: 0 });
    });

    test("LIMIT: such an object may make a session anew, but not one that was ended", async () => {
      const { store } = newStore();
      await set(store, "a", data({ n: 0 }));
      const copy = JSON.parse(JSON.stringify(await store.get("a")));
      await store.destroy("a");
      await set(store, "a", copy);
      expect(await store.get("a")).toBeUndefined();
      await set(store, "b", copy);
      expect(await store.get("b")).toMatchObject({ n: 0 });
    });

    test("LIMIT: a Session object used under another id counts as foreign there", async () => {
      const { store } = newStore();
      await set(store, "a", data({ n: 0 }));
      await set(store, "b", data({ n: 5, more: 1 }));
      await set(store, "b", await visit(store, "a"));
      const { cookie: _, ...attributes } = (await store.get("b")) ?? {};
      expect(attributes).toEqual({ n: 0 });
    });
  });
}

function isSession(value: unknown): value is session.Session {
  return typeof value === "object" && value !== null && "cookie" in value && "save" in value;
}
