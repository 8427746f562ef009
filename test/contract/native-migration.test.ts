/** The option migrateFrom of both native front ends, with express-session's MemoryStore, on which an application of the former kind goes on. */
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import { session as nativeExpress } from "anynode/express";
import { session as nativeKoa } from "anynode/koa";
import { memoryEngine } from "anynode/memory";
import express, { type RequestHandler } from "express";
import expressSession, { MemoryStore } from "express-session";
import Koa from "koa";
import { AnynodeError, anynode, type Sessions } from "../../lib/index.js";
import type { FormerStore } from "../../lib/web/migration.js";
import { SECRET } from "../support/app/host.js";
import { Browser } from "../support/browser.js";
import { manualClock } from "../support/manual-clock.js";

/** What of both kinds of session objects the actions use. */
interface Own {
  regenerate(): Promise<unknown>;
  rotate?(): Promise<void>;
  login?(user: string, options: object): Promise<void>;
}
type Action = (place: { readonly own: Own; end(): unknown }, query: URLSearchParams) => unknown;

const ACTIONS: Record<string, Action> = {
  "/read": () => {},
  "/health": () => {},
  "/set": ({ own }, query) => void Reflect.set(own, query.get("name") ?? "", query.get("value")),
  "/sign-out": ({ end }) => end(),
  "/regenerate": ({ own }) => own.regenerate(),
  "/rotate": ({ own }) => own.rotate?.(),
  "/login": ({ own }) => own.login?.("ada", { keep: ["cart"] }),
};

function shown(own: unknown): object {
  if (typeof own !== "object" || own === null) return {};
  const { cookie: _, ...attributes } = JSON.parse(JSON.stringify(own));
  return attributes;
}

function expressApp(middleware: RequestHandler): RequestListener {
  const app = express();
  app.use(middleware);
  for (const [path, action] of Object.entries(ACTIONS)) {
    app.get(path, async (req, res) => {
      const end = () =>
        new Promise<void>((resolve, reject) => {
          req.session.destroy((error: unknown) => (error ? reject(error) : resolve()));
        });
      const own = Object(req.session);
      await action({ own, end }, new URL(req.url, "http://x").searchParams);
      res.json(shown(req.session));
    });
  }
  const onError: express.ErrorRequestHandler = (error, _req, res, _next) => {
    res.status(error.status ?? 500).json({ code: error.code });
  };
  app.use(onError);
  return app;
}

function koaApp(sessions: Sessions, options: Moving): RequestListener {
  const app = new Koa();
  app.silent = true;
  app.use(nativeKoa(sessions, { secret: SECRET, ...options }));
  app.use(async (ctx) => {
    const { session } = ctx;
    const end = () => {
      Reflect.set(ctx, "session", null);
    };
    await ACTIONS[ctx.path]?.({ own: session, end }, ctx.URL.searchParams);
    ctx.body = shown(ctx["session"]);
  });
  return app.callback();
}

interface Moving {
  readonly migrateFrom: FormerStore;
}
const KINDS: [string, (sessions: Sessions, options: Moving) => RequestListener][] = [
  ["express", (sessions, options) => expressApp(nativeExpress(sessions, { secret: SECRET, ...options }))],
  ["koa", koaApp],
];

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function listening(app: RequestListener): Promise<string> {
  const server = createServer(app).listen(0, "127.0.0.1");
  await once(server, "listening");
  closing.push(async () => {
    server.close();
    server.closeAllConnections();
  });
  const address = server.address();
  return `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
}

/** A MemoryStore whose calls are counted, and which can be made to fail. */
function formerStore() {
  const memory = new MemoryStore();
  const state = { asked: [] as string[], failing: "no" as "no" | "fails" | "hangs" | "forgets not" };
  const store: FormerStore = {
    get(sid, callback) {
      state.asked.push("get");
      if (state.failing === "hangs") return;
      if (state.failing === "fails") setImmediate(() => callback(new Error("down")));
      else memory.get(sid, callback);
    },
    destroy(sid, callback) {
      state.asked.push("destroy");
      if (state.failing === "forgets not") setImmediate(() => callback?.(new Error("down")));
      else memory.destroy(sid, callback);
    },
  };
  return { memory, store, state };
}

async function stage(make: (sessions: Sessions, options: Moving) => RequestListener) {
  const clock = manualClock();
  const sessions = anynode({ engine: memoryEngine({ clock }), clock });
  await sessions.ready();
  closing.push(() => sessions.close());
  const { memory, store, state } = formerStore();
  const former = await listening(
    expressApp(expressSession({ secret: SECRET, resave: false, saveUninitialized: false, store: memory })),
  );
  const native = await listening(make(sessions, { migrateFrom: store }));
  const browser = new Browser();
  await browser.get(former, "/set?name=cart&value=tea");
  return { clock, sessions, memory, state, former, native, browser };
}
/** The store's sessions, as text. */
const stored = (memory: MemoryStore) =>
  new Promise<string>((resolve) => {
    memory.all((_, all) => resolve(JSON.stringify(all)));
  });

describe.each(KINDS)("migrateFrom, %s", (_, make) => {
  test("adopted once: attributes there, a cookie of ours, and the former store isn't asked again", async () => {
    const { native, browser, state } = await stage(make);
    const first = await browser.get(native, "/read");
    expect(first).toMatchObject({ status: 200, body: { cart: "tea" } });
    expect(browser.cookie("sid")?.split(".")[0]).toBe(browser.cookie("connect.sid")?.split(".")[0]);
    expect(await browser.get(native, "/set?name=cart&value=rum")).toMatchObject({ body: { cart: "rum" }, setCookies: [] });
    expect(state.asked).toEqual(["get"]);
  });

  test("what changes here stays, whatever former nodes store of it since; what they have is theirs", async () => {
    const { former, native, browser } = await stage(make);
    await browser.get(native, "/set?name=n&value=1");
    await browser.get(former, "/set?name=cart&value=rum");
    expect((await browser.get(native, "/read")).body).toEqual({ cart: "tea", n: "1" });
    expect((await browser.get(former, "/read")).body).toEqual({ cart: "rum" });
  });

  test("RACE: two first requests at once, one of which writes", async () => {
    const { native, browser } = await stage(make);
    const other = browser.fork();
    await Promise.all([browser.get(native, "/set?name=n&value=1"), other.get(native, "/set?name=m&value=2")]);
    expect((await browser.get(native, "/read")).body).toEqual({ cart: "tea", n: "1", m: "2" });
  });

  test.each(["/sign-out", "/regenerate", "/login", "/rotate"])("%s: the old id is dead there as well, for good", async (path) => {
    const { clock, former, native, browser, memory } = await stage(make);
    const old = browser.fork();
    expect((await browser.get(native, path)).status).toBe(200);
    expect(await stored(memory)).not.toContain("tea");
    expect((await old.get(former, "/read")).body).toEqual({});
    await clock.advance(600_000);
    expect((await old.get(native, "/read")).body).toEqual({});
  });

  test("ended here behind the front end's back: not adopted again, and the former store is told", async () => {
    const { clock, sessions, native, browser, memory } = await stage(make);
    await browser.get(native, "/read");
    await sessions.end(decodeURIComponent(browser.cookie("sid") ?? "").slice(2, -44));
    expect((await browser.get(native, "/read")).body).toEqual({});
    await clock.advance(600_000);
    expect((await browser.get(native, "/read")).body).toEqual({});
    expect(await stored(memory)).not.toContain("tea");
  });

  test("endEveryone: whoever has moved is out, and nobody moves in any more", async () => {
    const { clock, sessions, former, native, browser } = await stage(make);
    const later = new Browser();
    await later.get(former, "/set?name=cart&value=tea");
    await browser.get(native, "/read");
    await Promise.all([sessions.endEveryone(), clock.advance(10_000)]);
    for (const one of [browser, later]) {
      for (let i = 0; i < 2; i++) expect((await one.get(native, "/read")).body).toEqual({});
    }
  });

  test("a former store that fails or hangs: 503, and the session is there when it is back", async () => {
    const { clock, native, browser, state } = await stage(make);
    state.failing = "fails";
    expect((await browser.get(native, "/read")).status).toBe(503);
    state.failing = "hangs";
    const hanging = browser.get(native, "/set?name=n&value=1");
    while (state.asked.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    const [answer] = await Promise.all([hanging, clock.advance(2_000)]);
    expect(answer).toMatchObject({ status: 503, setCookies: [] });
    expect(browser.cookie("sid")).toBeUndefined();
    state.failing = "no";
    expect((await browser.get(native, "/read")).body).toEqual({ cart: "tea" });
    state.failing = "fails";
    expect((await browser.get(native, "/read")).body).toEqual({ cart: "tea" });
    expect((await new Browser().get(native, "/read")).status).toBe(200);
  });

  test("a former store that can't forget: signing out fails, and the session still lives, to try again", async () => {
    const { native, browser, state } = await stage(make);
    await browser.get(native, "/read");
    const other = browser.fork();
    state.failing = "forgets not";
    expect((await browser.get(native, "/sign-out")).status).toBe(503);
    expect((await other.get(native, "/read")).body).toEqual({ cart: "tea" });
    state.failing = "no";
    expect((await other.fork().get(native, "/sign-out")).status).toBe(200);
    expect((await other.get(native, "/read")).body).toEqual({});
  });

  test("a store of files says ENOENT of a session that it doesn't have", async () => {
    const none: FormerStore = {
      get: (_sid, callback) => callback(Object.assign(new Error("no such file"), { code: "ENOENT" })),
      destroy: (_sid, callback) => callback?.(),
    };
    const { browser } = await stage(make);
    const sessions = anynode({ engine: memoryEngine() });
    closing.push(() => sessions.close());
    expect(await browser.get(await listening(make(sessions, { migrateFrom: none })), "/read")).toMatchObject({
      status: 200,
      body: {},
    });
  });

  test.each([null, "redis", {}, { get() {} }, MemoryStore])("refused: %p", async (migrateFrom) => {
    const sessions = anynode({ engine: memoryEngine() });
    closing.push(() => sessions.close());
    const refused = () => Reflect.apply(make, undefined, [sessions, { migrateFrom }]);
    expect(refused).toThrow(AnynodeError);
    expect(refused).toThrow(/option migrateFrom is .*with the functions get and destroy/);
  });
});
