/** The servers that a native front end is mounted in, with one route for each kind of response, and what was told of errors. */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import http2 from "node:http2";
import type { Sessions } from "anynode";
import { session } from "anynode/express";
import { session as koaSession } from "anynode/koa";
import express, { type RequestHandler } from "express";
import express4 from "express4";
import Koa from "koa";
import { EXPRESS_KINDS, KINDS, type Kind } from "./kinds.js";

export interface Told {
  readonly status: unknown;
  readonly code: unknown;
  /** Headers of the handler's that are still there. */
  readonly stale: readonly string[];
  readonly headersSent: boolean;
}
export interface Received {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: Buffer;
  readonly interim: number;
}
export interface Served {
  /** What error handlers were told since the last call. */
  told(): Told[];
  get(kind: Kind, cookie?: string, headers?: Record<string, string>): Promise<Received>;
  close(): Promise<void>;
}
export interface Around {
  readonly before?: readonly RequestHandler[];
  readonly after?: readonly RequestHandler[];
}
export interface Front {
  readonly name: string;
  readonly kinds: readonly Kind[];
  start(sessions: Sessions, around?: Around): Promise<Served>;
}

export const SECRET = "a secret of the tests";

/** Each request of a kind changes its session, then answers. */
function answer(kind: Kind, req: IncomingMessage, res: ServerResponse, change: (name: string, value: unknown) => void): void {
  if (req.headers["x-unchanged"] === undefined) changeAll(kind, change);
  kind.answer(req, res);
}

function changeAll(kind: Kind, change: (name: string, value: unknown) => void): void {
  change("seen", kind.name);
  change("once", randomUUID());
}

function kindOf(req: { url?: string | undefined }, kinds: readonly Kind[]): Kind {
  const kind = kinds[Number(req.url?.slice(1))];
  if (kind === undefined) throw new Error("no such kind");
  return kind;
}

function change(req: object): (name: string, value: unknown) => void {
  return (name, value) => {
    const own: unknown = Reflect.get(req, "session");
    if (typeof own === "object" && own !== null) Reflect.set(own, name, value);
  };
}

function expressFront(version: 4 | 5): Front {
  const kinds = [...KINDS, ...EXPRESS_KINDS];
  return {
    name: `express${version}`,
    kinds,
    start(sessions, { before = [], after = [] } = {}) {
      const told: Told[] = [];
      const app = version === 4 ? express4() : express();
      for (const one of before) app.use(one);
      app.use(session(sessions, { secret: SECRET }));
      for (const one of after) app.use(one);
      app.use((req, res) => answer(kindOf(req, kinds), req, res, change(req)));
      const onError: express.ErrorRequestHandler = (error, _req, res, _next) => {
        told.push(toldOf(error, res));
        res.status(error.status).json({ code: error.code });
      };
      app.use(onError);
      return serve1(createServer(app), kinds, told);
    },
  };
}

const plain: Front = {
  name: "node:http",
  kinds: KINDS,
  start(sessions) {
    const told: Told[] = [];
    const middleware = session(sessions, { secret: SECRET });
    const server = createServer((req, res) =>
      middleware(req, res, (error) => {
        if (error === undefined) return answer(kindOf(req, KINDS), req, res, change(req));
        told.push(toldOf(error, res));
        fail(res, error);
      }),
    );
    return serve1(server, KINDS, told);
  },
};

const plain2: Front = {
  name: "node:http2",
  kinds: KINDS,
  async start(sessions) {
    const told: Told[] = [];
    const middleware = session<http2.Http2ServerRequest>(sessions, { secret: SECRET });
    const server = http2.createServer((req, res) =>
      middleware(req, res, (error) => {
        if (error !== undefined) {
          told.push(toldOf(error, res));
          return fail(res, error);
        }
        // The compatibility API: the same calls as on node:http's responses.
        Reflect.apply(answer, undefined, [kindOf(req, KINDS), req, res, change(req)]);
      }),
    );
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const client = http2.connect(`http://127.0.0.1:${portOf(server)}`);
    return {
      told: () => told.splice(0),
      get: (kind, cookie, headers) => get2(client, KINDS.indexOf(kind), kind, cookie, headers),
      async close() {
        client.close();
        server.close();
        await once(server, "close");
      },
    };
  },
};

/** `respond`: by Koa's own way, with the body that the kind has; else by ctx.res. */
function koaFront(responds: boolean): Front {
  const kinds = responds ? KINDS.filter(({ name }) => !name.startsWith("writeHead") && name !== "HEAD") : KINDS;
  return {
    name: responds ? "koa" : "koa, by ctx.res",
    kinds,
    start(sessions) {
      const told: Told[] = [];
      const app = new Koa();
      app.on("error", (error, ctx) => told.push(toldOf(error, ctx.res)));
      app.use(koaSession(sessions, { secret: SECRET, maxAge: "session", name: "sid" }));
      app.use((ctx) => {
        const kind = kindOf(ctx, kinds);
        const put = change(ctx);
        if (responds) {
          if (ctx.headers["x-unchanged"] === undefined) changeAll(kind, put);
          ctx.set("ETag", '"of the handler"');
          ctx.body = kind.body;
          ctx.status = kind.status;
          return;
        }
        ctx.respond = false;
        ctx.res.statusCode = 200;
        answer(kind, ctx.req, ctx.res, put);
      });
      return serve1(createServer(app.callback()), kinds, told);
    },
  };
}

export const FRONTS: readonly Front[] = [expressFront(5), expressFront(4), plain, plain2, koaFront(true), koaFront(false)];

function fail(res: { statusCode: number; end(text: string): unknown }, error: unknown): void {
  res.statusCode = error instanceof Error && "status" in error && typeof error.status === "number" ? error.status : 500;
  res.end(JSON.stringify({ code: codeOf(error) }));
}

const HANDLERS: ReadonlySet<string> = new Set([
  "etag",
  "content-length",
  "content-encoding",
  "content-type",
  "x-kind",
  "set-cookie",
  "location",
]);

function toldOf(error: unknown, res: { headersSent: boolean; getHeaderNames(): string[] }): Told {
  const status: unknown = error instanceof Error ? Reflect.get(error, "status") : undefined;
  return {
    status,
    code: codeOf(error),
    stale: res.getHeaderNames().filter((name) => HANDLERS.has(name)),
    headersSent: res.headersSent,
  };
}
function codeOf(error: unknown): unknown {
  return error instanceof Error ? Reflect.get(error, "code") : undefined;
}

async function serve1(server: ReturnType<typeof createServer>, kinds: readonly Kind[], told: Told[]): Promise<Served> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const port = portOf(server);
  return {
    told: () => told.splice(0),
    get: (kind, cookie, headers) => get1(port, kinds.indexOf(kind), kind, cookie, headers),
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

function portOf(server: { address(): unknown }): number {
  const address: unknown = server.address();
  const port: unknown = typeof address === "object" && address !== null ? Reflect.get(address, "port") : undefined;
  if (typeof port !== "number") throw new Error("The server has no port.");
  return port;
}

function headersOf(kind: Kind, cookie: string | undefined, headers: Record<string, string> = {}): Record<string, string> {
  return { ...kind.requestHeaders, ...headers, ...(cookie === undefined ? {} : { cookie }) };
}

function get1(port: number, nth: number, kind: Kind, cookie?: string, headers?: Record<string, string>): Promise<Received> {
  const { method = "GET" } = kind;
  return new Promise((resolve, reject) => {
    let interim = 0;
    const sent = request({ port, path: `/${nth}`, method, headers: headersOf(kind, cookie, headers) }, (answer) => {
      const parts: Buffer[] = [];
      answer.on("data", (part) => parts.push(part));
      answer.on("error", reject);
      answer.on("end", () =>
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: Buffer.concat(parts), interim }),
      );
    });
    sent.on("information", () => {
      interim += 1;
    });
    sent.setTimeout(10_000, () => sent.destroy(new Error(`no answer: ${kind.name}`)));
    sent.on("error", reject);
    sent.end();
  });
}

function get2(
  client: http2.ClientHttp2Session,
  nth: number,
  kind: Kind,
  cookie?: string,
  headers?: Record<string, string>,
): Promise<Received> {
  const { method = "GET" } = kind;
  return new Promise((resolve, reject) => {
    const stream = client.request({ ":path": `/${nth}`, ":method": method, ...headersOf(kind, cookie, headers) });
    let status = 0;
    let received: Received["headers"] = {};
    let interim = 0;
    const parts: Buffer[] = [];
    stream.on("headers", () => {
      interim += 1;
    });
    stream.on("response", ({ ":status": code = 0, ...rest }) => {
      status = code;
      received = rest;
    });
    stream.on("data", (part) => parts.push(part));
    stream.setTimeout(10_000, () => stream.destroy(new Error(`no answer: ${kind.name}`)));
    stream.on("error", reject);
    stream.on("end", () => resolve({ status, headers: received, body: Buffer.concat(parts), interim }));
    stream.end();
  });
}
