/**
 * The test application on Express, 4 or 5: with express-session and AnynodeStore, or with our own middleware. Two middlewares on one
 * store: `/admin` has its own cookie.
 */
import type { RequestListener } from "node:http";
import type { Sessions } from "anynode";
import { session as native } from "anynode/express";
import { AnynodeStore } from "anynode/express-session";
import express, { type Request, type RequestHandler } from "express";
import session from "express-session";
import express4 from "express4";
import { ACTIONS, run, type Visit } from "./actions.js";
import type { Gates } from "./gates.js";
import { type HostOptions, SECRET } from "./host.js";

export function expressApp(version: 4 | 5, sessions: Sessions, gates: Gates, options: HostOptions): RequestListener {
  const store = new AnynodeStore(sessions);
  const { maxAge, ...rest } = options;
  const shared = { secret: SECRET, resave: false, saveUninitialized: false, store, ...rest };
  const cookie = maxAge === undefined ? {} : { maxAge };
  const admin = session({ ...shared, name: "admin.sid", cookie: { ...cookie, path: "/admin" } });
  return routed(version, admin, session({ ...shared, name: "sid", cookie }), gates);
}

export function nativeExpressApp(version: 4 | 5, sessions: Sessions, gates: Gates, options: HostOptions): RequestListener {
  const { maxAge, ...rest } = options;
  const cookie = maxAge === undefined ? {} : { maxAge };
  const admin = native(sessions, { secret: SECRET, ...rest, name: "admin.sid", cookie: { ...cookie, path: "/admin" } });
  return routed(version, admin, native(sessions, { secret: SECRET, ...rest, cookie }), gates);
}

function routed(version: 4 | 5, admin: RequestHandler, main: RequestHandler, gates: Gates): RequestListener {
  const app = version === 4 ? express4() : express();
  app.use("/admin", admin);
  app.use(main);
  for (const [path, action] of Object.entries(ACTIONS)) {
    app.get([`/${path}`, `/admin/${path}`], (req, res, next) => {
      run(action, visitOf(req), gates).then((body) => res.json(body), next);
    });
  }
  return app;
}

function visitOf(req: Request): Visit {
  return {
    query: new URL(req.url, "http://localhost").searchParams,
    session: () => req.session,
    attributes() {
      const { cookie: _, ...attributes } = req.session ?? {};
      return attributes;
    },
    save: () => settled((done) => req.session.save(done)),
    destroy: () => settled((done) => req.session.destroy(done)),
    regenerate: () => settled((done) => req.session.regenerate(done)),
    reload: () => settled((done) => req.session.reload(done)),
    unset: () => void Reflect.set(req, "session", null),
    setMaxAge(ms) {
      req.session.cookie.maxAge = ms;
    },
  };
}

function settled(start: (done: (error?: unknown) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    start((error) => (error ? reject(error) : resolve()));
  });
}
