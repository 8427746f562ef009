/**
 * The test application on Koa: with koa-session and AnynodeKoaStore, or with our own middleware. `/admin` is an application of its own,
 * with its own cookie, on the same store.
 */
import type { RequestListener } from "node:http";
import Router from "@koa/router";
import type { Sessions } from "anynode";
import { session as native } from "anynode/koa";
import { AnynodeKoaStore } from "anynode/koa-session";
import Koa from "koa";
import session from "koa-session";
import { ACTIONS, run, type Visit } from "./actions.js";
import type { Gates } from "./gates.js";
import { type HostOptions, SECRET } from "./host.js";

/** What koa-session adds to a context. */
interface WithSession {
  get session(): KoaSession | null;
  set session(value: object | null);
}
interface KoaSession {
  maxAge: number | "session" | undefined;
  save(): Promise<void>;
  regenerate(): Promise<void>;
  /** Ours has it. */
  reload?(): Promise<void>;
  toJSON(): object;
}

export function koaApp(sessions: Sessions, gates: Gates, options: HostOptions): RequestListener {
  const store = new AnynodeKoaStore(sessions);
  const { maxAge = "session", rolling = false } = options;
  // koa-session's types don't know the cookie's own settings, and passes them on.
  const made: Make = (app, path, key) => {
    const cookie = { path };
    return session({ ...cookie, key, maxAge, rolling, store }, app);
  };
  return both(made, gates);
}

export function nativeKoaApp(sessions: Sessions, gates: Gates, options: HostOptions): RequestListener {
  const { maxAge = "session", rolling = false } = options;
  return both((_, path, name) => native(sessions, { path, name, maxAge, rolling }), gates);
}

type App = Koa<Koa.DefaultState, WithSession>;
type Make = (app: App, path: string, name: string) => Koa.Middleware<Koa.DefaultState, WithSession>;

function both(make: Make, gates: Gates): RequestListener {
  const main = mounted(make, gates, "", "sid");
  const admin = mounted(make, gates, "/admin", "admin.sid");
  return (req, res) => (req.url?.startsWith("/admin/") ? admin : main)(req, res);
}

function mounted(make: Make, gates: Gates, prefix: string, name: string): RequestListener {
  const app: App = new Koa<Koa.DefaultState, WithSession>();
  app.keys = [SECRET];
  app.silent = true;
  app.use(make(app, prefix || "/", name));
  const router = new Router<Koa.DefaultState, WithSession>({ prefix });
  for (const [path, action] of Object.entries(ACTIONS)) {
    router.get(`/${path}`, async (ctx) => {
      ctx.body = await run(action, visitOf(ctx), gates);
    });
  }
  app.use(router.routes());
  return app.callback();
}

function visitOf(ctx: WithSession & { readonly URL: URL }): Visit {
  const own = () => {
    if (ctx.session === null) throw new Error("this request has no session any more");
    return ctx.session;
  };
  return {
    query: ctx.URL.searchParams,
    session: own,
    attributes: () => ({ ...ctx.session?.toJSON() }),
    save: () => own().save(),
    async destroy() {
      ctx.session = null; // koa-session ends it when the request ends
    },
    regenerate: () => own().regenerate(),
    reload: () => own().reload?.() ?? Promise.reject(new Error("koa-session has no reload")),
    unset() {
      ctx.session = null;
    },
    setMaxAge(ms) {
      own().maxAge = ms;
    },
  };
}
