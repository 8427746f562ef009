/** AnynodeStore under requests that overlap: changes are merged, ends are final; and where the merging has its limits. */
import { MEDIA } from "../support/media.js";
import { data, set, storesOn, touch, visit } from "../support/stores.js";
import { until } from "../support/until.js";

for (const kind of MEDIA) {
  describe(`on ${kind.name}`, () => {
    const newStore = storesOn(kind);

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

    test("RACE: after destroy nothing revives: no save and no touch of a request that was under way", async () => {
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

    test("a long-lived handler's session (store.load, as Socket.IO handlers do) merges, and can't outlive the end", async () => {
      const { store } = newStore();
      await set(store, "a", data({ n: 0 }));
      const held = await new Promise<object>((resolve, reject) => {
        store.load("a", (error, found) => (found === undefined ? reject(error) : resolve(found)));
      });
      await set(store, "a", { ...(await visit(store, "a")), theirs: 1 });
      Reflect.set(held, "mine", 1);
      await set(store, "a", held);
      expect(await store.get("a")).toMatchObject({ n: 0, theirs: 1, mine: 1 });
      await store.destroy("a");
      Reflect.set(held, "mine", 2);
      await set(store, "a", held);
      expect(await store.get("a")).toBeUndefined();
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
