/** What AnynodeStore promises beyond MemoryStore: calls of every style, refusals that say why, and its cost. */
import { startChild } from "../support/child.js";
import { MEDIA } from "../support/media.js";
import { data, set, storesOn, touch, visit } from "../support/stores.js";
import { until } from "../support/until.js";

test("a callback that throws is called once, and its throw is the host's uncaughtException; no style of call rejects unheard", async () => {
  expect(await startChild("callbacks.ts", []).rest()).toEqual(["ok"]);
});

for (const kind of MEDIA) {
  describe(`on ${kind.name}`, () => {
    const newStore = storesOn(kind);

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
          ["cookie", '"x"'],
          ["name", '"x"'],
        ]),
      );
      const one = await visit(store, "a");
      expect(typeof one.save).toBe("function");
      expect(Object.keys(one).toSorted()).toEqual(["cookie", "name"]);
      Reflect.set(one, "name", "y");
      await set(store, "a", one);
      const loaded = await sessions.load("a");
      expect(Object.fromEntries(loaded?.record.attributes ?? [])).toEqual({
        save: "1",
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
      const { store, watched } = newStore({ reads: "checked" });
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
      const { store, watched } = newStore({ reads: "checked" });
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
  });
}
