/** Signing in and out on both native front ends: who it is, how long it lasts, and what browsers and caches are told. */
import { memoryEngine } from "anynode/memory";
import { type AnynodeOptions, anynode, type Sessions } from "../../lib/index.js";
import { Browser } from "../support/browser.js";
import { type Double, engineDouble, Gate } from "../support/engine-double.js";
import { movableClock } from "../support/movable-clock.js";
import { PEOPLE_HOSTS, type PeopleOptions, peopleNode, type Routes, type Visit } from "../support/people-app.js";
import { rawGet } from "../support/raw-get.js";

const DAY_MS = 86_400_000;

const shown = ({ session }: Visit) => ({ ...attributesOf(session), who: session.user ?? null });
const attributesOf = (session: object) => {
  const { cookie: _, ...attributes }: Record<string, unknown> = { ...session };
  return attributes;
};

describe.each(PEOPLE_HOSTS)("%s", (host) => {
  const closing: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  /** Two nodes on one engine. */
  async function stage(front: PeopleOptions = {}, options: Omit<AnynodeOptions, "engine"> = {}) {
    const clock = movableClock();
    const memory = memoryEngine({ clock });
    const double: Double = engineDouble(memory);
    const gate = { arrived: new Gate(), go: new Gate() };
    const nodes: { url: string; sessions: Sessions }[] = [];
    for (const engine of [double.engine, memory]) {
      const sessions = anynode({ engine, clock, ...options });
      await sessions.ready();
      const { url, close } = await peopleNode(host, sessions, routes(sessions, gate), front);
      closing.push(close, () => sessions.close());
      nodes.push({ url, sessions });
    }
    const [one, other] = nodes;
    if (one === undefined || other === undefined) throw new Error("no nodes");
    return { clock, memory, double, gate, one, other };
  }

  function routes(sessions: Sessions, gate: { arrived: Gate; go: Gate }): Routes {
    const wait = async () => {
      gate.arrived.open();
      await gate.go.passed;
    };
    return {
      me: shown,
      set(visit) {
        Reflect.set(visit.session, visit.query.get("name") ?? "n", visit.query.get("value") ?? "1");
        return shown(visit);
      },
      async login(visit) {
        const keep = visit.query.get("keep")?.split(",") ?? [];
        const remember = visit.query.has("remember");
        await visit.session.login(visit.query.get("user") ?? "ann", { keep, remember });
        return shown(visit);
      },
      async "login-late"(visit) {
        await wait();
        await visit.session.login("ann");
        return shown(visit);
      },
      async "set-late"(visit) {
        await wait();
        Reflect.set(visit.session, "late", "1");
        return shown(visit);
      },
      async "me-late"(visit) {
        await wait();
        return shown(visit);
      },
      async logout({ session }) {
        await session.logout();
        return {};
      },
      async rotate(visit) {
        const before = visit.session;
        Reflect.set(before, "rotated", "1");
        await before.rotate();
        return shown(visit);
      },
      dates({ session }) {
        const { user = null, authenticatedAt, expiresAt, absoluteExpiresAt } = session;
        const at = [authenticatedAt, expiresAt, absoluteExpiresAt].map((date) => date?.getTime() ?? null);
        return { user, at };
      },
      recent: ({ session, query }) => ({ recent: session.reauthenticatedWithin(Number(query.get("ms"))) }),
      client: ({ session }) => ({ changed: session.clientChanges }),
      "fake-user"({ session }) {
        const codes = ["user", "authenticatedAt"].map((name) => {
          try {
            Reflect.set(session, name, "bob");
            return "none";
          } catch (error) {
            return Reflect.get(Object(error), "code");
          }
        });
        return { codes, user: session.user ?? null };
      },
      "define-user"({ session }) {
        Object.defineProperty(session, "user", { value: "bob", enumerable: true, configurable: true });
        return {};
      },
      async devices({ session }) {
        return { devices: await sessions.of(session.user ?? "", { current: session.id }) };
      },
      async "end-others"({ session }) {
        return sessions.endAll(session.user ?? "", { except: session.id });
      },
      cached(visit) {
        for (const [name, value] of visit.query) if (name.startsWith("h-")) visit.setHeader(name.slice(2), value);
        Reflect.set(visit.session, "n", String(Math.random()));
        return {};
      },
      unchanged(visit) {
        for (const [name, value] of visit.query) visit.setHeader(name, value);
        return {};
      },
    };
  }

  async function signedIn(url: string, query = "user=ann"): Promise<Browser> {
    const visitor = new Browser();
    expect((await visitor.get(url, `/login?${query}`)).status).toBe(200);
    return visitor;
  }

  describe("login", () => {
    test("gives a new id and only what is to be kept; the old id is dead on every node", async () => {
      const { one, other } = await stage();
      const visitor = new Browser();
      await visitor.get(one.url, "/set?name=cart&value=3");
      await visitor.get(one.url, "/set?name=csrf&value=x");
      const before = visitor.fork();
      expect((await visitor.get(one.url, "/login?user=ann&keep=cart,none")).body).toEqual({ who: "ann", cart: "3" });
      expect(visitor.cookie("sid")).not.toBe(before.cookie("sid"));
      for (const { url } of [one, other]) {
        expect((await visitor.get(url, "/me")).body).toEqual({ who: "ann", cart: "3" });
        expect((await before.fork().get(url, "/me")).body).toEqual({ who: null });
      }
    });
    test("fixation: whoever planted an id, or knows the one before the sign-in, has nothing afterwards", async () => {
      const { one, other } = await stage();
      const attacker = new Browser();
      await attacker.get(one.url, "/set?name=trap&value=1");
      const victim = attacker.fork();
      expect((await victim.get(other.url, "/login?user=ann")).body).toEqual({ who: "ann" });
      for (const { url } of [one, other]) expect((await attacker.fork().get(url, "/me")).body).toEqual({ who: null });
      // Nor by a request that was under way, nor by signing in as oneself in the victim's browser.
      const again = victim.fork();
      await victim.get(one.url, "/login?user=mallory");
      expect((await again.get(other.url, "/me")).body).toEqual({ who: null });
      expect((await victim.get(other.url, "/me")).body).toEqual({ who: "mallory" });
    });
    test("RACE: a request that was under way when the visitor signed in brings neither the old id back nor its data", async () => {
      const { one, other, gate } = await stage({ rolling: true });
      const visitor = new Browser();
      await visitor.get(one.url, "/set");
      const slow = visitor.fork().get(one.url, "/set-late");
      await gate.arrived.passed;
      const before = visitor.fork();
      await visitor.get(other.url, "/login?user=ann");
      gate.go.open();
      expect((await slow).setCookies).toEqual([]);
      expect((await before.get(other.url, "/me")).body).toEqual({ who: null });
      expect((await visitor.get(one.url, "/me")).body).toEqual({ who: "ann" });
    });
    test("of a visitor of whom nothing was stored works the same", async () => {
      const { one, other } = await stage();
      const visitor = await signedIn(one.url);
      expect((await visitor.get(other.url, "/me")).body).toEqual({ who: "ann" });
    });
    test("RACE: with endAll: rejects with SESSION_ENDED, and the visitor isn't signed in anywhere", async () => {
      const { one, other, gate, double } = await stage();
      const visitor = new Browser();
      await visitor.get(other.url, "/set");
      double.use({
        async regenerate(...args) {
          gate.arrived.open();
          await gate.go.passed;
          return double.sound.regenerate(...args);
        },
      });
      const signingIn = visitor.get(one.url, "/login?user=ann");
      await gate.arrived.passed;
      await other.sessions.endAll("ann");
      gate.go.open();
      expect((await signingIn).status).toBe(401);
      for (const { url } of [one, other]) expect((await visitor.get(url, "/me")).body).toMatchObject({ who: null });
    });
    test("beyond maxPerUser is a 403, and the visitor keeps what they had", async () => {
      const { one, other } = await stage({}, { maxPerUser: 1 });
      await signedIn(one.url);
      const visitor = new Browser();
      await visitor.get(other.url, "/set?name=cart&value=3");
      expect((await visitor.get(other.url, "/login?user=ann")).status).toBe(403);
      expect((await visitor.get(one.url, "/me")).body).toEqual({ who: null, cart: "3" });
    });
    test("user and authenticatedAt can't be written as attributes", async () => {
      const { one, other } = await stage();
      const visitor = new Browser();
      const code = "ATTRIBUTE_INVALID";
      expect((await visitor.get(one.url, "/fake-user")).body).toEqual({ codes: [code, code], user: null });
      expect((await visitor.get(one.url, "/define-user")).status).toBe(500);
      expect((await visitor.get(one.url, "/set?name=user&value=bob")).status).toBe(500);
      expect((await visitor.get(other.url, "/me")).body).toEqual({ who: null });
    });
  });

  test("logout ends the session on every node, and the browser forgets its cookie", async () => {
    const { one, other } = await stage();
    const visitor = await signedIn(one.url);
    const copy = visitor.fork();
    expect((await visitor.get(other.url, "/logout")).setCookies).toHaveLength(1);
    expect(visitor.cookie("sid")).toBeUndefined();
    for (const { url } of [one, other]) expect((await copy.get(url, "/me")).body).toEqual({ who: null });
  });

  test("reauthenticatedWithin: for so long after the sign-in, by the engine's clock", async () => {
    const { one, other, clock } = await stage();
    const visitor = await signedIn(one.url);
    expect((await visitor.get(other.url, "/recent?ms=60000")).body).toEqual({ recent: true });
    clock.advance(61_000);
    expect((await visitor.get(other.url, "/recent?ms=60000")).body).toEqual({ recent: false });
    await visitor.get(one.url, "/login?user=ann");
    expect((await visitor.get(other.url, "/recent?ms=60000")).body).toEqual({ recent: true });
    expect((await new Browser().get(one.url, "/recent?ms=1e15")).body).toEqual({ recent: false });
  });

  test("a person's devices are listed by one of them, and the others ended", async () => {
    const { one, other, clock } = await stage({}, { record: { address: "truncated", agent: true } });
    const mine = await signedIn(one.url);
    clock.advance(1);
    const theirs = await signedIn(other.url);
    const { devices } = (await mine.get(other.url, "/devices")).body;
    expect(devices).toMatchObject([{ current: false }, { current: true, address: "127.0.0.0" }]);
    expect((await mine.get(other.url, "/end-others")).body).toMatchObject({ ended: 1 });
    expect((await theirs.get(one.url, "/me")).body).toEqual({ who: null });
    expect((await mine.get(one.url, "/me")).body).toEqual({ who: "ann" });
  });

  describe("rotate", () => {
    test("gives a new id, stores what was changed, and for 10 s the old id reads and writes the same session", async () => {
      const { one, other, clock } = await stage();
      const visitor = await signedIn(one.url);
      const old = visitor.fork();
      const { body, setCookies } = await visitor.get(other.url, "/rotate");
      expect([body, setCookies.length]).toEqual([{ who: "ann", rotated: "1" }, 1]);
      expect(visitor.cookie("sid")).not.toBe(old.cookie("sid"));
      expect((await old.get(one.url, "/set?name=n&value=2")).setCookies).toEqual([]);
      expect((await visitor.get(other.url, "/me")).body).toEqual({ who: "ann", rotated: "1", n: "2" });
      clock.advance(10_001);
      expect((await old.get(one.url, "/me")).body).toEqual({ who: null });
      expect((await visitor.get(one.url, "/me")).body).toMatchObject({ who: "ann" });
    });
    test("the old id is never given out again, not with rolling cookies, not by a second rotation, and it dies with the session", async () => {
      const { one, other } = await stage({ rolling: true, maxAge: 60_000 });
      const visitor = await signedIn(one.url);
      const old = visitor.fork();
      await visitor.get(one.url, "/rotate");
      for (const path of ["/me", "/set?name=n&value=2", "/rotate"]) {
        expect((await old.get(other.url, path)).setCookies).toEqual([]);
      }
      expect((await visitor.get(other.url, "/me")).body).toEqual({ who: "ann", rotated: "1", n: "2" });
      const late = old.fork();
      await old.get(other.url, "/logout");
      for (const { url } of [one, other]) {
        for (const browser of [visitor.fork(), late.fork()]) expect((await browser.get(url, "/me")).body).toEqual({ who: null });
      }
    });
    test.each(["/me-late", "/set-late"])("RACE: %s that was under way meanwhile doesn't give the old id back", async (path) => {
      const { one, other, gate } = await stage({ rolling: true, maxAge: 60_000 });
      const visitor = await signedIn(one.url);
      const slow = visitor.fork().get(one.url, path);
      await gate.arrived.passed;
      await visitor.get(other.url, "/rotate");
      gate.go.open();
      expect((await slow).setCookies).toEqual([]);
      expect((await visitor.get(one.url, "/me")).body).toMatchObject({ who: "ann" });
    });
    test("of a session of which nothing is stored does nothing but store it", async () => {
      const { one, other } = await stage();
      const visitor = new Browser();
      await visitor.get(one.url, "/rotate");
      expect((await visitor.get(other.url, "/me")).body).toEqual({ who: null, rotated: "1" });
    });
  });

  describe("timeouts", () => {
    test("default: a day without a request, 30 days at the most, signed in or not", async () => {
      const { one, clock } = await stage();
      const visitor = new Browser();
      expect((await visitor.get(one.url, "/dates")).body).toEqual({ user: null, at: [null, null, null] });
      await visitor.get(one.url, "/set");
      for (const path of ["/me", "/login?user=ann"]) {
        await visitor.get(one.url, path);
        const { at } = (await visitor.get(one.url, "/dates")).body;
        const [, idleAt, absoluteAt] = Array.isArray(at) ? at : [];
        expect(idleAt - Date.now()).toBeGreaterThan(DAY_MS - 5_000);
        expect(idleAt - Date.now()).toBeLessThanOrEqual(DAY_MS);
        expect(absoluteAt - Date.now()).toBeGreaterThan(30 * DAY_MS - 5_000);
        expect(absoluteAt - Date.now()).toBeLessThanOrEqual(30 * DAY_MS);
      }
      clock.advance(DAY_MS);
      expect((await visitor.get(one.url, "/me")).body).toEqual({ who: null });
    });
    test("a session that is used all the time ends at its absolute deadline, cookie and record in step", async () => {
      const { one, other, clock } = await stage({ maxAge: 60_000, rolling: true }, { absoluteMs: 150_000 });
      const visitor = await signedIn(one.url);
      let left = Number.POSITIVE_INFINITY;
      for (let i = 0; i < 4; i++) {
        clock.advance(30_000);
        const { body, setCookies } = await visitor.get(i % 2 === 0 ? one.url : other.url, "/me");
        expect(body).toEqual({ who: "ann" });
        left = secondsOf(setCookies[0]);
      }
      expect(left).toBeGreaterThan(25);
      expect(left).toBeLessThanOrEqual(31);
      clock.advance(30_000);
      for (const { url } of [one, other]) expect((await visitor.fork().get(url, "/me")).body).toEqual({ who: null });
    });
    test("remember: the longer pair, and a cookie that outlasts the browser", async () => {
      const remember = { idleMs: 10 * DAY_MS, absoluteMs: 20 * DAY_MS };
      const { one, other, clock } = await stage({ remember });
      const [short, long] = [await signedIn(one.url), new Browser()];
      const { setCookies } = await long.get(one.url, "/login?user=ann&remember");
      expect(Math.abs(secondsOf(setCookies[0]) - 864_000)).toBeLessThan(10);
      clock.advance(9 * DAY_MS);
      expect((await short.get(other.url, "/me")).body).toEqual({ who: null });
      expect((await long.get(other.url, "/me")).body).toEqual({ who: "ann" });
      clock.advance(9 * DAY_MS);
      expect((await long.get(one.url, "/me")).body).toEqual({ who: "ann" });
      clock.advance(2 * DAY_MS);
      expect((await long.get(one.url, "/me")).body).toEqual({ who: null });
    });
    test("remember is off without login's word for it: a cookie that goes with the browser", async () => {
      const { one } = await stage();
      const { setCookies } = await new Browser().get(one.url, "/login?user=ann");
      expect(setCookies[0]).not.toContain("Expires");
    });
  });

  describe("caches", () => {
    const cases: [string, string, string, string][] = [
      ["nothing", "", "no-store", "Cookie"],
      ["public", "h-Cache-Control=public, max-age=60", "private, max-age=60", "Cookie"],
      ["a shared age", "h-Cache-Control=s-maxage=60", "no-store", "Cookie"],
      ["private", "h-Cache-Control=private, max-age=60", "private, max-age=60", "Cookie"],
      ["no-store", "h-Cache-Control=no-store", "no-store", "Cookie"],
      ["Vary", "h-Vary=Accept-Encoding", "no-store", "Accept-Encoding, Cookie"],
      ["Vary on cookies", "h-Vary=cookie", "no-store", "cookie"],
      ["Vary on all", "h-Vary=*", "no-store", "*"],
    ];
    test.each(cases)("a response that sets the cookie and says %s", async (_, query, cacheControl, vary) => {
      const { one } = await stage();
      const { headers } = await rawGet(`${one.url}/cached?${query}`);
      expect(headers["set-cookie"]).toHaveLength(1);
      expect([headers["cache-control"], headers.vary]).toEqual([cacheControl, vary]);
    });
    test("a response that sets none is the application's own affair", async () => {
      const { one } = await stage();
      const { headers } = await rawGet(`${one.url}/unchanged?Cache-Control=public, max-age=60`);
      expect([headers["set-cookie"], headers["cache-control"], headers.vary]).toEqual([
        undefined,
        "public, max-age=60",
        undefined,
      ]);
    });
  });

  describe("cookie tossing", () => {
    test("of several cookies of the name, the one of a live session counts, wherever it stands", async () => {
      const { one, other } = await stage();
      const visitor = await signedIn(one.url);
      const good = `sid=${visitor.cookie("sid")}`;
      const dead = await signedIn(one.url);
      await dead.fork().get(one.url, "/logout");
      const tossed = [
        "sid=x",
        "sid=",
        "sid=s%3Aabc.def",
        `sid=${dead.cookie("sid")}`,
        `sid="${"x".repeat(5_000)}"`,
        "sid=%00%ff",
      ];
      for (const bad of tossed) {
        for (const cookie of [`${bad}; ${good}`, `${good}; ${bad}`, `a=b; ${bad};${good} ;c=d`]) {
          expect((await rawGet(`${other.url}/me`, { cookie })).body).toEqual({ who: "ann" });
        }
      }
    });
    test("an attacker's own live session, tossed from a sibling domain, gives them nothing of whoever signs in over it", async () => {
      const { one, other } = await stage();
      const attacker = new Browser();
      await attacker.get(one.url, "/set?name=trap&value=1");
      const cookie = `sid=${attacker.cookie("sid")}`;
      const { headers, body } = await rawGet(`${one.url}/login?user=ann`, { cookie });
      expect(body).toEqual({ who: "ann" });
      expect(String(headers["set-cookie"])).not.toContain(attacker.cookie("sid"));
      expect((await attacker.get(other.url, "/me")).body).toEqual({ who: null });
    });
  });

  test("a client that isn't what it was at sign-in is an event, once a session, and shown; the session goes on", async () => {
    const { one, other } = await stage({}, { record: { address: true, agent: true } });
    const events: unknown[] = [];
    other.sessions.on("client-changed", (event) => events.push(event));
    const from = { "x-forwarded-for": "203.0.113.9", "user-agent": "Mozilla/5.0" };
    const { headers } = await rawGet(`${one.url}/login?user=ann`, from);
    const cookie = String(headers["set-cookie"]).split(";")[0] ?? "";
    expect((await rawGet(`${other.url}/client`, { ...from, cookie })).body).toEqual({ changed: [] });
    const elsewhere = { ...from, "x-forwarded-for": "198.51.100.7", cookie };
    for (const _ of [1, 2]) {
      expect((await rawGet(`${other.url}/client`, elsewhere)).body).toEqual({ changed: ["address"] });
    }
    const else2 = { ...elsewhere, "user-agent": "curl" };
    expect((await rawGet(`${one.url}/client`, else2)).body).toEqual({ changed: ["address", "agent"] });
    expect((await rawGet(`${other.url}/me`, elsewhere)).body).toEqual({ who: "ann" });
    expect(events).toEqual([{ changed: ["address"] }]);
  });
});

/** How many seconds from now on a Set-Cookie line says that the cookie lasts. */
function secondsOf(line = ""): number {
  const [, expires = ""] = /Expires=([^;]+)/.exec(line) ?? [];
  return (new Date(expires).getTime() - Date.now()) / 1_000;
}
