/** Requests that come together keep what is their own: their asynchronous context, and their errors. */
import { AsyncLocalStorage } from "node:async_hooks";
import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import { anynode, type Sessions } from "anynode";
import { session } from "anynode/express";
import { AnynodeStore } from "anynode/express-session";
import { session as koaSession, type SessionContext } from "anynode/koa";
import express, { type ErrorRequestHandler } from "express";
import expressSession from "express-session";
import Koa from "koa";

let sessions: Sessions;
let server: Server | undefined;
beforeEach(async () => {
  sessions = anynode({ engine: "memory:" });
  await sessions.ready();
});
afterEach(async () => {
  server?.closeAllConnections();
  server?.close();
  await sessions.close();
});

async function served(listener: RequestListener): Promise<string> {
  server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
}

const whose = new AsyncLocalStorage<string>();

const FRONTS: Record<string, () => RequestListener> = {
  "anynode/express": () =>
    express()
      .use((req, _res, next) => whose.run(req.url, next))
      .use(session(sessions, { secret: "s" }))
      .use((_req, res) => void res.send(whose.getStore())),
  "express-session": () =>
    express()
      .use((req, _res, next) => whose.run(req.url, next))
      .use(expressSession({ secret: "s", resave: false, saveUninitialized: true, store: new AnynodeStore(sessions) }))
      .use((_req, res) => void res.send(whose.getStore())),
  "anynode/koa": () =>
    new Koa()
      .use((ctx, next) => whose.run(ctx.url, next))
      .use(koaSession(sessions, { secret: "s" }))
      .use((ctx) => {
        ctx.body = whose.getStore();
      })
      .callback(),
};

test.each(Object.keys(FRONTS))(
  "RACE: %s: each of ten requests of one turn goes on in its own asynchronous context",
  async (name) => {
    const url = await served(FRONTS[name]?.() ?? (() => {}));
    const paths = Array.from({ length: 10 }, (_, i) => `/${i}`);
    const cookie = (await fetch(url)).headers.getSetCookie()[0]?.split(";")[0] ?? "";
    // After some that come one by one nobody waits for others.
    for (let i = 0; i < 12; i++) expect(await (await fetch(`${url}/alone`)).text()).toBe("/alone");
    for (let round = 0; round < 5; round++) {
      const bodies = await Promise.all(paths.map(async (path) => (await fetch(url + path, { headers: { cookie } })).text()));
      expect(bodies).toEqual(paths);
    }
  },
);

test("what the option readonly throws is the request's error, not the process'", async () => {
  const readonly = () => {
    throw new Error("not today");
  };
  const answer: ErrorRequestHandler = (error, _req, res, _next) => void res.status(500).send(String(error));
  const app = express()
    .use(session(sessions, { secret: "s", readonly }))
    .use((_req, res) => void res.send("served"))
    .use(answer);
  const response = await fetch(await served(app));
  expect([response.status, await response.text()]).toEqual([500, "Error: not today"]);
});

test("what a request that comes together with others throws is told to its own error handler", async () => {
  const answer: ErrorRequestHandler = (error, req, res, _next) => void res.status(500).send(`${req.url}: ${error.message}`);
  const app = express()
    .use(session(sessions, { secret: "s" }))
    .use((req, res) => {
      if (req.url === "/bad") throw new Error("bad");
      res.send("good");
    })
    .use(answer);
  const url = await served(app);
  const bodies = await Promise.all(["/bad", "/1", "/2"].map(async (path) => (await fetch(url + path)).text()));
  expect(bodies).toEqual(["/bad: bad", "good", "good"]);
});

test("a Koa handler that answers past its response calls save(), as on Express", async () => {
  const app = new Koa<Koa.DefaultState, SessionContext>();
  app.use(koaSession(sessions, { secret: "s" }));
  app.use(async (ctx) => {
    const own = Object(ctx.session);
    own.n = ctx.url;
    if (ctx.url === "/save") await own.save();
    ctx.respond = false;
    setTimeout(() => {
      ctx.req.socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    }, 20);
  });
  const url = await served(app.callback());
  for (const path of ["/save", "/leave"]) expect(await (await fetch(url + path)).text()).toBe("ok");
  const stored: unknown[] = [];
  for await (const { record } of sessions.list()) stored.push(Object.fromEntries(record.attributes));
  expect(stored).toEqual([{ n: '"/save"' }]);
});

test("tests of an application may fake the timers", async () => {
  const url = await served(
    express()
      .use(session(sessions, { secret: "s" }))
      .use((_req, res) => void res.send("served")),
  );
  const { setImmediate, queueMicrotask } = globalThis;
  Object.assign(globalThis, { setImmediate: () => {}, queueMicrotask: () => {} });
  try {
    const { port } = new URL(url);
    const { get } = await import("node:http");
    const status = await new Promise((resolve) => {
      const sent = get({ port, path: "/", timeout: 2_000 }, (response) => resolve(response.resume().statusCode));
      sent.on("timeout", () => sent.destroy(new Error("it hangs"))).on("error", resolve);
    });
    expect(status).toBe(200);
  } finally {
    Object.assign(globalThis, { setImmediate, queueMicrotask });
  }
});
