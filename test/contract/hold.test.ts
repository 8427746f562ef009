/** hold() knows the session of a request as its front end does: express-session and koa-session, over the memory engine. */
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import { anynode, type Sessions } from "anynode";
import { AnynodeStore } from "anynode/express-session";
import { AnynodeKoaStore } from "anynode/koa-session";
import express from "express";
import session from "express-session";
import Koa from "koa";
import koaSession from "koa-session";

const after: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of after.splice(0).reverse()) await close();
});

/** A browser with one cookie. */
async function visitor(app: RequestListener): Promise<(path: string) => Promise<string>> {
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
