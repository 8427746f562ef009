/** Nothing of a request is kept after its response: neither its session object nor what it changed. */
import { IncomingMessage, ServerResponse } from "node:http";
import { Socket } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { session } from "anynode/express";
import { session as koaSession, type SessionContext } from "anynode/koa";
import { memoryEngine } from "anynode/memory";
import Koa from "koa";
import { anynode, type Sessions } from "../../lib/index.js";

const REQUESTS = process.env["ANYNODE_FULL"] ? 1_000_000 : 50_000;
const SECRET = "a secret of the tests";

setFlagsFromString("--expose_gc");
const collect: unknown = runInNewContext("gc");
async function collected(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    await turn();
    if (typeof collect === "function") collect();
  }
  return process.memoryUsage().heapUsed;
}

/** An application that changes the session of each request, and says whose it was. */
type Serve = (req: IncomingMessage, res: ServerResponse, done: (own: object, error?: unknown) => void) => void;
let n = 0;

function onExpress(sessions: Sessions): Serve {
  const middleware = session(sessions, { secret: SECRET, rolling: true });
  return (req: IncomingMessage & { session?: unknown }, res, done) =>
    middleware(req, res, (error) => {
      const own = Object(req.session);
      done(own, error);
      Reflect.set(own, "n", n++);
      res.end();
    });
}

function onKoa(sessions: Sessions): Serve {
  const app = new Koa<Koa.DefaultState, SessionContext>();
  let tell: Parameters<Serve>[2] = () => {};
  app.use(koaSession(sessions, { secret: SECRET, rolling: true }));
  app.use((ctx) => {
    const own = Object(ctx.session);
    tell(own);
    Reflect.set(own, "n", n++);
    ctx.body = "";
  });
  const callback = app.callback();
  return (req, res, done) => {
    tell = done;
    void callback(req, res);
  };
}

test.each<[string, (sessions: Sessions) => Serve]>([
  ["Express", onExpress],
  ["Koa", onKoa],
])(
  `%s: the heap is flat over ${REQUESTS} requests that change their session`,
  async (_, start) => {
    const sessions = anynode({ engine: memoryEngine() });
    await sessions.ready();
    const serve = start(sessions);

    /** One request, without a network; gives its session object and the cookie that it was answered with. */
    function request(cookie: string | undefined): Promise<{ own: object; cookie: string }> {
      return new Promise((resolve, reject) => {
        const req = new IncomingMessage(new Socket());
        req.url = "/";
        req.method = "GET";
        req.headers = cookie === undefined ? {} : { cookie };
        const res = new ServerResponse(req);
        let own: object = {};
        res.end = () => {
          res.writeHead(200);
          const [line = ""] = [res.getHeader("Set-Cookie")].flat();
          resolve({ own, cookie: `${line}`.split(";")[0] ?? "" });
          return res;
        };
        serve(req, res, (its, error) => {
          if (error !== undefined) reject(error);
          own = its;
        });
      });
    }

    let { cookie } = await request(undefined);
    const kept: WeakRef<object>[] = [];
    for (let i = 0; i < 2000; i++) ({ cookie } = await request(cookie));
    const before = await collected();
    for (let i = 0; i < REQUESTS; i++) {
      const answer = await request(cookie);
      cookie = answer.cookie;
      if (i % (REQUESTS / 100) === 0) kept.push(new WeakRef(answer.own));
      if (i % 50 === 0) await turn();
    }
    const after = await collected();
    expect(after - before).toBeLessThan(2_000_000);
    expect(kept.filter((one) => one.deref() !== undefined).length).toBeLessThanOrEqual(2);
    await sessions.close();
  },
  600_000,
);
