/** An application with sign-in on both native front ends: a route is a function of the request's session, and its result the answer. */
import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { Sessions } from "anynode";
import { session as expressSession } from "anynode/express";
import { session as koaSession } from "anynode/koa";
import express from "express";
import Koa from "koa";
import type { PersonSession } from "../../lib/web/person-session.js";

export interface Visit {
  /** The request's session as it is now. */
  readonly session: PersonSession;
  readonly query: URLSearchParams;
  setHeader(name: string, value: string): void;
}
export type Routes = Readonly<Record<string, (visit: Visit) => unknown>>;

export interface PeopleOptions {
  readonly maxAge?: number;
  readonly rolling?: boolean;
  readonly remember?: { readonly idleMs: number; readonly absoluteMs: number };
  readonly onEnded?: 401;
}

export const PEOPLE_HOSTS = ["express", "koa"] as const;
export type PeopleHost = (typeof PEOPLE_HOSTS)[number];

export interface PeopleNode {
  readonly url: string;
  close(): Promise<void>;
}

export async function peopleNode(
  host: PeopleHost,
  sessions: Sessions,
  routes: Routes,
  options: PeopleOptions = {},
): Promise<PeopleNode> {
  const app = host === "express" ? expressApp(sessions, routes, options) : koaApp(sessions, routes, options);
  const server: Server = createServer(app).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    async close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

function expressApp(sessions: Sessions, routes: Routes, { maxAge, ...options }: PeopleOptions): RequestListener {
  const app = express();
  const cookie = maxAge === undefined ? {} : { maxAge };
  app.set("trust proxy", true);
  app.use(expressSession(sessions, { secret: "a secret of the tests", cookie, ...options }));
  for (const [path, route] of Object.entries(routes)) {
    app.get(`/${path}`, (req, res, next) => {
      const visit: Visit = {
        get session() {
          return own(req.session);
        },
        query: new URL(req.url, "http://localhost").searchParams,
        setHeader: (name, value) => void res.setHeader(name, value),
      };
      Promise.resolve(visit)
        .then(route)
        .then((answer) => res.json(answer ?? {}), next);
    });
  }
  app.use((error: unknown, _req: express.Request, res: express.Response, _next: express.NextFunction) => {
    res.status(Number(Reflect.get(Object(error), "status") ?? 500)).json({});
  });
  return app;
}

function koaApp(
  sessions: Sessions,
  routes: Routes,
  { maxAge = "session" as const, ...options }: Omit<PeopleOptions, "maxAge"> & { maxAge?: number | "session" },
): RequestListener {
  const app = new Koa();
  app.keys = ["a secret of the tests"];
  app.proxy = true;
  app.silent = true;
  app.use(koaSession(sessions, { maxAge, ...options }));
  app.use(async (ctx) => {
    const route = routes[ctx.path.slice(1)];
    const visit: Visit = {
      get session() {
        return own(Reflect.get(ctx, "session"));
      },
      query: ctx.URL.searchParams,
      setHeader: (name, value) => ctx.set(name, value),
    };
    ctx.body = (await route?.(visit)) ?? {};
  });
  return app.callback();
}

function own(session: unknown): PersonSession {
  if (isPersonSession(session)) return session;
  throw new Error("this request has no session any more");
}
function isPersonSession(session: unknown): session is PersonSession {
  return typeof session === "object" && session !== null && "reauthenticatedWithin" in session;
}
