/** The libraries that applications use on top of req.session: they work as with express-session. */
import "reflect-metadata";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { type ExpressSession, session } from "anynode/express";
import { memoryEngine } from "anynode/memory";
import flash from "connect-flash";
import { csrfSync } from "csrf-sync";
import express, { type Express } from "express";
import { rateLimit } from "express-rate-limit";
import passport from "passport";
import { Server as SocketServer } from "socket.io";
import { io } from "socket.io-client";
import { anynode, type Sessions } from "../../lib/index.js";
import { Browser } from "../support/browser.js";

let sessions: Sessions;
const closing: (() => unknown)[] = [];
beforeEach(async () => {
  sessions = anynode({ engine: memoryEngine() });
  await sessions.ready();
  closing.push(() => sessions.close());
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const ours = () => session(sessions, { secret: "a secret of the tests" });

async function urlOf(server: Server): Promise<string> {
  if (!server.listening) {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
  }
  closing.push(() => {
    server.close();
    server.closeAllConnections();
  });
  const address = server.address();
  return `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
}

function app(setUp: (app: Express) => void): Promise<string> {
  const one = express();
  one.use(ours());
  setUp(one);
  return urlOf(createServer(one));
}

test("passport: a sign-in changes the id, the user is there afterwards, a sign-out ends it", async () => {
  const auth = new passport.Passport();
  auth.serializeUser((user, done) => done(null, Reflect.get(user, "name")));
  auth.deserializeUser((name, done) => done(null, { name }));
  const url = await app((one) => {
    one.use(auth.session());
    one.get("/before", (req, res) => {
      Reflect.set(req.session, "cart", 1);
      res.json({});
    });
    one.get("/in", (req, res, next) => req.login({ name: "ann" }, (error) => (error ? next(error) : res.json({}))));
    one.get("/out", (req, res, next) => req.logout((error) => (error ? next(error) : res.json({}))));
    one.get("/me", (req, res) => res.json({ user: req.user ?? null }));
  });
  const visitor = new Browser();
  await visitor.get(url, "/before");
  const before = visitor.fork();
  expect((await visitor.get(url, "/in")).status).toBe(200);
  expect(visitor.cookie("sid")).not.toBe(before.cookie("sid"));
  expect((await visitor.get(url, "/me")).body).toEqual({ user: { name: "ann" } });
  expect((await before.get(url, "/me")).body).toEqual({ user: null });
  const signedIn = visitor.fork();
  await visitor.get(url, "/out");
  for (const one of [visitor, signedIn]) expect((await one.get(url, "/me")).body).toEqual({ user: null });
});

test("csrf-sync: the token of the session is taken, another isn't", async () => {
  const { csrfSynchronisedProtection, generateToken } = csrfSync({
    ignoredMethods: ["HEAD"],
    getTokenFromRequest: (req) => `${req.query["t"]}`,
  });
  const url = await app((one) => {
    one.get("/token", (req, res) => res.json({ token: generateToken(req) }));
    one.use(csrfSynchronisedProtection);
    one.get("/do", (_, res) => res.json({ done: true }));
  });
  const visitor = new Browser();
  const { token } = (await visitor.get(url, "/token")).body;
  expect((await visitor.get(url, `/do?t=${token}`)).body).toEqual({ done: true });
  expect((await visitor.get(url, "/do?t=x")).status).not.toBe(200);
  expect((await new Browser().get(url, `/do?t=${token}`)).status).not.toBe(200);
});

test("connect-flash: a message is shown once", async () => {
  const url = await app((one) => {
    one.use(flash());
    one.get("/say", (req, res) => res.json({ count: req.flash("info", "hello") }));
    one.get("/hear", (req, res) => res.json({ heard: req.flash("info") }));
  });
  const visitor = new Browser();
  await visitor.get(url, "/say");
  expect((await visitor.get(url, "/hear")).body).toEqual({ heard: ["hello"] });
  expect((await visitor.get(url, "/hear")).body).toEqual({ heard: [] });
});

test("express-rate-limit: by session", async () => {
  const url = await app((one) => {
    one.get("/set", (req, res) => {
      Reflect.set(req.session, "n", 1);
      res.json({});
    });
    one.use(rateLimit({ windowMs: 60_000, limit: 2, keyGenerator: ({ sessionID }) => sessionID }));
    one.get("/", (_, res) => res.json({}));
  });
  const visitor = new Browser();
  await visitor.get(url, "/set");
  const statuses = [];
  for (let i = 0; i < 3; i++) statuses.push((await visitor.get(url, "/")).status);
  expect([statuses, (await new Browser().get(url, "/")).status]).toEqual([[200, 200, 429], 200]);
});

test("Socket.IO: io.engine.use(session) gives sockets the visitor's session", async () => {
  const one = express();
  one.use(ours());
  one.get("/set", (req, res) => {
    Reflect.set(req.session, "n", 1);
    res.json({});
  });
  one.get("/", (req, res) => res.json({ n: Reflect.get(req.session, "n") }));
  const server = createServer(one);
  const sockets = new SocketServer(server);
  sockets.engine.use(ours());
  sockets.on("connection", (socket) => {
    const own: ExpressSession | undefined = Reflect.get(socket.request, "session");
    if (own === undefined) return;
    socket.emit("n", Reflect.get(own, "n"));
    socket.on("set", async (value, done) => {
      await own.reload();
      const fresh: ExpressSession = Reflect.get(socket.request, "session");
      Reflect.set(fresh, "n", value);
      await fresh.save();
      done();
    });
  });
  const url = await urlOf(server);
  closing.push(() => sockets.close());
  const visitor = new Browser();
  await visitor.get(url, "/set");
  for (const transports of [["websocket"], ["polling"], ["polling", "websocket"]]) {
    const before = (await visitor.get(url, "/")).body["n"];
    const client = io(url, { transports, extraHeaders: { cookie: `sid=${visitor.cookie("sid")}` } });
    const [seen] = await Promise.race([
      new Promise<unknown[]>((resolve) => client.once("n", (n) => resolve([n]))),
      new Promise<unknown[]>((_, reject) => client.once("connect_error", reject)),
    ]);
    expect(seen).toEqual(before);
    await client.emitWithAck("set", `${transports}`);
    expect((await visitor.get(url, "/")).body).toEqual({ n: `${transports}` });
    client.disconnect();
  }
});

test("NestJS: app.use(session)", async () => {
  class Root {}
  Module({})(Root);
  const nest = await NestFactory.create(Root, { logger: false });
  nest.use(ours());
  nest.getHttpAdapter().get("/", (req: express.Request, res: express.Response) => {
    const n = Number(Reflect.get(req.session, "n") ?? 0) + 1;
    Reflect.set(req.session, "n", n);
    res.json({ n });
  });
  await nest.listen(0, "127.0.0.1");
  closing.push(() => nest.close());
  const url = (await nest.getUrl()).replace("[::1]", "127.0.0.1");
  const visitor = new Browser();
  for (const n of [1, 2]) expect((await visitor.get(url, "/")).body).toEqual({ n });
});
