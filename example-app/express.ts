/** The application on Express: express-session keeps the cookie, anynode keeps the session. */
import type { IncomingMessage } from "node:http";
import type { Sessions } from "anynode";
import { AnynodeStore } from "anynode/express-session";
import express, { type NextFunction, type Request, type Response } from "express";
import session from "express-session";
import { failure, health, type NodeApp, type NodeSettings, ROUND_TRIPS, roundTrips, state } from "./answers.js";
import { PAGES } from "./pages.js";
import { ACTIONS, act, nameIn, type Visit } from "./shop.js";

declare module "express-session" {
  interface SessionData extends Visit {}
}

export function expressApp(sessions: Sessions, node: NodeSettings): NodeApp {
  const app = express();
  app.disable("x-powered-by");
  app.use((_req, res, next) => {
    res.set("x-node", node.name);
    res.locals["trips"] = roundTrips(sessions);
    next();
  });

  // Mounted before the session: these need none, so they cost none.
  for (const [path, page] of PAGES) {
    app.get(path, (_req, res) => {
      res.set(page.headers).send(page.body);
    });
  }
  app.get("/health", (_req, res) => {
    const { status, body } = health(sessions);
    res.status(status).json(body);
  });

  const visits = session({
    secret: node.secret,
    resave: false,
    saveUninitialized: false,
    cookie: { sameSite: "lax" },
    store: new AnynodeStore(sessions), // the one line that differs from an application on the memory store
  });
  app.use(visits, express.json());

  async function answer(res: Response, visit: Visit): Promise<void> {
    const body = await state(sessions, node, visit);
    res.set(ROUND_TRIPS, res.locals["trips"]()).json(body);
  }
  app.get("/api/state", (req, res) => answer(res, req.session));
  app.post("/api/sign-in", async (req, res) => {
    const name = nameIn(req.body);
    await settled((done) => req.session.regenerate(done)); // a new id for a new user
    req.session.name = name;
    await save(req);
    await answer(res, req.session);
  });
  for (const [name, action] of Object.entries(ACTIONS)) {
    app.post(`/api/${name}`, async (req, res) => {
      act(action, req.session, req.body);
      await save(req);
      await answer(res, req.session);
    });
  }
  app.post("/api/sign-out", async (req, res) => {
    await settled((done) => req.session.destroy(done));
    await answer(res.clearCookie("connect.sid"), {});
  });

  app.use((error: unknown, _req: Request, res: Response, _next: NextFunction) => {
    const { status, body } = failure(error);
    res.status(status).json(body);
  });

  /** An upgrade request goes through the same session middleware; its response is never sent. */
  async function sidOf(req: IncomingMessage): Promise<string> {
    const request = req as Request;
    await settled((done) => visits(request, {} as Response, done));
    return request.sessionID;
  }
  return { listener: app, sidOf };
}

/** Saved before the answer, so that "200" means "stored": express-session's own save comes too late to become a 503. */
function save(req: Request): Promise<void> {
  return settled((done) => req.session.save(done));
}

function settled(start: (done: (error: unknown) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    start((error) => (error ? reject(error) : resolve()));
  });
}
