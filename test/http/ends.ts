/** Sign-out, regenerate, unset and reload: the end is final. */
import { Browser } from "../support/browser.js";
import { until } from "../support/until.js";
import type { Stage } from "./stage.js";

export function ends(stage: Stage): void {
  const { host, only, read, slowly, twoNodes } = stage;

  describe("the end is final", () => {
    test("after sign-out no node knows the session, nor its old cookie", async () => {
      const [a, b] = await twoNodes();
      const visitor = new Browser();
      await visitor.get(a.url, "/sign-in?name=who&value=ann");
      const old = visitor.fork();
      const { setCookies } = await visitor.get(b.url, "/sign-out");
      expect(setCookies.some((line) => /^sid=;/.test(line))).toBe(host.clearsCookie);
      for (const node of [a, b]) expect(await read(old.fork(), node)).toEqual({});
    });

    for (const path of ["/set?name=x&value=1", "/set-lazily?name=x&value=1", "/read", "/max-age?ms=90000", "/sign-out"]) {
      test(`RACE: a slow ${path} revives nothing that was signed out meanwhile`, async () => {
        const [a, b] = await twoNodes({ rolling: true });
        const visitor = new Browser();
        await visitor.get(a.url, "/sign-in?name=who&value=ann");
        const go = await slowly(visitor.fork(), a, path);
        await visitor.fork().get(b.url, "/sign-out");
        await go();
        for (const node of [a, b]) expect(await read(visitor.fork(), node)).toEqual({});
      });
    }

    test("RACE: a slow touch that is due revives nothing, and extends nothing", async () => {
      const [a, b] = await twoNodes({ maxAge: 2000, rolling: true });
      const visitor = new Browser();
      await visitor.get(a.url, "/sign-in?name=who&value=ann");
      const signedInAt = performance.now();
      const go = await slowly(visitor.fork(), a, "/read");
      await visitor.fork().get(b.url, "/sign-out");
      await until("a touch is due", () => performance.now() > signedInAt + 250);
      a.taken();
      await go();
      expect(a.taken()).toEqual(["touch"]);
      for (const node of [a, b]) expect(await read(visitor.fork(), node)).toEqual({});
    });

    test("RACE: a slow regenerate doesn't carry an ended session over to a new id: 401", async () => {
      const [a, b] = await twoNodes();
      const visitor = new Browser();
      await visitor.get(a.url, "/sign-in?name=who&value=ann");
      const slow = visitor.fork();
      const go = await slowly(slow, a, "/regenerate");
      await visitor.fork().get(b.url, "/sign-out");
      expect((await go()).status).toBe(401);
      for (const node of [a, b]) {
        expect(await read(slow.fork(), node)).toEqual({});
        expect(await read(visitor.fork(), node)).toEqual({});
      }
    });

    test("regenerate gives a new id, keeps what the application carries over, and the old id is refused", async () => {
      const [a, b] = await twoNodes();
      const visitor = new Browser();
      await visitor.get(a.url, "/set?name=n&value=1");
      const old = visitor.fork();
      await visitor.get(b.url, "/regenerate");
      expect(visitor.cookie("sid")).not.toBe(old.cookie("sid"));
      expect(await read(visitor, a)).toEqual({ n: "1" });
      expect(await read(old, a)).toEqual({});
    });

    only(!host.expressOptions)("an unset session is ended", async () => {
      const [a, b] = await twoNodes();
      const visitor = new Browser();
      await visitor.get(a.url, "/set?name=n&value=1");
      await visitor.fork().get(a.url, "/unset-session");
      expect(await read(visitor, b)).toEqual({});
    });

    only(host.expressOptions)('unset: "destroy" ends an unset session; without it, it stays', async () => {
      for (const [unset, left] of [["destroy", {}] as const, ["keep", { n: "1" }] as const]) {
        const [a, b] = await twoNodes({ unset });
        const visitor = new Browser();
        await visitor.get(a.url, "/set?name=n&value=1");
        await visitor.fork().get(a.url, "/unset-session?name=m&value=lost");
        expect(await read(visitor, b)).toEqual(left);
      }
    });

    only(host.reloads)("reload shows what is stored now; of an ended session it fails", async () => {
      const [a, b] = await twoNodes();
      const visitor = new Browser();
      await visitor.get(a.url, "/set?name=n&value=1");
      const go = await slowly(visitor, a, "/reload");
      await visitor.get(b.url, "/set?name=n&value=2");
      expect((await go()).body).toEqual({ n: "2" });
      expect((await visitor.get(a.url, "/change-reload?name=n&value=3")).body).toEqual({ n: "2" });
      const late = await slowly(visitor, a, "/reload");
      await visitor.fork().get(b.url, "/sign-out");
      expect((await late()).status).toBe(host.reloadOfEnded);
      expect(await read(visitor, b)).toEqual({});
    });
  });
}
