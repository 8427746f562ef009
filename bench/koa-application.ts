/** The application on Koa: with koa-session and a plain Redis store, or with our own middleware. */
import type { RequestListener } from "node:http";
import Koa from "koa";
import { type Contents, fill, signIn } from "./contents.js";
import type { Place } from "./subjects.js";

type KoaSubject = "koa-session-redis" | "native-koa-redis";

/** What either middleware adds to a context. */
interface WithSession {
  get session(): Partial<Contents> | null;
  set session(value: object | null);
}
type App = Koa<Koa.DefaultState, WithSession>;
type Middleware = Koa.Middleware<Koa.DefaultState, WithSession>;

export async function koaApplication(name: KoaSubject, { redisUrl }: Place): Promise<RequestListener> {
  const app: App = new Koa<Koa.DefaultState, WithSession>();
  app.keys = ["bench"];
  app.use(name === "native-koa-redis" ? await native(redisUrl) : await koaSession(app, redisUrl));
  app.use(routes);
  return app.callback();
}

async function native(redisUrl: string): Promise<Middleware> {
  const [{ anynode }, { session }] = await Promise.all([import("anynode"), import("anynode/koa")]);
  const sessions = anynode({ engine: redisUrl, keyring: ["plain"] });
  await sessions.ready();
  return session(sessions, { name: "koa.sess", maxAge: 86_400_000 });
}

/** The store as koa-session's documentation describes one: three methods over a client, JSON in between. */
async function koaSession(app: App, redisUrl: string): Promise<Middleware> {
  const [{ default: session }, { createClient }] = await Promise.all([import("koa-session"), import("redis")]);
  const client = createClient({ url: redisUrl });
  client.on("error", () => {});
  await client.connect();
  const store = {
    async get(key: string) {
      const text = await client.get(key);
      return text === null ? undefined : JSON.parse(text);
    },
    async set(key: string, value: object, maxAge?: number | "session") {
      const seconds = Math.ceil((typeof maxAge === "number" ? maxAge : 86_400_000) / 1_000);
      await client.set(key, JSON.stringify(value), { expiration: { type: "EX", value: seconds } });
    },
    async destroy(key: string) {
      await client.del(key);
    },
  };
  return session({ store, maxAge: 86_400_000 }, app);
}

const routes: Middleware = (ctx) => {
  const { session } = ctx;
  if (session === null) throw new Error("no session");
  switch (ctx.path) {
    case "/sign-in":
      signIn(session);
      ctx.body = "signed in";
      return;
    case "/read":
      if (session.visitor === undefined) ctx.status = 401;
      ctx.body = session.visitor?.name;
      return;
    case "/write":
      if (session.visits === undefined) ctx.status = 401;
      session.visits = (session.visits ?? 0) + 1;
      ctx.body = String(session.visits);
      return;
    case "/fill":
      fill(session, Number(ctx.query["bytes"]));
      ctx.body = "filled";
  }
};
