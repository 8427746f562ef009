/** hold() and attach() know the session of a request as its front end does; under native front ends `session.signal` hears of an end elsewhere. */
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import { anynode, type Sessions } from "anynode";
import { ExpressSession, session as nativeExpress } from "anynode/express";
import { AnynodeStore } from "anynode/express-session";
import { session as nativeKoa, type SessionContext } from "anynode/koa";
import { AnynodeKoaStore } from "anynode/koa-session";
import { memoryEngine } from "anynode/memory";
import express from "express";
import session from "express-session";
import Koa from "koa";
import koaSession from "koa-session";
import { engineDouble } from "../support/engine-double.js";
import { FakeSocket } from "../support/fake-socket.js";
import { startRedis } from "../support/redis.js";
import { until } from "../support/until.js";

const after: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of after.splice(0).reverse()) await close();
});

/** A browser with one cookie. `lines`: every Set-Cookie that came. */
async function visitor(app: RequestListener, lines: string[] = []): Promise<(path: string) => Promise<string>> {
  const server = createServer(app).listen(0, "127.0.0.1");
  await once(server, "listening");
  after.push(() => server.close());
  const address = server.address();
  const port = typeof address === "object" ? address?.port : 0;
  const jar = new Map<string, string>();
  return async (path) => {
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers: { cookie, connection: "close" } });
    for (const line of response.headers.getSetCookie()) {
      lines.push(line);
      const [name = "", value = ""] = line.split(";")[0]?.split("=") ?? [];
      jar.set(name, value);
    }
    return response.text();
  };
}

function memory(): Sessions {
  const sessions = anynode({ engine: "memory:" });
  after.push(() => sessions.close());
  return sessions;
}

/** The types of express-session's are about, too. */
function own({ session: mine }: { session: unknown }): ExpressSession {
  if (mine instanceof ExpressSession) return mine;
  throw new Error("the request has no session of ours");
}

/** Holds by each of these, and says which were let. */
async function heldBy(sessions: Sessions, told: string[], things: Record<string, object | undefined>): Promise<string> {
  const allowed = [];
  for (const [name, thing] of Object.entries(things)) {
    if (thing === undefined) continue;
    if ((await sessions.hold(thing, (reason) => told.push(`${name} ${reason}`))) !== undefined) allowed.push(name);
  }
  return allowed.join(" ");
}

test("express-session: the request and the session object; signing out and regenerating close what is live", async () => {
  const sessions = memory();
  const told: string[] = [];
  const app = express();
  app.use(session({ secret: "s", resave: false, saveUninitialized: false, store: new AnynodeStore(sessions) }));
  app.get("/in", (req, res) => {
    Object.assign(req.session, { user: "ada" });
    res.end("in");
  });
  app.get("/hold", async (req, res) => res.end(await heldBy(sessions, told, { req, session: req.session })));
  app.get("/again", (req, res) => req.session.regenerate(() => req.session.save(() => res.end("again"))));
  app.get("/out", (req, res) => req.session.destroy(() => res.end("out")));
  const go = await visitor(app);
  expect(await go("/hold")).toBe("");
  expect(told.splice(0).sort()).toEqual(["req expired", "session expired"]);
  await go("/in");
  expect(await go("/hold")).toBe("req session");
  await go("/again");
  expect(told.splice(0).sort()).toEqual(["req ended", "session ended"]);
  expect(await go("/hold")).toBe("req session");
  await go("/out");
  expect(told.sort()).toEqual(["req ended", "session ended"]);
});

test("koa-session: the context and the request", async () => {
  const sessions = memory();
  const told: string[] = [];
  const app = new Koa();
  app.keys = ["k"];
  app.use(koaSession({ store: new AnynodeKoaStore(sessions) }, app));
  app.use(async (ctx) => {
    if (ctx.path === "/in") Object.assign(ctx["session"], { user: "ada" });
    if (ctx.path === "/out") ctx["session"] = null;
    ctx.body = ctx.path === "/hold" ? await heldBy(sessions, told, { ctx, req: ctx.req }) : "done";
  });
  const go = await visitor(app.callback());
  expect(await go("/hold")).toBe("");
  told.splice(0);
  await go("/in");
  expect(await go("/hold")).toBe("ctx req");
  await go("/out");
  expect(told.sort()).toEqual(["ctx ended", "req ended"]);
});

test("native Express: the request, its response and the session object; attach finds it, too", async () => {
  const sessions = memory();
  const told: string[] = [];
  const sockets: FakeSocket[] = [];
  const app = express();
  app.use(nativeExpress(sessions, { secret: "s" }));
  app.get("/in", async (req, res) => {
    await own(req).login("ada");
    res.end("in");
  });
  app.get("/hold", async (req, res) => res.end(await heldBy(sessions, told, { req, res, session: req.session })));
  app.get("/attach", async (req, res) => {
    const socket = new FakeSocket();
    sockets.push(socket);
    res.end(`${(await sessions.attach(socket, req)) !== undefined}`);
  });
  app.get("/again", (req, res) => req.session.regenerate(() => req.session.save(() => res.end("again"))));
  const go = await visitor(app);
  expect(await go("/hold")).toBe("");
  expect(await go("/attach")).toBe("false");
  expect(told.splice(0).sort()).toEqual(["req expired", "res expired", "session expired"]);
  await go("/in");
  expect(await go("/hold")).toBe("req res session");
  expect(await go("/attach")).toBe("true");
  await go("/again");
  expect(told.sort()).toEqual(["req ended", "res ended", "session ended"]);
  expect(sockets.map(({ closedWith }) => closedWith)).toEqual([4401, 4401]);
});

test("native Koa: the context, both requests and the session object; attach finds it by the context and by node's request", async () => {
  const sessions = memory();
  const told: string[] = [];
  const sockets: FakeSocket[] = [];
  const app = new Koa<Koa.DefaultState, SessionContext>();
  app.use(nativeKoa(sessions, { secret: "s" }));
  app.use(async (ctx) => {
    const { session, req, request } = ctx;
    if (ctx.path === "/in") await session?.login("ada");
    if (ctx.path === "/out") ctx.session = null;
    if (ctx.path === "/attach") {
      for (const whose of [ctx, req]) {
        const socket = new FakeSocket();
        sockets.push(socket);
        await sessions.attach(socket, whose);
      }
    }
    ctx.body = ctx.path === "/hold" ? await heldBy(sessions, told, { ctx, req, request, session: session ?? undefined }) : "done";
  });
  const go = await visitor(app.callback());
  expect(await go("/hold")).toBe("");
  told.splice(0);
  await go("/in");
  expect(await go("/hold")).toBe("ctx req request session");
  await go("/attach");
  expect(sockets.map(({ closedWith }) => closedWith)).toEqual([undefined, undefined]);
  await go("/out");
  expect(told.sort()).toEqual(["ctx ended", "req ended", "request ended", "session ended"]);
  expect(sockets.map(({ closedWith }) => closedWith)).toEqual([4401, 4401]);
});

/** A request that waits in its handler, and what happens to it. */
interface Work {
  sid: string;
  signal: AbortSignal | undefined;
  goOn(): void;
}
type Handler = (
  session: { id: string; signal: AbortSignal },
  wait: (work: Pick<Work, "sid" | "signal">) => Promise<void>,
) => unknown;

/** The same application on both front ends: /in stores something, /work waits, and then writes. */
function working(sessions: Sessions, kind: string, works: Work[], work: Handler): RequestListener {
  const wait = (what: Pick<Work, "sid" | "signal">) => new Promise<void>((goOn) => works.push({ ...what, goOn }));
  if (kind === "Koa") {
    const app = new Koa<Koa.DefaultState, SessionContext>();
    app.use(nativeKoa(sessions, { secret: "s", rolling: true }));
    app.use(async (ctx) => {
      if (ctx.session === null) return;
      if (ctx.path === "/in") Object.assign(ctx.session, { n: 1 });
      if (ctx.path === "/rotate") await ctx.session.rotate();
      if (ctx.path === "/work") {
        await work(ctx.session, wait);
        Object.assign(ctx.session, { late: true });
      }
      ctx.body = "done";
    });
    return app.callback();
  }
  const app = express();
  app.use(nativeExpress(sessions, { secret: "s", rolling: true }));
  app.get("/:path", async (req, res) => {
    if (req.path === "/in") Object.assign(req.session, { n: 1 });
    if (req.path === "/rotate") await own(req).rotate();
    if (req.path === "/work") {
      await work(own(req), wait);
      Object.assign(req.session, { late: true });
    }
    res.end("done");
  });
  return app;
}
const waitsForSignal: Handler = (session, wait) => wait({ sid: session.id, signal: session.signal });

/** Two nodes over one engine; memory has one. */
async function nodes(engine: string): Promise<[Sessions, Sessions]> {
  if (engine === "memory") {
    const one = memory();
    return [one, one];
  }
  const redis = await startRedis();
  after.push(() => redis.stop());
  const [a, b] = [anynode({ engine: redis.url }), anynode({ engine: redis.url })];
  after.push(
    () => a.close(),
    () => b.close(),
  );
  await Promise.all([a.ready(), b.ready()]);
  return [a, b];
}

/** The first request that waits. */
async function begun(works: Work[]): Promise<Work> {
  await until("the handler waits", () => works.length > 0);
  const [work] = works;
  if (work === undefined) throw new Error("there is none");
  return work;
}
const isHeld = async (sessions: Sessions, sid: string) => (await sessions.registry.locate(sid)).length > 0;

describe.each(["Express", "Koa"])("session.signal under native %s", (kind) => {
  test.each(["memory", "redis"])(
    "RACE: an end on another node aborts it before it resolves; nothing is stored, no cookie set (%s)",
    async (engine) => {
      const [a, b] = await nodes(engine);
      const works: Work[] = [];
      const lines: string[] = [];
      const go = await visitor(working(a, kind, works, waitsForSignal), lines);
      await go("/in");
      const answer = go("/work");
      const { sid, signal, goOn } = await begun(works);
      await until("it is held", () => isHeld(b, sid));
      expect(signal?.aborted).toBe(false);
      lines.splice(0);
      const end = await b.end(sid);
      expect(signal?.aborted).toBe(true);
      expect(end).toMatchObject({ ended: true, closed: 1, pending: [], nodes: 1 });
      goOn();
      expect(await answer).toBe("done");
      expect(lines).toEqual([]);
      expect(await b.load(sid)).toBeUndefined();
    },
  );

  test("whoever doesn't ask for it holds nothing; whoever does, until the response is finished or the visitor has gone", async () => {
    const sessions = memory();
    const works: Work[] = [];
    let asks = false;
    const app = working(sessions, kind, works, (session, wait) =>
      wait({ sid: session.id, signal: asks ? session.signal : undefined }),
    );
    const go = await visitor(app);
    await go("/in");
    let answer = go("/work");
    let work = await begun(works);
    expect(await isHeld(sessions, work.sid)).toBe(false);
    work.goOn();
    await answer;
    works.splice(0);
    asks = true;
    answer = go("/work");
    work = await begun(works);
    await until("it is held", () => isHeld(sessions, work.sid));
    work.goOn();
    await answer;
    await until("it is released", async () => !(await isHeld(sessions, work.sid)));
    await sessions.end(work.sid);
    expect(work.signal?.aborted).toBe(false);
  });

  test("RACE: another request gives the session a new id: the signal is aborted as a socket is closed, and what is written is kept", async () => {
    const sessions = memory();
    const works: Work[] = [];
    const go = await visitor(working(sessions, kind, works, waitsForSignal));
    await go("/in");
    const answer = go("/work");
    const { sid, signal, goOn } = await begun(works);
    await until("it is held", () => isHeld(sessions, sid));
    await go("/rotate");
    expect(signal?.aborted).toBe(true);
    goOn();
    await answer;
    expect((await sessions.load(sid))?.record.attributes.get("late")).toBe("true");
  });

  test("an engine that can't say who holds what fails nothing", async () => {
    const { engine, count } = engineDouble(memoryEngine(), { attach: () => Promise.reject(new Error("down")) });
    const sessions = anynode({ engine });
    after.push(() => sessions.close());
    const works: Work[] = [];
    const go = await visitor(working(sessions, kind, works, waitsForSignal));
    await go("/in");
    const answer = go("/work");
    const { sid, signal, goOn } = await begun(works);
    await until("it was asked", () => count("attach") > 0);
    goOn();
    expect(await answer).toBe("done");
    expect(signal?.aborted).toBe(false);
    expect((await sessions.load(sid))?.record.attributes.get("late")).toBe("true");
  });
});

test("session.signal goes on when its own request rotates the session, and hears of the end under the new id", async () => {
  const sessions = memory();
  const app = express();
  app.use(nativeExpress(sessions, { secret: "s" }));
  app.get("/in", (req, res) => res.end(`${Object.assign(req.session, { n: 1 }).n}`));
  app.get("/work", async (req, res) => {
    const { signal } = own(req);
    await own(req).rotate();
    await until("it is held", () => isHeld(sessions, req.session.id));
    const before = [signal.aborted, signal === own(req).signal];
    await sessions.end(req.session.id);
    res.json([...before, signal.aborted]);
  });
  const go = await visitor(app);
  await go("/in");
  expect(JSON.parse(await go("/work"))).toEqual([false, true, true]);
});

test("session.signal of a request that its visitor gave up holds nothing any more", async () => {
  const sessions = memory();
  const works: Work[] = [];
  const server = createServer(working(sessions, "Express", works, waitsForSignal)).listen(0, "127.0.0.1");
  await once(server, "listening");
  after.push(() => server.close());
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
  const [line = ""] = (await fetch(`${url}/in`, { headers: { connection: "close" } })).headers.getSetCookie();
  const leaving = new AbortController();
  const answer = fetch(`${url}/work`, {
    headers: { cookie: line.split(";")[0] ?? "", connection: "close" },
    signal: leaving.signal,
  });
  const { sid, goOn } = await begun(works);
  await until("it is held", () => isHeld(sessions, sid));
  leaving.abort();
  await expect(answer).rejects.toThrow();
  await until("it is released", async () => !(await isHeld(sessions, sid)));
  goOn();
});
