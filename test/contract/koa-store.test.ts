/** What AnynodeKoaStore promises to koa-session, and to whoever else calls it. */
import { AnynodeKoaStore } from "anynode/koa-session";
import { type AnynodeOptions, anynode, type EventMap } from "../../lib/index.js";
import { MEDIA, type Medium } from "../support/media.js";
import { until } from "../support/until.js";
import { watchedEngine } from "../support/watched-engine.js";

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
      const sessions = anynode({ keyring: ["plain"], ...options, engine: watched.engine });
      opened.push(sessions);
      const conflicts: EventMap["conflict"][] = [];
      sessions.on("conflict", (event) => conflicts.push(event));
      return { store: new AnynodeKoaStore(sessions), sessions, watched, conflicts };
    }

    test("a key that nobody stored has no session", async () => {
      expect(await newStore().store.get("nobody", 1000, { ctx: {} })).toBeUndefined();
    });

    test("gives back what was stored, and when it expires", async () => {
      const { store } = newStore();
      await store.set("a", { name: "x", nested: { list: [1, null] }, _expire: Date.now() + 60_000, _maxAge: 60_000 }, 70_000);
      const found = await store.get("a", 60_000);
      expect(found).toEqual({ name: "x", nested: { list: [1, null] }, _maxAge: 60_000, _expire: expect.any(Number) });
      expect(Number(found?.["_expire"])).toBeGreaterThan(Date.now() + 55_000);
      expect(Number(found?.["_expire"])).toBeLessThanOrEqual(Date.now() + 60_100);
    });

    test("the session lives for its own maxAge, in ms, not for the 10 s more that koa-session asks of stores", async () => {
      const { store } = newStore();
      await store.set("a", { _maxAge: 300, _expire: Date.now() + 300 }, 10_300);
      await until("it expires", async () => (await store.get("a")) === undefined, 900);
    });

    test("without maxAge it is a browser session, and each request keeps it alive", async () => {
      const { store } = newStore({ idleMs: 400 });
      await store.set("a", { name: "x", _session: true }, "session");
      const bornAt = Date.now();
      while (Date.now() < bornAt + 900) {
        expect(await store.get("a", "session", { ctx: {} })).toEqual({ name: "x", _session: true });
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    });

    test("a fresh copy per get", async () => {
      const { store } = newStore();
      await store.set("a", { nested: { n: 1 } });
      const [one, two] = [await store.get("a"), await store.get("a")];
      Reflect.set(Object(one?.["nested"]), "n", 2);
      expect(two?.["nested"]).toEqual({ n: 1 });
    });

    test("data is never skipped on changed: false, which koa-session says on save() although data changed", async () => {
      const { store } = newStore();
      const ctx = {};
      await store.set("a", { n: 1 }, "session", { ctx });
      await store.set("a", { n: 2 }, "session", { ctx, changed: false });
      expect(await store.get("a")).toMatchObject({ n: 2 });
    });

    test("the same data again costs no commit", async () => {
      const { store, watched } = newStore();
      await store.set("a", { n: 1, _maxAge: 60_000 }, 70_000);
      watched.taken();
      for (let i = 0; i < 20; i++) {
        const ctx = {};
        const { _expire: _, ...found } = { ...(await store.get("a", 60_000, { ctx })) };
        await store.set("a", found, 70_000, { ctx, changed: true });
      }
      expect([...new Set(watched.taken())]).toEqual(["read"]);
    });

    test("names that koa-session needs are refused, and harmless when another front end stored them", async () => {
      const { store, sessions } = newStore();
      for (const name of ["isNew", "save", "regenerate", "manuallyCommit", "commit", "maxAge", "externalKey", "toJSON"]) {
        await expect(store.set("a", { [name]: 1 })).rejects.toMatchObject({
          code: "ATTRIBUTE_INVALID",
          message: expect.stringContaining(`"${name}"`),
        });
      }
      for (const name of ["__proto__", "constructor", "prototype"]) {
        const hostile = Object.defineProperty({}, name, { value: { admin: true }, enumerable: true });
        await expect(store.set("a", hostile)).rejects.toMatchObject({ code: "ATTRIBUTE_INVALID" });
      }
      await sessions.replace(
        "b",
        new Map([
          ["save", "1"],
          ["_x", "1"],
          ["n", "1"],
        ]),
      );
      const ctx = {};
      const found = await store.get("b", "session", { ctx });
      expect(found).toEqual({ n: 1, _session: true });
      await store.set("b", { ...found, n: 2 }, "session", { ctx });
      const loaded = await sessions.load("b");
      expect(Object.fromEntries(loaded?.record.attributes ?? [])).toEqual({ save: "1", _x: "1", n: "2" });
    });

    test("malformed keys cost no engine command and meet nobody's session", async () => {
      const { store, sessions, watched } = newStore();
      await sessions.ready();
      for (const key of ["", "z".repeat(257), "\ud800", "x".repeat(1_000_000)]) {
        expect(await store.get(key, 1000, { ctx: {} })).toBeUndefined();
        await expect(store.set(key, {}, 1000, { ctx: {} })).rejects.toMatchObject({ code: "ID_MALFORMED" });
        await expect(store.destroy(key, { ctx: {} })).rejects.toMatchObject({ code: "ID_MALFORMED" });
      }
      expect(watched.taken()).toEqual([]);
    });

    test("RACE: two requests on different nodes change different attributes, one deletes: all survive, no conflict", async () => {
      const [a, b] = [newStore(), newStore()];
      await a.store.set("a", { old: 1, kept: 1 }, "session");
      const [one, two] = [{}, {}];
      const [first, second] = [await a.store.get("a", "session", { ctx: one }), await b.store.get("a", "session", { ctx: two })];
      const { old: _, ...less } = { ...second };
      await Promise.all([
        a.store.set("a", { ...first, mine: 1 }, "session", { ctx: one }),
        b.store.set("a", less, "session", { ctx: two }),
      ]);
      expect(await b.store.get("a")).toEqual({ kept: 1, mine: 1, _session: true });
      expect([a.conflicts, b.conflicts]).toEqual([[], []]);
    });

    test("saves of one request never conflict with each other", async () => {
      const { store, conflicts } = newStore({ conflict: "reject" });
      const ctx = {};
      await store.set("a", { n: 0 }, "session");
      await store.get("a", "session", { ctx });
      await Promise.all([1, 2, 3].map((n) => store.set("a", { n }, "session", { ctx })));
      expect(await store.get("a")).toMatchObject({ n: 3 });
      expect(conflicts).toEqual([]);
    });

    test("RACE: after destroy nothing revives: no slow save, and no regenerate carries the session over", async () => {
      const [a, b] = [newStore(), newStore()];
      await a.store.set("a", { name: "x" }, "session");
      const [saving, regenerating] = [{}, {}];
      for (const ctx of [saving, regenerating]) await a.store.get("a", "session", { ctx });
      await b.store.destroy("a", { ctx: {} });
      await a.store.set("a", { name: "y" }, "session", { ctx: saving });
      await a.store.destroy("a", { ctx: regenerating });
      await expect(a.store.set("new", { name: "x" }, "session", { ctx: regenerating })).rejects.toMatchObject({
        code: "SESSION_ENDED",
        status: 401,
      });
      expect([await a.store.get("a"), await a.store.get("new"), await b.store.get("a")]).toEqual([
        undefined,
        undefined,
        undefined,
      ]);
    });

    test("a request that regenerates its own session gets its new one", async () => {
      const { store } = newStore();
      const ctx = {};
      await store.set("a", { name: "x" }, "session");
      await store.get("a", "session", { ctx });
      await store.destroy("a", { ctx });
      await store.set("b", { name: "x" }, "session", { ctx });
      expect([await store.get("a"), await store.get("b")]).toEqual([undefined, { name: "x", _session: true }]);
    });

    test("LIMIT: a call without its request's ctx replaces the whole record, unless it was ended", async () => {
      const { store } = newStore();
      await store.set("a", { n: 0, theirs: 1 }, "session");
      await store.set("a", { n: 1 }, "session");
      expect(await store.get("a")).toEqual({ n: 1, _session: true });
      await store.destroy("a");
      await store.set("a", { n: 2 }, "session");
      expect(await store.get("a")).toBeUndefined();
    });
  });
}
