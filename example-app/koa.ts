/** The same application on Koa: koa-session with anynode as its external store. */
import { type IncomingMessage, ServerResponse } from "node:http";
import Router from "@koa/router";
import type { Sessions } from "anynode";
import { AnynodeKoaStore } from "anynode/koa-session";
import Koa from "koa";
import session from "koa-session";
import { failure, health, type NodeApp, type NodeSettings, ROUND_TRIPS, roundTrips, state } from "./answers.js";
import { readJson } from "./body.js";
import { expressCookie } from "./koa-cookie.js";
import { PAGES } from "./pages.js";
import { ACTIONS, act, nameIn, type Visit } from "./shop.js";

/** What koa-session adds to a context. */
interface WithSession {
  get session(): Visit & { regenerate(): Promise<void> };
  set session(visit: Visit | null);
}

export function koaApp(sessions: Sessions, node: NodeSettings): NodeApp {
  const app = new Koa<Koa.DefaultState, WithSession>();
  app.use(async (ctx, next) => {
    const trips = roundTrips(sessions);
    ctx.set("x-node", node.name);
    try {
      await next();
    } catch (error) {
      Object.assign(ctx, failure(error));
    }
    ctx.set(ROUND_TRIPS, trips());
  });

  // Mounted before the session: these need none, so they cost none.
  const open = new Router<Koa.DefaultState, WithSession>();
  for (const [path, page] of PAGES) {
    open.get(path, (ctx) => {
      ctx.set(page.headers);
      ctx.body = page.body;
    });
  }
  open.get("/health", (ctx) => {
    Object.assign(ctx, health(sessions));
  });
  app.use(open.routes());

  const cookie = expressCookie(node.secret);
  app.use(session({ ...cookie, maxAge: "session", store: new AnynodeKoaStore(sessions) }, app));

  const api = new Router<Koa.DefaultState, WithSession>({ prefix: "/api" });
  api.get("/state", async (ctx) => {
    ctx.body = await state(sessions, node, ctx.session);
  });
  api.post("/sign-in", async (ctx) => {
    const name = nameIn(await readJson(ctx.req));
    await ctx.session.regenerate(); // a new id for a new user
    ctx.session = { name };
    ctx.body = await state(sessions, node, ctx.session);
  });
  for (const [name, action] of Object.entries(ACTIONS)) {
    api.post(`/${name}`, async (ctx) => {
      act(action, ctx.session, await readJson(ctx.req));
      ctx.body = await state(sessions, node, ctx.session);
    });
  }
  api.post("/sign-out", async (ctx) => {
    ctx.session = null;
    ctx.body = await state(sessions, node, {});
  });
  app.use(api.routes());

  /** The id that an upgrade request's cookie carries; whether it is one of a session, attaching to it will tell. */
  const sidOf = (req: IncomingMessage) => cookie.externalKey.get(app.createContext(req, new ServerResponse(req)));
  return { listener: app.callback(), sidOf };
}
