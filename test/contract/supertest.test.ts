/** An application on AnynodeStore under supertest, as our users test theirs: agents keep their session, and nothing keeps Jest from ending. */
import type { Server } from "node:http";
import { anynode, type Sessions } from "anynode";
import { AnynodeStore } from "anynode/express-session";
import express from "express";
import session from "express-session";
import request from "supertest";

let sessions: Sessions;
let app: express.Express;
beforeEach(() => {
  sessions = anynode({ engine: "memory:" });
  app = express();
  app.use(session({ secret: "s", resave: false, saveUninitialized: false, store: new AnynodeStore(sessions) }));
  app.post("/sign-in", (req, res) => {
    Reflect.set(req.session, "user", "ann");
    res.redirect("/me");
  });
  app.get("/me", (req, res) => {
    res.json({ user: Reflect.get(req.session, "user") ?? null });
  });
  app.post("/sign-out", (req, res, next) => {
    req.session.destroy((error) => (error ? next(error) : res.sendStatus(204)));
  });
});
afterEach(() => sessions.close());

test("an agent signs in, follows the redirect, is known, signs out; another is a stranger", async () => {
  const ann = request.agent(app);
  const stranger = request.agent(app);
  expect((await ann.post("/sign-in").redirects(1)).body).toEqual({ user: "ann" });
  expect((await ann.get("/me").expect(200)).body).toEqual({ user: "ann" });
  expect((await stranger.get("/me")).body).toEqual({ user: null });
  await ann.post("/sign-out").expect(204);
  expect((await ann.get("/me")).body).toEqual({ user: null });
});

test("requests of one agent, all at once, on one server", async () => {
  const server: Server = app.listen(0);
  try {
    const ann = request.agent(server);
    await ann.post("/sign-in");
    const answers = await Promise.all(Array.from({ length: 20 }, () => ann.get("/me")));
    expect(answers.map(({ body }) => body)).toEqual(Array(20).fill({ user: "ann" }));
  } finally {
    server.close();
  }
});
