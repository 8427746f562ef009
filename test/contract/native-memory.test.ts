/** Nothing of a request is kept after its response: neither its session object nor what it changed. */
import { IncomingMessage, ServerResponse } from "node:http";
import { Socket } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { session } from "anynode/express";
import { memoryEngine } from "anynode/memory";
import { anynode } from "../../lib/index.js";

const REQUESTS = process.env["ANYNODE_FULL"] ? 100_000 : 10_000;

setFlagsFromString("--expose_gc");
const collect: unknown = runInNewContext("gc");
async function collected(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    await turn();
    if (typeof collect === "function") collect();
  }
  return process.memoryUsage().heapUsed;
}

test(`the heap is flat over ${REQUESTS} requests that change their session`, async () => {
  const sessions = anynode({ engine: memoryEngine() });
  await sessions.ready();
  const middleware = session(sessions, { secret: "a secret of the tests", rolling: true });
  let n = 0;

  /** One request, without a network; gives its session object and the cookie that it was answered with. */
  function request(cookie: string | undefined): Promise<{ own: object; cookie: string }> {
    return new Promise((resolve, reject) => {
      const req: IncomingMessage & { session?: unknown } = new IncomingMessage(new Socket());
      req.url = "/";
      req.headers = cookie === undefined ? {} : { cookie };
      const res = new ServerResponse(req);
      res.end = () => {
        res.writeHead(200);
        const own: unknown = req.session;
        const [line = ""] = [res.getHeader("Set-Cookie")].flat();
        if (typeof own === "object" && own !== null) resolve({ own, cookie: `${line}`.split(";")[0] ?? "" });
        return res;
      };
      middleware(req, res, (error) => {
        if (error !== undefined) return reject(error);
        Reflect.set(req.session ?? {}, "n", n++);
        res.end();
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
    if (i % 100 === 0) kept.push(new WeakRef(answer.own));
    if (i % 50 === 0) await turn();
  }
  const after = await collected();
  expect(after - before).toBeLessThan(2_000_000);
  expect(kept.filter((one) => one.deref() !== undefined).length).toBeLessThanOrEqual(2);
  await sessions.close();
}, 120_000);
