/**
 * What is measured: the same small Express 5 application, each time with another way to keep sessions. Nothing but the session
 * middleware differs; every subject gets the options that its own documentation recommends.
 */
import { randomInt } from "node:crypto";
import type { Engine } from "anynode";
import express, { type Express, type RequestHandler } from "express";
import session, { MemoryStore, type Store } from "express-session";
import { type Place, type SubjectName, USER_NAME } from "./subjects.js";

declare module "express-session" {
  interface SessionData {
    visitor: { id: number; name: string; roles: string[] };
    basket: { id: string; amount: number; price: number }[];
    token: string;
    look: string;
    visits: number;
    text: string;
  }
}

export async function application(name: SubjectName, place: Place): Promise<Express> {
  const app = express();
  app.disable("x-powered-by");
  if (name === "bare") return bare(app);
  app.use(name === "native-memory" || name === "native-redis" ? await native(name, place) : keeping(await storeOf(name, place)));
  return withSessions(app);
}

/** Our own middleware instead of express-session's. */
async function native(name: "native-memory" | "native-redis", { redisUrl }: Place): Promise<RequestHandler> {
  const [{ anynode }, { session: middleware }] = await Promise.all([import("anynode"), import("anynode/express")]);
  const sessions = anynode({ engine: name === "native-memory" ? "memory:" : redisUrl, keyring: ["plain"] });
  await sessions.ready();
  return middleware(sessions, { secret: "bench", name: "connect.sid", cookie: { maxAge: 86_400_000 } });
}

/** Each process loads only what it measures. */
async function storeOf(
  name: Exclude<SubjectName, "bare" | "native-memory" | "native-redis">,
  { redisUrl, directory }: Place,
): Promise<Store> {
  if (name === "memory-store") return new MemoryStore();
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

function keeping(store: Store): RequestHandler {
  return session({ secret: "bench", store, resave: false, saveUninitialized: false, cookie: { maxAge: 86_400_000 } });
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
    // About 0.5 KB of JSON, of the shapes that sessions have.
    session.visitor = { id: randomInt(1e6), name: USER_NAME, roles: ["customer", "editor"] };
    session.basket = Array.from({ length: 6 }, (_, at) => ({
      id: `article-${at}-${randomInt(1e6)}`,
      amount: at + 1,
      price: 1_999,
    }));
    session.token = randomText(32);
    session.look = "dark";
    session.visits = 0;
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
  /** A new session whose attributes' JSON is `bytes` long and (all but) incompressible. */
  app.get("/fill", ({ session, query }, response) => {
    session.visits = randomInt(10, 100);
    session.token = randomText(32);
    const left = Number(query["bytes"]) - JSON.stringify({ visits: session.visits, token: session.token, text: "" }).length;
    session.text = randomText(left);
    response.send("filled");
  });
  return app;
}

/** Printable ASCII that JSON needn't escape: 93 characters, as dense as JSON text of one byte a character can be. */
const CHARACTERS = Array.from({ length: 95 }, (_, at) => String.fromCharCode(32 + at)).filter((one) => !'"\\'.includes(one));

function randomText(length: number): string {
  let text = "";
  while (text.length < length) text += CHARACTERS[randomInt(CHARACTERS.length)] ?? "";
  return text;
}
