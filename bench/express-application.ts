/** The application on Express 5: bare, with express-session and a store, or with our own middleware. */
import type { Engine } from "anynode";
import express, { type Express, type RequestHandler } from "express";
import type { Store } from "express-session";
import { type Contents, fill, signIn } from "./contents.js";
import { type Place, type SubjectName, USER_NAME } from "./subjects.js";

declare module "express-session" {
  interface SessionData extends Contents {}
}

type ExpressSubject = Exclude<SubjectName, "koa-session-redis" | "native-koa-redis">;

export async function expressApplication(name: ExpressSubject, place: Place): Promise<Express> {
  const app = express();
  app.disable("x-powered-by");
  if (name === "bare") return bare(app);
  app.use(name === "native-memory" || name === "native-redis" ? await native(name, place) : await keeping(storeOf(name, place)));
  return withSessions(app);
}

/** Our own middleware instead of express-session's. */
async function native(name: "native-memory" | "native-redis", { redisUrl }: Place): Promise<RequestHandler> {
  const [{ anynode }, { session: middleware }] = await Promise.all([import("anynode"), import("anynode/express")]);
  const sessions = anynode({ engine: name === "native-memory" ? "memory:" : redisUrl, keyring: ["plain"] });
  await sessions.ready();
  return middleware(sessions, { secret: "bench", name: "connect.sid", cookie: { maxAge: 86_400_000 } });
}

async function storeOf(
  name: Exclude<ExpressSubject, "bare" | "native-memory" | "native-redis">,
  { redisUrl, directory }: Place,
): Promise<Store> {
  if (name === "memory-store") return new (await import("express-session")).MemoryStore();
  if (name === "connect-redis") {
    const [{ RedisStore }, { createClient }] = await Promise.all([import("connect-redis"), import("redis")]);
    const client = createClient({ url: redisUrl });
    client.on("error", () => {});
    await client.connect();
    return new RedisStore({ client });
  }
  const { AnynodeStore } = await import("anynode/express-session");
  const engines = {
    "anynode-memory": () => "memory:",
    "anynode-lmdb": () => `lmdb:${directory}`,
    "anynode-redis": () => redisUrl,
    "anynode-redis-checked": () => redisUrl,
    "anynode-redis-sealed": () => redisUrl,
    "anynode-ioredis": () => overIoredis(redisUrl),
  };
  const store = new AnynodeStore({
    engine: await engines[name](),
    reads: name === "anynode-redis-checked" ? "checked" : "leased",
    keyring: name === "anynode-redis-sealed" ? [{ id: "2030-01", key: Buffer.alloc(32, 7) }] : ["plain"],
  });
  await store.sessions.ready();
  return store;
}

async function overIoredis(redisUrl: string): Promise<Engine> {
  const [{ redisEngine }, { Redis }] = await Promise.all([import("anynode/redis"), import("ioredis")]);
  return redisEngine({ client: new Redis(redisUrl) });
}

async function keeping(store: Promise<Store>): Promise<RequestHandler> {
  const { default: session } = await import("express-session");
  return session({
    secret: "bench",
    store: await store,
    resave: false,
    saveUninitialized: false,
    cookie: { maxAge: 86_400_000 },
  });
}

/** The same routes without any session: what the rest of Express costs. */
function bare(app: Express): Express {
  app.get("/sign-in", (_request, response) => void response.send("signed in"));
  app.get("/read", (_request, response) => void response.send(USER_NAME));
  app.get("/write", (_request, response) => void response.send("1"));
  return app;
}

function withSessions(app: Express): Express {
  app.get("/sign-in", ({ session }, response) => {
    signIn(session);
    response.send("signed in");
  });
  app.get("/read", ({ session }, response) => {
    if (session.visitor === undefined) response.status(401);
    response.send(session.visitor?.name);
  });
  app.get("/write", ({ session }, response) => {
    if (session.visits === undefined) response.status(401);
    session.visits = (session.visits ?? 0) + 1;
    response.send(String(session.visits));
  });
  app.get("/fill", ({ session, query }, response) => {
    fill(session, Number(query["bytes"]));
    response.send("filled");
  });
  return app;
}
