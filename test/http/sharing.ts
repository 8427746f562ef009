/** One session, whatever node is asked; and what parallel requests do to it. */
import { Browser } from "../support/browser.js";
import { until } from "../support/until.js";
import type { Stage } from "./stage.js";

export function sharing(stage: Stage): void {
  const { read, slowly, twoNodes } = stage;

  describe("one session, any node", () => {
    test("a visitor's requests alternate between the nodes and each sees what the one before wrote", async () => {
      const nodes = await twoNodes();
      const visitor = new Browser();
      for (let i = 0; i < 10; i++) {
        const [here, there] = i % 2 === 0 ? nodes : nodes.toReversed();
        if (here === undefined || there === undefined) throw new Error("two nodes");
        expect((await visitor.get(here.url, `/set?name=n&value=${i}`)).body).toEqual({ n: `${i}` });
        expect(await read(visitor, there)).toEqual({ n: `${i}` });
      }
    });

    test("what the host saves by itself when the request ends is there, too, once the answer is", async () => {
      const [a, b] = await twoNodes();
      const visitor = new Browser();
      await visitor.get(a.url, "/set-lazily?name=x&value=1");
      expect(await read(visitor, b)).toEqual({ x: "1" });
    });

    test("a visitor without a session gets none by reading, and the engine isn't asked", async () => {
      const [a] = await twoNodes();
      const answer = await new Browser().get(a.url, "/read");
      expect([answer.status, answer.body, answer.setCookies, a.taken()]).toEqual([200, {}, [], []]);
    });

    test("two visitors don't meet", async () => {
      const [a, b] = await twoNodes();
      const [one, two] = [new Browser(), new Browser()];
      await Promise.all([one.get(a.url, "/set?name=who&value=one"), two.get(a.url, "/set?name=who&value=two")]);
      expect([await read(one, b), await read(two, b)]).toEqual([{ who: "one" }, { who: "two" }]);
    });

    test("several middlewares on one store: each has a session of its own", async () => {
      const [a, b] = await twoNodes();
      const visitor = new Browser();
      await visitor.get(a.url, "/set?name=where&value=shop");
      await visitor.get(a.url, "/admin/set?name=where&value=admin");
      expect(await read(visitor, b)).toEqual({ where: "shop" });
      expect((await visitor.get(b.url, "/admin/read")).body).toEqual({ where: "admin" });
      await visitor.get(a.url, "/admin/sign-out");
      expect((await visitor.get(b.url, "/admin/read")).body).toEqual({});
      expect(await read(visitor, b)).toEqual({ where: "shop" });
    });
  });

  describe("parallel requests", () => {
    test("RACE: each sets an attribute of its own, one deletes: nothing is lost, nothing comes back", async () => {
      const [a, b] = await twoNodes();
      const visitor = new Browser();
      await visitor.get(a.url, "/set?name=old&value=1");
      await visitor.get(a.url, "/set?name=kept&value=1");
      const going = await Promise.all([
        slowly(visitor, a, "/unset?name=old"),
        slowly(visitor, b, "/set?name=x&value=1"),
        slowly(visitor, a, "/set-lazily?name=y&value=1"),
        slowly(visitor, b, "/set-lazily?name=z&value=1"),
      ]);
      await Promise.all(going.map((go) => go()));
      for (const node of [a, b]) expect(await read(visitor, node)).toEqual({ kept: "1", x: "1", y: "1", z: "1" });
      expect([a.events, b.events]).toEqual([[], []]);
    });

    test("the same attribute: one of the two values stays, and an event says so", async () => {
      const [a, b] = await twoNodes();
      const visitor = new Browser();
      await visitor.get(a.url, "/set?name=n&value=0");
      const going = await Promise.all([slowly(visitor, a, "/set?name=n&value=1"), slowly(visitor, b, "/set?name=n&value=2")]);
      for (const go of going) await go();
      expect(await read(visitor, a)).toEqual({ n: "2" });
      await until("the event", () => b.events.length > 0);
      expect([a.events, b.events]).toEqual([[], ["conflict"]]);
    });

    for (const route of ["save-unawaited", "save-twice"]) {
      test(`RACE: two saves of one request (${route}) are no conflict`, async () => {
        const [a, b] = await twoNodes();
        const visitor = new Browser();
        await visitor.get(a.url, "/set?name=n&value=0");
        for (let i = 1; i <= 10; i++) {
          const node = i % 2 === 0 ? a : b;
          expect((await visitor.get(node.url, `/${route}?name=n&value=${i}`)).status).toBe(200);
          expect(await read(visitor, a)).toEqual({ n: `${i}, again` });
        }
        expect([a.events, b.events]).toEqual([[], []]);
      });
    }
  });
}
