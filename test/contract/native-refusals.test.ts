/** After a failed commit the response is the error's, whenever the handler goes on: see lib/web/held-response.ts. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import http2 from "node:http2";
import { connect } from "node:net";
import { type Middleware, session } from "anynode/express";
import { memoryEngine } from "anynode/memory";
import express, { type ErrorRequestHandler } from "express";
import { AnynodeError, anynode, type Sessions } from "../../lib/index.js";
import { type Double, engineDouble } from "../support/engine-double.js";

const SECRET = "a secret of the tests";
const soon = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
let double: Double;
let sessions: Sessions;
const closing: (() => unknown)[] = [];
beforeEach(async () => {
  double = engineDouble(memoryEngine());
  sessions = anynode({ engine: double.engine });
  await sessions.ready();
  double.use({
    create: async () => {
      await soon(5);
      throw new AnynodeError("ENGINE_TIMEOUT", "injected");
    },
  });
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  await sessions.close();
});

type Handler = (req: IncomingMessage & { session?: unknown }, res: ServerResponse) => unknown;
type Answer = (res: express.Response) => unknown;

async function served(listener: (req: IncomingMessage, res: ServerResponse) => void): Promise<string> {
  const server = createServer(listener);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closing.push(() => {
    server.close();
    server.closeAllConnections();
  });
  const address = server.address();
  return `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
}

async function answered(handler: Handler, answer: Answer): Promise<[number, string]> {
  const app = express();
  app.use(session(sessions, { secret: SECRET }));
  app.use(async (req, res) => {
    Reflect.set(req.session, "n", 1);
    await handler(req, res);
  });
  const onError: ErrorRequestHandler = (_error, _req, res, _next) => void answer(res);
  app.use(onError);
  const response = await fetch(await served(app), { redirect: "manual" });
  return [response.status, await response.text()];
}

const handlers: [string, Handler][] = [
  [
    "ends while the error's handler is at work",
    async (_, res) => {
      res.write("a");
      await soon(50);
      res.end("b");
    },
  ],
  [
    "writes and ends a few microtasks after the failure",
    async (req, res) => {
      await Promise.resolve(Object(req.session).save()).catch(() => {});
      for (let i = 0; i < 20; i++) await null;
      res.write("a");
      res.end("b");
    },
  ],
  [
    "says a head of its own",
    async (_, res) => {
      res.write("a");
      await soon(50);
      res.writeHead(200, { "X-Late": "1" });
      res.flushHeaders();
      res.end("b");
    },
  ],
];
const answers: [string, Answer, [number, string]][] = [
  ["at once", (res) => res.status(503).send("later"), [503, "later"]],
  ["after a while", (res) => void soon(100).then(() => res.status(503).send("later")), [503, "later"]],
  [
    "after a while, with a redirect",
    (res) => void soon(100).then(() => res.redirect("/sorry")),
    [302, "Found. Redirecting to /sorry"],
  ],
];
describe.each(handlers)("a handler that %s", (_, handler) => {
  test.each(answers)("is refused by one that answers %s", async (_, answer, expected) => {
    expect(await answered(handler, answer)).toEqual(expected);
  });
});

test("several at once are each answered by their own", async () => {
  const app = express();
  app.use(session(sessions, { secret: SECRET }));
  app.use(async (req, res) => {
    Reflect.set(req.session, "n", 1);
    res.write("a");
    await soon(40);
    res.end("b");
  });
  const onError: ErrorRequestHandler = async (_error, req, res, _next) => {
    await soon(20 + 20 * Number(req.url.slice(1)));
    res.redirect(`/sorry${req.url}`);
  };
  app.use(onError);
  const url = await served(app);
  const asked = [0, 1, 2, 3].map((n) =>
    fetch(`${url}/${n}`, { redirect: "manual" }).then(({ headers }) => headers.get("location")),
  );
  expect(await Promise.all(asked)).toEqual(["/sorry/0", "/sorry/1", "/sorry/2", "/sorry/3"]);
});

test("a request that waits for the one before it on its connection is answered, too", async () => {
  const app = express();
  app.use(session(sessions, { secret: SECRET }));
  app.use(async (req, res) => {
    if (req.url === "/slow") {
      await soon(100);
      return void res.end("slow");
    }
    Reflect.set(req.session, "n", 1);
    res.end("fine");
  });
  const onError: ErrorRequestHandler = async (_error, _req, res, _next) => {
    await soon(10);
    res.redirect("/sorry");
  };
  app.use(onError);
  const { port } = new URL(await served(app));
  const socket = connect(Number(port));
  socket.write("GET /slow HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  let text = "";
  for await (const part of socket.setEncoding("utf8")) text += part;
  expect(text.match(/HTTP\/1.1 \d+/g)).toEqual(["HTTP/1.1 200", "HTTP/1.1 302"]);
});

test("a middleware further out that ends later gets the whole answer", async () => {
  const app = express();
  app.use((_req, res, next) => {
    const { end } = res;
    Reflect.set(res, "end", (...args: unknown[]) => {
      setTimeout(() => Reflect.apply(end, res, args), 10);
      return res;
    });
    next();
  });
  app.use(session(sessions, { secret: SECRET }));
  app.use((req, res) => {
    Reflect.set(req.session, "n", 1);
    res.end("fine");
  });
  const onError: ErrorRequestHandler = (_error, _req, res, _next) => void res.status(503).set("X-Error", "1").end("later");
  app.use(onError);
  const response = await fetch(await served(app));
  expect([response.status, response.headers.get("x-error"), await response.text()]).toEqual([503, "1", "later"]);
});

test.each<[string, (res: http2.Http2ServerResponse) => void]>([
  [
    "with a length",
    (res) => {
      res.writeHead(503, { "content-length": 5 });
      res.end("later");
    },
  ],
  [
    "in parts",
    (res) => {
      res.writeHead(503);
      res.write("lat");
      res.end("er");
    },
  ],
])("HTTP/2: the error's answer arrives, %s", async (_, answer) => {
  const middleware: Middleware<http2.Http2ServerRequest> = session<http2.Http2ServerRequest>(sessions, { secret: SECRET });
  const server = http2.createServer((req, res) =>
    middleware(req, res, (error) => {
      if (error !== undefined) return answer(res);
      Reflect.set(Object(Reflect.get(req, "session")), "n", 1);
      res.end("fine");
    }),
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const client = http2.connect(`http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`);
  closing.push(() => {
    client.destroy();
    server.close();
  });
  const stream = client.request({ ":path": "/" });
  const [headers] = await once(stream, "response");
  let text = "";
  for await (const part of stream.setEncoding("utf8")) text += part;
  expect([headers[":status"], text]).toEqual([503, "later"]);
});
