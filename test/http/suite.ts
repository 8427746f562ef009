/**
 * The HTTP suite: what visitors of an application see of its sessions, whatever the host and the engine. Two nodes serve every visitor.
 * Where hosts differ, test/support/app/hosts.ts says so; a test for what only some hosts have is declared with `only`.
 */
import { AnynodeError, anynode, type EventMap } from "../../lib/index.js";
import type { HostOptions } from "../support/app/host.js";
import type { Host } from "../support/app/hosts.js";
import { type Serving, serve } from "../support/app/server.js";
import { Browser, openGate } from "../support/browser.js";
import type { Medium, MediumKind } from "../support/media.js";
import { until } from "../support/until.js";
import { type WatchedEngine, watchedEngine } from "../support/watched-engine.js";

interface TestNode extends WatchedEngine {
  readonly url: string;
  readonly events: (keyof EventMap)[];
}

export function httpSuite(host: Host, kind: MediumKind): void {
  let medium: Medium;
  const closing: (() => Promise<void>)[] = [];
  let gates = 0;

  beforeEach(async () => {
    medium = await kind.medium();
  });
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
    await medium.remove();
  });

  async function startNode(options: HostOptions = {}): Promise<TestNode> {
    const watched = watchedEngine(medium.engine());
    const sessions = anynode({ engine: watched.engine });
    closing.push(() => sessions.close());
    const events: (keyof EventMap)[] = [];
    for (const name of ["conflict", "write-dropped", "unreadable"] as const) sessions.on(name, () => events.push(name));
    await sessions.ready();
    const server: Serving = await serve(host, sessions, options);
    closing.push(() => server.close());
    return { ...watched, url: server.url, events };
  }

  async function twoNodes(options: HostOptions = {}): Promise<[TestNode, TestNode]> {
    return [await startNode(options), await startNode(options)];
  }

  /** A test for hosts that have something; `has` comes from the table of hosts. */
  const only = (has: boolean) => (has ? test : () => {});

  async function read(browser: Browser, node: TestNode) {
    const { status, body } = await browser.get(node.url, "/read");
    expect(status).toBe(200);
    return body;
  }

  /** Sends a request that loads its session and then waits; `go` opens its gate and gives the answer. */
  async function slowly(browser: Browser, node: TestNode, path: string) {
    const gate = `gate-${++gates}`;
    const answer = browser.get(node.url, `${path}${path.includes("?") ? "&" : "?"}gate=${gate}`);
    const opening = openGateLater(node.url, gate);
    await opening.arrived;
    return async () => {
      await opening.open();
      return answer;
    };
  }

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

  describe("the end is final", () => {
    test("after sign-out no node knows the session, nor its old cookie", async () => {
      const [a, b] = await twoNodes();
      const visitor = new Browser();
      await visitor.get(a.url, "/sign-in?name=user&value=ann");
      const old = visitor.fork();
      const { setCookies } = await visitor.get(b.url, "/sign-out");
      expect(setCookies.some((line) => /^sid=;/.test(line))).toBe(host.clearsCookie);
      for (const node of [a, b]) expect(await read(old.fork(), node)).toEqual({});
    });

    for (const path of ["/set?name=x&value=1", "/set-lazily?name=x&value=1", "/read", "/max-age?ms=90000", "/sign-out"]) {
      test(`RACE: a slow ${path} revives nothing that was signed out meanwhile`, async () => {
        const [a, b] = await twoNodes({ rolling: true });
        const visitor = new Browser();
        await visitor.get(a.url, "/sign-in?name=user&value=ann");
        const go = await slowly(visitor.fork(), a, path);
        await visitor.fork().get(b.url, "/sign-out");
        await go();
        for (const node of [a, b]) expect(await read(visitor.fork(), node)).toEqual({});
      });
    }

    test("RACE: a slow regenerate doesn't carry an ended session over to a new id: 401", async () => {
      const [a, b] = await twoNodes();
      const visitor = new Browser();
      await visitor.get(a.url, "/sign-in?name=user&value=ann");
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
        await visitor.fork().get(a.url, "/unset-session");
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
      expect((await late()).status).toBe(500);
      expect(await read(visitor, b)).toEqual({});
    });
  });

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
    test("a request that changes nothing costs one read", async () => {
      const [a] = await twoNodes({ maxAge: 60_000 });
      const visitor = new Browser();
      await visitor.get(a.url, "/set?name=n&value=1");
      a.taken();
      for (let i = 0; i < 50; i++) await read(visitor, a);
      expect(a.taken()).toEqual(Array(50).fill("read"));
    });

    only(host.expressOptions)("resave: true with equal data is a touch, which costs no write either", async () => {
      const [a] = await twoNodes({ resave: true, maxAge: 60_000 });
      const visitor = new Browser();
      await visitor.get(a.url, "/set?name=n&value=1");
      a.taken();
      for (let i = 0; i < 50; i++) await read(visitor, a);
      expect(a.taken()).toEqual(Array(50).fill("read"));
    });

    only(host.expressOptions)("saveUninitialized: true stores a visitor's empty session once", async () => {
      const [a, b] = await twoNodes({ saveUninitialized: true });
      const visitor = new Browser();
      const first = await visitor.get(a.url, "/read");
      expect([first.setCookies.length, a.taken()]).toEqual([1, ["create"]]);
      expect((await visitor.get(b.url, "/read")).setCookies).toEqual([]);
      expect(b.taken()).toEqual(["read"]);
    });
  });

  describe("when the engine fails", () => {
    const errors = [
      new AnynodeError("ENGINE_TIMEOUT", "injected"),
      new AnynodeError("ENGINE_UNAVAILABLE", "injected", { cause: Object.assign(new Error("no socket"), { code: "ENOENT" }) }),
      new AnynodeError("ENGINE_FULL", "injected"),
    ];
    for (const error of errors) {
      test(`${error.code}: a visitor with a session gets an error, never an anonymous session; then all is as before`, async () => {
        const [a, b] = await twoNodes();
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

/** The two halves of `openGate`. */
function openGateLater(url: string, gate: string): { arrived: Promise<void>; open(): Promise<void> } {
  const quiet = new Browser();
  return {
    arrived: quiet.get(url, `/gates/arrived/${gate}`).then(() => {}),
    open: () => openGate(url, gate),
  };
}
