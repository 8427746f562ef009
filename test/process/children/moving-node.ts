/**
 * A node of an application that moves. Arguments: its kind, the URL of Redis. "former": express-session over connect-redis; "native": our
 * front end, which moves in from there. Prints its URL once it is ready, and ends with its parent.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import { anynode } from "anynode";
import { session as native } from "anynode/express";
import { RedisStore } from "connect-redis";
import express, { type RequestHandler } from "express";
import session from "express-session";
import { createClient } from "redis";
import { SECRET } from "../../support/app/host.js";

const COOKIE = { maxAge: 3_600_000 };

async function main(): Promise<void> {
  const [, , kind = "", url = ""] = process.argv;
  const client = createClient({ url });
  await client.connect();
  const store = new RedisStore({ client });
  const app = express();
  app.use(
    kind === "former"
      ? session({ secret: SECRET, resave: false, saveUninitialized: false, cookie: COOKIE, store })
      : await moving(url, store),
  );
  app.get("/set", (req, res) => {
    for (const [name, value] of Object.entries(req.query)) Reflect.set(req.session, name, value);
    res.json({ ...req.session, cookie: undefined });
  });
  app.get("/read", (req, res) => void res.json({ ...req.session, cookie: undefined }));
  app.get("/sign-out", (req, res, next) => {
    req.session.destroy((error: unknown) => (error ? next(error) : res.json({})));
  });
  const server = createServer(app);
  server.keepAliveTimeout = 0;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  console.log(`http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`);
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) process.exit(1);
  }, 500);
}

async function moving(engine: string, store: RedisStore): Promise<RequestHandler> {
  const sessions = anynode({ engine, keyring: ["plain"] });
  await sessions.ready();
  return native(sessions, { secret: SECRET, cookie: COOKIE, migrateFrom: store });
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
