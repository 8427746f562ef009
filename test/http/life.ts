/** How long a session lives, and what it costs the engine. */
import { Browser } from "../support/browser.js";
import { until } from "../support/until.js";
import type { Stage } from "./stage.js";

export function life(stage: Stage): void {
  const { host, only, read, twoNodes } = stage;

  describe("life and cookie", () => {
    test("a session expires when nobody comes for its maxAge", async () => {
      const [a, b] = await twoNodes({ maxAge: 300 });
      const visitor = new Browser();
      await visitor.get(a.url, "/set?name=n&value=1");
      await until("it expires", async () => {
        await new Promise((resolve) => setTimeout(resolve, 350)); // a request would keep it alive
        return Object.keys(await read(visitor, b)).length === 0;
      });
    });

    test("rolling: a visitor who comes keeps the session, and the browser hears of it", async () => {
      const [a, b] = await twoNodes({ maxAge: 400, rolling: true });
      const visitor = new Browser();
      await visitor.get(a.url, "/set?name=n&value=1");
      const bornAt = Date.now();
      for (let i = 0; Date.now() < bornAt + 900; i++) {
        const { body, setCookies } = await visitor.get(i % 2 === 0 ? a.url : b.url, "/read");
        expect([body, setCookies.length > 0]).toEqual([{ n: "1" }, true]);
        await new Promise((resolve) => setTimeout(resolve, 40));
      }
    });

    only(host.touchesUnchanged)("a visitor who only reads keeps the session alive, without a Set-Cookie", async () => {
      const [a, b] = await twoNodes({ maxAge: 400 });
      const visitor = new Browser();
      await visitor.get(a.url, "/set?name=n&value=1");
      const bornAt = Date.now();
      for (let i = 0; Date.now() < bornAt + 900; i++) {
        const { body, setCookies } = await visitor.get(i % 2 === 0 ? a.url : b.url, "/read");
        expect([body, setCookies]).toEqual([{ n: "1" }, []]);
        await new Promise((resolve) => setTimeout(resolve, 40));
      }
    });

    test("a request changes its session's maxAge: the next node knows", async () => {
      const [a, b] = await twoNodes({ maxAge: 60_000 });
      const visitor = new Browser();
      await visitor.get(a.url, "/set?name=n&value=1");
      await visitor.get(a.url, "/max-age?ms=300");
      await until("it expires", async () => {
        await new Promise((resolve) => setTimeout(resolve, 350)); // a request would keep it alive
        return Object.keys(await read(visitor, b)).length === 0;
      });
    });
  });

  describe("cost", () => {
    test("a request that changes nothing costs one read at the most", async () => {
      const [a] = await twoNodes({ maxAge: 60_000 });
      const visitor = new Browser();
      await visitor.get(a.url, "/set?name=n&value=1");
      a.taken();
      for (let i = 0; i < 50; i++) await read(visitor, a);
      expectReads(a.taken(), 50);
    });

    only(host.expressOptions)("resave: true with equal data is a touch, which costs no write either", async () => {
      const [a] = await twoNodes({ resave: true, maxAge: 60_000 });
      const visitor = new Browser();
      await visitor.get(a.url, "/set?name=n&value=1");
      a.taken();
      for (let i = 0; i < 50; i++) await read(visitor, a);
      expectReads(a.taken(), 50);
    });

    only(host.expressOptions)("saveUninitialized: true stores a visitor's empty session once", async () => {
      const [a, b] = await twoNodes({ saveUninitialized: true });
      const visitor = new Browser();
      const first = await visitor.get(a.url, "/read");
      expect([first.setCookies.length, a.taken()]).toEqual([1, ["create"]]);
      expect((await visitor.get(b.url, "/read")).setCookies).toEqual([]);
      expectReads(b.taken(), 1);
    });
  });
}

/** Nothing but reads; fewer than one a request where a node reads from its copies. */
function expectReads(taken: readonly string[], most: number): void {
  expect([...new Set([...taken, "read"])]).toEqual(["read"]);
  expect(taken.length).toBeLessThanOrEqual(most);
}
