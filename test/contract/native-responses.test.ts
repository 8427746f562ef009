/** G4 under the native front ends: a response is sent only if what its request changed is stored, whatever kind of response it is. */
import { gunzipSync } from "node:zlib";
import { memoryEngine } from "anynode/memory";
import compression from "compression";
import type { RequestHandler } from "express";
import helmet from "helmet";
import morgan from "morgan";
import onHeaders from "on-headers";
import { AnynodeError, anynode, type Sessions } from "../../lib/index.js";
import { type Double, engineDouble } from "../support/engine-double.js";
import { type Around, FRONTS, type Front, type Received, type Served } from "../support/responses/fronts.js";
import type { Kind } from "../support/responses/kinds.js";

const FAILURES = process.env["ANYNODE_FULL"] ? 10_000 : 1_000;

let double: Double;
let sessions: Sessions;
const closing: (() => Promise<void>)[] = [];

beforeEach(async () => {
  const engine = memoryEngine();
  double = engineDouble(engine);
  sessions = anynode({ engine: double.engine });
  await sessions.ready();
  closing.push(
    () => sessions.close(),
    () => engine.close(),
  );
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function served(front: Front, around?: Around): Promise<Served> {
  const one = await front.start(sessions, around);
  closing.push(() => one.close());
  return one;
}

const failure = new AnynodeError("ENGINE_TIMEOUT", "injected");
const failing = { create: () => Promise.reject(failure), commit: () => Promise.reject(failure) };

function cookieIn({ headers }: Received): string | undefined {
  const lines = headers["set-cookie"] ?? [];
  return [lines]
    .flat()
    .find((line) => line.startsWith("sid=s"))
    ?.split(";")[0];
}
function textOf({ headers, body }: Received): string {
  return (headers["content-encoding"] === "gzip" ? gunzipSync(body) : body).toString();
}

async function attributes(): Promise<string[]> {
  const seen: string[] = [];
  for await (const { record } of sessions.list()) seen.push(record.attributes.get("seen") ?? "");
  return seen;
}

function expectGood(kind: Kind, received: Received): void {
  expect([kind.name, received.status]).toEqual([kind.name, kind.status]);
  if (kind.body !== "") expect(textOf(received)).toBe(kind.body);
  expect(received.headers).toMatchObject(kind.headers ?? {});
}

async function expectFailed(served: Served, kind: Kind, received: Received): Promise<void> {
  expect([kind.name, received.status]).toEqual([kind.name, 503]);
  expect(served.told()).toEqual([{ status: 503, code: "ENGINE_TIMEOUT", headersSent: false, stale: [] }]);
  for (const name of ["set-cookie", "content-encoding", "x-kind"]) expect(received.headers[name]).toBeUndefined();
  expect(received.headers["etag"]).not.toBe('"of the handler"');
}

for (const front of FRONTS) {
  describe(front.name, () => {
    test("the first answer of a session brings its cookie, and what it changed is stored by then", async () => {
      const server = await served(front);
      for (const kind of front.kinds) {
        const received = await server.get(kind);
        expectGood(kind, received);
        expect(cookieIn(received)).toMatch(/^sid=s%3A/);
        expect(await attributes()).toContain(JSON.stringify(kind.name));
      }
      expect(server.told()).toEqual([]);
    });

    test("unchanged, the answer is the same, sets no cookie and stores nothing", async () => {
      const server = await served(front);
      const [first] = front.kinds;
      if (first === undefined) throw new Error("no kinds");
      const cookie = cookieIn(await server.get(first));
      double.forget();
      for (const kind of front.kinds) {
        const received = await server.get(kind, cookie, { "x-unchanged": "1" });
        expectGood(kind, received);
        expect(cookieIn(received)).toBeUndefined();
      }
      expect([double.count("commit"), double.count("create")]).toEqual([0, 0]);
    });

    test("a failed commit is a 503: nothing of the answer is left, next(error) is told once, the next request works", async () => {
      const server = await served(front);
      for (const kind of front.kinds) {
        double.use(failing);
        await expectFailed(server, kind, await server.get(kind));
        expect(await attributes()).not.toContain(JSON.stringify(kind.name));
        double.use({});
        const received = await server.get(kind);
        expectGood(kind, received);
        double.use(failing);
        await expectFailed(server, kind, await server.get(kind, cookieIn(received), { "if-none-match": "*" }));
        double.use({});
      }
    });
  });
}

const AROUND: Record<string, () => RequestHandler> = {
  compression: () => compression({ threshold: 0 }),
  "on-headers": () => (_req, res, next) => {
    onHeaders(res, () => res.setHeader("X-On-Headers", String(res.statusCode)));
    next();
  },
  morgan: () => morgan("tiny", { stream: { write: () => {} } }),
  helmet: () => helmet(),
};

for (const front of FRONTS.slice(0, 2)) {
  for (const [name, make] of Object.entries(AROUND)) {
    for (const where of ["before", "after"] as const) {
      test(`${front.name} with ${name} mounted ${where}: answers are whole, failures are 503`, async () => {
        const server = await served(front, { [where]: [make()] });
        for (const kind of front.kinds) {
          const received = await server.get(kind, undefined, { "accept-encoding": "gzip" });
          expectGood(kind, received);
          expect(cookieIn(received)).toBeDefined();
          double.use(failing);
          const failed = await server.get(kind, cookieIn(received), { "accept-encoding": "gzip" });
          expect([kind.name, failed.status, cookieIn(failed)]).toEqual([kind.name, 503, undefined]);
          if (kind.method === undefined) expect(textOf(failed)).toBe('{"code":"ENGINE_TIMEOUT"}');
          expect(server.told().length).toBe(1);
          double.use({});
        }
      });
    }
  }
}

test(`0 success responses in ${FAILURES} failed commits, over every kind of response`, async () => {
  const all = await Promise.all(FRONTS.map(async (front) => ({ front, server: await served(front) })));
  const cookies = new Map<Front, string | undefined>();
  for (const { front, server } of all) {
    const [first] = front.kinds;
    if (first !== undefined) cookies.set(front, cookieIn(await server.get(first)));
  }
  double.use(failing);
  const statuses = new Map<number, number>();
  let left = FAILURES;
  while (left > 0) {
    const round = all.flatMap(({ front, server }) =>
      front.kinds.map((kind, i) => server.get(kind, i % 2 === 0 ? cookies.get(front) : undefined)),
    );
    for (const { status } of await Promise.all(round)) statuses.set(status, (statuses.get(status) ?? 0) + 1);
    left -= round.length;
  }
  expect([...statuses.keys()]).toEqual([503]);
}, 300_000);
