/** What a visitor sees when the engine fails: an error, never an anonymous session. */
import { AnynodeError } from "../../lib/index.js";
import { Browser } from "../support/browser.js";
import type { Stage } from "./stage.js";

export function faults(stage: Stage): void {
  const { host, read, slowly, twoNodes } = stage;

  describe("when the engine fails", () => {
    const errors = [
      new AnynodeError("ENGINE_TIMEOUT", "injected"),
      new AnynodeError("ENGINE_UNAVAILABLE", "injected", { cause: Object.assign(new Error("no socket"), { code: "ENOENT" }) }),
      new AnynodeError("ENGINE_FULL", "injected"),
    ];
    for (const error of errors) {
      test(`${error.code}: a visitor with a session gets an error, never an anonymous session; then all is as before`, async () => {
        // A node that reads from its copies would serve the first path for as long as its lease lasts.
        const [a, b] = await twoNodes({}, { reads: "checked" });
        const visitor = new Browser();
        await visitor.get(a.url, "/set?name=n&value=1");
        a.failWith(error);
        for (const path of ["/read", "/set?name=n&value=2", "/sign-out", "/regenerate", "/sign-in?name=n&value=3"]) {
          const answer = await visitor.get(a.url, path);
          expect([path, answer.status, answer.setCookies]).toEqual([path, 503, []]);
        }
        // Without a session the engine is needed for a write only.
        expect((await new Browser().get(a.url, "/read")).status).toBe(200);
        expect((await new Browser().get(a.url, "/set?name=n&value=1")).status).toBe(503);
        a.failWith(undefined);
        for (const node of [a, b]) expect(await read(visitor, node)).toEqual({ n: "1" });
      });
    }

    test("it fails between a request's load and its save: an acknowledged save is never lost", async () => {
      const [a, b] = await twoNodes();
      const visitor = new Browser();
      await visitor.get(a.url, "/set?name=n&value=1");
      const go = await slowly(visitor, a, "/set?name=n&value=2");
      a.failWith(new AnynodeError("ENGINE_TIMEOUT", "injected"));
      expect((await go()).status).toBe(503);
      a.failWith(undefined);
      expect(await read(visitor, b)).toEqual({ n: "1" });
    });

    test("LIMIT: the host's own save at the end of a request shows its failure only where the host can", async () => {
      const [a, b] = await twoNodes();
      const visitor = new Browser();
      await visitor.get(a.url, "/set?name=n&value=1");
      const go = await slowly(visitor, a, "/set-lazily?name=n&value=2");
      a.failWith(new AnynodeError("ENGINE_TIMEOUT", "injected"));
      const answer = await go().then(
        ({ status }) => status,
        () => "broken off",
      );
      expect(answer === 503).toBe(host.lateFailureShows);
      a.failWith(undefined);
      expect(await read(visitor, b)).toEqual({ n: "1" });
    });

    test("a route's own error stays its own", async () => {
      const [a, b] = await twoNodes();
      const visitor = new Browser();
      await visitor.get(a.url, "/set?name=n&value=1");
      expect((await visitor.get(a.url, "/fail")).status).toBe(500);
      expect(await read(visitor, b)).toEqual({ n: "1" });
    });
  });
}
