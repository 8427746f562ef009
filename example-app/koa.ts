/** The same application on Koa: koa-session with anynode as its external store. */
import type { RequestListener } from "node:http";
import Router from "@koa/router";
import type { Sessions } from "anynode";
import { AnynodeKoaStore } from "anynode/koa-session";
import Koa from "koa";
import session from "koa-session";
import { failure, health, type NodeSettings, state } from "./answers.js";
import { readJson } from "./body.js";
import { expressCookie } from "./koa-cookie.js";
import { PAGES } from "./pages.js";
import { ACTIONS, act, nameIn, type Visit } from "./shop.js";

/** What koa-session adds to a context. */
interface WithSession {
  get session(): Visit & { regenerate(): Promise<void> };
  set session(visit: Visit | null);
}

export function koaApp(sessions: Sessions, node: NodeSettings): RequestListener {
  const app = new Koa<Koa.DefaultState, WithSession>();
  app.use(async (ctx, next) => {
    ctx.set("x-node", node.name);
    try {
      await next();
    } catch (error) {
      Object.assign(ctx, failure(error));
    }
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

  app.use(session({ ...expressCookie(node.secret), maxAge: "session", store: new AnynodeKoaStore(sessions) }, app));

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
  return app.callback();
}
