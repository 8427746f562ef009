/** The child process of one middleware: makes sessions of each shape, and sends requests of a case through when asked. */
import { type Case, cases, isSessionName, type SessionName, type Shape, shapes, type Use } from "./cases.js";
import { type Contents, randomText } from "./contents.js";
import { exchange, type Handler, type Middleware } from "./exchange.js";
import { USER_NAME } from "./subjects.js";

/** Of each shape. */
const SESSIONS = 20;
const DAY_MS = 86_400_000;

async function main(): Promise<void> {
  const [, , name, redisUrl = ""] = process.argv;
  if (!isSessionName(name)) throw new Error(`no middleware ${name}`);
  const middleware = await middlewareOf(name, redisUrl);
  const cookies = new Map<Shape, string[]>();
  for (const shape of shapes) {
    const signedIn: string[] = [];
    for (let i = 0; i < SESSIONS; i++) signedIn.push(await signIn(middleware, shape));
    cookies.set(shape, signedIn);
  }
  /** CPU time in microseconds. */
  const run = async ({ shape, use }: Case, requests: number, without: boolean) => {
    const [through, handler] = without ? [NONE, answer] : [middleware, withSession[use]];
    const ours = cookies.get(shape) ?? [];
    const before = process.cpuUsage();
    for (let i = 0; i < requests; i++) await exchange(through, handler, ours[i % SESSIONS] ?? "");
    const { user, system } = process.cpuUsage(before);
    return user + system;
  };
  process.on("message", (question) => {
    const { at, requests, without } = Object(question);
    const one = cases[Number(at)];
    if (one === undefined) throw new RangeError(`no case ${at}`);
    run(one, Number(requests), without === true).then((micros) => process.send?.({ micros }), failed);
  });
  process.on("disconnect", () => process.exit(0));
  process.send?.({ ready: true });
}

/** Each process loads only what it measures. */
async function middlewareOf(name: SessionName, redisUrl: string): Promise<Middleware> {
  if (name === "memory-store") {
    const { default: session, MemoryStore } = await import("express-session");
    const cookie = { maxAge: DAY_MS };
    return { handle: session({ secret: "bench", store: new MemoryStore(), resave: false, saveUninitialized: false, cookie }) };
  }
  const [{ anynode }, { session }] = await Promise.all([import("anynode"), import("anynode/express")]);
  const sessions = anynode({
    engine: name === "native-memory" ? "memory:" : redisUrl,
    reads: name === "native-redis-checked" ? "checked" : "leased",
    keyring: ["plain"],
  });
  await sessions.ready();
  return { handle: session(sessions, { secret: "bench", name: "connect.sid", cookie: { maxAge: DAY_MS } }) };
}

const withSession: Readonly<Record<Use, Handler>> = {
  nothing: (_request, response) => void response.end(USER_NAME),
  read: ({ session }, response) => {
    if (session?.visitor?.name !== USER_NAME) throw new Error("a session was lost");
    response.end(session.visitor.name);
  },
  write: ({ session }, response) => {
    if (session?.visits === undefined) throw new Error("a session was lost");
    session.visits += 1;
    response.end(USER_NAME);
  },
};

const answer: Handler = (_request, response) => void response.end(USER_NAME);
const NONE: Middleware = { handle: (_request, _response, next) => next() };

/** The cookie of a new session of that shape. */
async function signIn(middleware: Middleware, shape: Shape): Promise<string> {
  const attributes = attributesOf(shape);
  const response = await exchange(
    middleware,
    (request, response) => {
      Object.assign(request.session ?? {}, attributes);
      response.end("signed in");
    },
    "",
  );
  const cookie = /^[^;]+/.exec(String(response.getHeader("set-cookie")))?.[0];
  if (cookie === undefined || cookie === "undefined") throw new Error("no cookie at sign-in");
  return cookie;
}

/** The small ones that the handlers use, and as many others of equal size as make up the rest: lists of a basket's articles. */
function attributesOf({ kilobytes, attributes }: Shape): object {
  const used: Pick<Contents, "visitor" | "visits"> = {
    visitor: { id: 123_456, name: USER_NAME, roles: ["customer", "editor"] },
    visits: 0,
  };
  const others = Array.from({ length: attributes - Object.keys(used).length }, (_, at) => `basket${at}`);
  const bytesEach = (kilobytes * 1_024 - JSON.stringify(used).length) / others.length;
  const basket = () => {
    const articles: Contents["basket"] = [];
    while (JSON.stringify(articles).length + 25 < bytesEach)
      articles.push({ id: `article-${randomText(8)}`, amount: articles.length + 1, price: 1_999 });
    return articles;
  };
  return { ...used, ...Object.fromEntries(others.map((other) => [other, basket()])) };
}

function failed(error: unknown): void {
  console.error(error);
  process.exit(1);
}

main().catch(failed);
