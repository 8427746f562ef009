/** What the native Express front end does, behaviour by behaviour; test names follow express-session's documentation where it has them. */
import { createSecretKey } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { ExpressSession, session } from "anynode/express";
import { AnynodeStore } from "anynode/express-session";
import { memoryEngine } from "anynode/memory";
import express, { type Express, type Request } from "express";
import expressSession from "express-session";
import lodash from "lodash";
import { AnynodeError, anynode, type EventMap, type Sessions } from "../../lib/index.js";
import { Session } from "../../lib/session/session.js";
import type { ExpressOptions } from "../../lib/web/express.js";
import { type Double, engineDouble, Gate } from "../support/engine-double.js";
import { until } from "../support/until.js";

const SECRET = "a secret of the tests";
let double: Double;
let sessions: Sessions;
const closing: (() => Promise<void>)[] = [];
const late: EventMap["late-change"][] = [];

beforeEach(async () => {
  late.length = 0;
  double = engineDouble(memoryEngine());
  sessions = anynode({ engine: double.engine });
  sessions.on("late-change", (event) => late.push(event));
  await sessions.ready();
  closing.push(() => sessions.close());
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

type Handler = (req: Request, res: express.Response) => unknown;
interface Answer {
  status: number;
  headers: IncomingMessage["headers"];
  text: string;
  cookie: string | undefined;
  line: string | undefined;
}
type Get = (path?: string, cookie?: string, headers?: Record<string, string>) => Promise<Answer>;

async function listening(listener: (req: IncomingMessage, res: ServerResponse) => void): Promise<{ get: Get; port: number }> {
  const server = createServer(listener);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closing.push(async () => {
    server.close();
    server.closeAllConnections();
  });
  const address = server.address();
  const port = typeof address === "object" ? (address?.port ?? 0) : 0;
  return { port, get: (path, cookie, headers) => ask(port, path, cookie, headers) };
}

function ask(port: number, path = "/", cookie?: string, headers: Record<string, string> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ port, path, headers: cookie === undefined ? headers : { ...headers, cookie } }, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (part) => {
        text += part;
      });
      answer.on("error", reject);
      answer.on("end", () => {
        const line = answer.headers["set-cookie"]?.find((one) => /sid=/.test(one));
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text, line, cookie: line?.split(";")[0] });
      });
    });
    sent.setTimeout(10_000, () => sent.destroy(new Error("no answer")));
    sent.on("error", reject);
    sent.end();
  });
}

async function app(
  options: Partial<ExpressOptions<Request>>,
  routes: Record<string, Handler>,
  setUp: (app: Express) => void = () => {},
): Promise<{ get: Get; port: number }> {
  const one = express();
  setUp(one);
  one.use(session<Request>(sessions, { secret: SECRET, ...options }));
  for (const [path, handler] of Object.entries(routes)) {
    one.get(path, async (req, res) => {
      await handler(req, res);
    });
  }
  const onError: express.ErrorRequestHandler = (error, _req, res, _next) => {
    res.status(error.status ?? 500).json({ code: error.code });
  };
  one.use(onError);
  return listening(one);
}

/** Applications declare what their sessions hold; these tests put in what they like. */
function put(req: Request, name: string, value: unknown): void {
  Reflect.set(req.session, name, value);
}
const set: Handler = (req, res) => {
  put(req, "n", req.query["n"] ?? "1");
  res.json(req.session);
};
const read: Handler = (req, res) => res.json({ ...req.session, cookie: undefined });
const LONG_AGO = /^[^=]+=; Path=\/; Expires=Thu, 01 Jan 1970/;

describe("options, as express-session documents them", () => {
  test.each<[string, object, RegExp]>([
    ["no secret", { secret: undefined }, /secret is missing or empty/],
    ["an empty secret", { secret: ["a", ""] }, /secret is missing or empty/],
    ["no secrets", { secret: [] }, /secret is missing or empty/],
    ["an unknown option", { secret: "a", roling: true }, /no option "roling"; did you mean "rolling"/],
    ["the store of express-session", { secret: "a", store: {} }, /no option "store"/],
    ["an unknown cookie setting", { secret: "a", cookie: { maxage: 1 } }, /"cookie.maxage"; did you mean "cookie.maxAge"/],
    ["unset", { secret: "a", unset: "x" }, /unset is "x"; it must be "destroy" or "keep"/],
    ["genid", { secret: "a", genid: "x" }, /genid is "x"; it must be a function/],
    ["maxAge", { secret: "a", cookie: { maxAge: "1" } }, /cookie.maxAge is "1"/],
    ["rolling", { secret: "a", rolling: 1 }, /rolling is 1; it must be true or false/],
    ["onEnded", { secret: "a", onEnded: 403 }, /onEnded is 403/],
    ["readonly", { secret: "a", readonly: "health" }, /readonly is "health"; it must be a path like/],
    ["a prefixed name without secure", { secret: "a", name: "__Host-sid" }, /unless it has secure: true/],
  ])("refused: %s", (_, options, message) => {
    expect(() => Reflect.apply(session, undefined, [sessions, options])).toThrow(
      expect.objectContaining({ code: "OPTION_INVALID", message: expect.stringMatching(message) }),
    );
  });

  test("name: sid, or __Host-sid where the cookie is secure", async () => {
    const plain = await app({}, { "/": set });
    expect((await plain.get()).line).toMatch(/^sid=/);
    const secure = await app({ cookie: { secure: true }, proxy: true }, { "/": set });
    expect((await secure.get("/", undefined, { "x-forwarded-proto": "https" })).line).toMatch(/^__Host-sid=.*; Secure/);
    const own = await app({ name: "mine-sid" }, { "/": set });
    expect((await own.get()).line).toMatch(/^mine-sid=/);
  });

  test("cookie.secure: over an insecure connection no cookie is sent; proxy tells which is one", async () => {
    const { get } = await app({ cookie: { secure: true }, name: "sid" }, { "/": set });
    expect((await get()).line).toBeUndefined();
    for (const [proxy, sent] of [[true, true] as const, [false, false] as const]) {
      const behind = await app({ cookie: { secure: true }, name: "sid", proxy }, { "/": set });
      expect((await behind.get("/", undefined, { "x-forwarded-proto": "https, http" })).line !== undefined).toBe(sent);
    }
    const trusting = await app({ cookie: { secure: "auto" } }, { "/": set }, (one) => one.set("trust proxy", true));
    expect((await trusting.get("/", undefined, { "x-forwarded-proto": "https" })).line).toMatch(/; Secure/);
    expect((await trusting.get()).line).not.toMatch(/; Secure/);
  });

  test("cookie as a function of the request", async () => {
    const { get } = await app({ cookie: (req) => ({ path: "/", maxAge: 1000 * Number(req.query["s"]) }) }, { "/": set });
    const { headers } = await get("/?s=60");
    const expires = /Expires=([^;]*)/.exec(String(headers["set-cookie"]))?.[1] ?? "";
    expect(Math.abs(new Date(expires).getTime() - Date.now() - 60_000)).toBeLessThan(5000);
  });

  test("cookie.expires and cookie.maxAge: if both are set, the last one defined counts", async () => {
    const inAnHour = () => ({ expires: new Date(Date.now() + 3_600_000) });
    const cases: [object, number][] = [
      [inAnHour(), 3600],
      [{ maxAge: 60_000, ...inAnHour() }, 3600],
      [{ ...inAnHour(), maxAge: 60_000 }, 60],
      [{ maxAge: undefined, ...inAnHour() }, 3600],
      [Object.create({ maxAge: 60_000 }), 60],
    ];
    const lasting = await app({ cookie: { ...inAnHour(), maxAge: null } }, { "/": set });
    expect((await lasting.get()).line).not.toMatch(/Expires/);
    for (const [cookie, seconds] of cases) {
      const { get } = await app({ cookie }, { "/": set });
      const expires = /Expires=([^;]*)/.exec((await get()).line ?? "")?.[1] ?? "";
      expect(Math.abs(new Date(expires).getTime() - Date.now() - 1000 * seconds)).toBeLessThan(5000);
    }
  });

  test("cookie.expires = false: as long as the browser", async () => {
    const { get } = await app(
      { cookie: { maxAge: 60_000 } },
      {
        "/": (req, res) => {
          Reflect.set(req.session.cookie, "expires", false);
          return set(req, res);
        },
      },
    );
    expect((await get()).line).toMatch(/^sid=[^;]*; Path=\/; HttpOnly$/);
  });

  test("cookie.path: other paths have no session", async () => {
    const { get } = await app(
      { cookie: { path: "/admin" } },
      { "/admin/x": set, "/administrator": (req, res) => res.json(req.session ?? null) },
    );
    expect((await get("/admin/x")).line).toMatch(/; Path=\/admin/);
    expect((await get("/administrator")).text).toBe("null");
  });

  test("cookie.maxAge: a changed session sets its cookie anew, an unchanged one doesn't; rolling always", async () => {
    const once = await app({ cookie: { maxAge: 60_000 } }, { "/set": set, "/": read });
    const { cookie } = await once.get("/set");
    expect((await once.get("/", cookie)).line).toBeUndefined();
    expect((await once.get("/set?n=2", cookie)).line).toMatch(/Expires/);
    const always = await app({ cookie: { maxAge: 60_000 }, rolling: true }, { "/": read });
    expect((await always.get("/", cookie)).line).toMatch(/Expires/);
    expect((await always.get("/")).line).toBeUndefined();
  });

  test("several secrets: the first signs, all verify, a cookie of an old one is re-issued", async () => {
    const old = await app({ secret: "old" }, { "/": set });
    const { cookie } = await old.get();
    const both = await app({ secret: ["new", "old"] }, { "/": read });
    const answer = await both.get("/", cookie);
    expect([answer.text, answer.cookie === undefined]).toEqual(['{"n":"1"}', false]);
    const fresh = await app({ secret: "new" }, { "/": read });
    expect((await fresh.get("/", answer.cookie)).text).toBe('{"n":"1"}');
    expect((await fresh.get("/", cookie)).text).toBe("{}");
  });

  test("a secret may be bytes or a key", async () => {
    const bytes = Buffer.from("a secret of bytes");
    const { cookie } = await (await app({ secret: bytes }, { "/": set })).get();
    for (const secret of [bytes, createSecretKey(bytes), bytes.toString()]) {
      expect((await (await app({ secret }, { "/": read })).get("/", cookie)).text).toBe('{"n":"1"}');
    }
  });

  test("genid makes the ids; what it makes is checked", async () => {
    let n = 0;
    const { get } = await app(
      { genid: (req) => `${req.path}-${++n}` },
      {
        "/a": (req, res) => {
          put(req, "x", 1);
          return res.send(req.sessionID);
        },
      },
    );
    const answer = await get("/a");
    expect([answer.text, decodeURIComponent(answer.cookie ?? "")]).toEqual(["/a-1", expect.stringMatching(/^sid=s:\/a-1\./)]);
    const bad = await app({ genid: () => "" }, { "/": set });
    expect((await bad.get()).text).toBe('{"code":"OPTION_INVALID"}');
  });

  test("saveUninitialized, resave, unset: as declared in the HTTP suite; anonymous visitors and bots store nothing", async () => {
    const { get } = await app({}, { "/": read, "/id": (req, res) => res.send(req.sessionID) });
    for (let i = 0; i < 20; i++) expect((await get(i % 2 === 0 ? "/" : "/id")).line).toBeUndefined();
    expect([double.count("create"), double.count("read")]).toEqual([0, 0]);
  });

  test("a second middleware leaves a request's session alone", async () => {
    const { get } = await app({}, { "/": set }, (one) => one.use(session(sessions, { secret: SECRET, name: "first.sid" })));
    expect((await get()).line).toMatch(/^first\.sid=/);
  });
});

describe("moving from express-session", () => {
  test("its cookie is adopted and re-issued; a session moves freely between both, with its cookie's settings", async () => {
    const theirs = express();
    theirs.use(
      expressSession({
        secret: SECRET,
        resave: false,
        saveUninitialized: false,
        store: new AnynodeStore(sessions),
        cookie: { maxAge: 60_000 },
      }),
    );
    theirs.get("/set", (req, res) => set(req, res));
    theirs.get("/", (req, res) => read(req, res));
    const before = await listening(theirs);
    const ours = await app({}, { "/": read, "/set": set, "/age": (req, res) => res.json(req.session.cookie.originalMaxAge) });
    const old = await before.get("/set");
    expect(old.cookie).toMatch(/^connect\.sid=/);
    const moved = await ours.get("/", old.cookie);
    expect([moved.text, moved.cookie?.slice(0, 4)]).toEqual(['{"n":"1"}', "sid="]);
    expect(moved.cookie?.slice(4)).toBe(old.cookie?.slice("connect.sid=".length));
    expect((await ours.get("/age", old.cookie)).text).toMatch(/^(60000|59999)$/);
    await ours.get("/set?n=2", moved.cookie);
    expect((await before.get("/", old.cookie)).text).toBe('{"n":"2"}');
    const strict = await app({ adopt: false }, { "/": read });
    expect((await strict.get("/", old.cookie)).text).toBe("{}");
  });

  test.each<[string, ExpressOptions["cookie"], object]>([
    ["default settings", undefined, {}],
    ["a domain and a path", undefined, { domain: "example.com", path: "/" }],
  ])("to a __Host- cookie, from %s: nobody is logged out", async (_, __, theirs) => {
    const former = express();
    const store = new AnynodeStore(sessions);
    former.use(expressSession({ secret: SECRET, resave: false, saveUninitialized: false, store, cookie: theirs }));
    former.get("/set", (req, res) => set(req, res));
    const { cookie } = await (await listening(former)).get("/set");
    const { get } = await app(
      { cookie: { secure: true }, proxy: true, unset: "destroy" },
      { "/": read, "/set": set, "/out": (req, res) => req.session.destroy(() => res.end()) },
    );
    const secure = { "x-forwarded-proto": "https" };
    const moved = await get("/", cookie, secure);
    expect([moved.status, moved.text]).toEqual([200, '{"n":"1"}']);
    expect(moved.line).toMatch(/^__Host-sid=[^;]+; Path=\/; HttpOnly; Secure$/);
    expect((await get("/set?n=2", moved.cookie, secure)).status).toBe(200);
    expect((await get("/", moved.cookie, secure)).text).toBe('{"n":"2"}');
    expect(late).toEqual([]);
    expect((await get("/", cookie)).line).toBeUndefined();
    expect((await get("/out", moved.cookie, secure)).line).toMatch(
      /^__Host-sid=; Path=\/; Expires=Thu, 01 Jan 1970[^;]*; HttpOnly; Secure$/,
    );
  });

  test("several cookies of the name: the one of a live session counts", async () => {
    const { get } = await app({}, { "/": read, "/set": set, "/out": (req, res) => req.session.destroy(() => res.end()) });
    const [dead, live] = [await get("/set"), await get("/set?n=2")];
    await get("/out", dead.cookie);
    expect((await get("/", `sid=bad; ${dead.cookie}; ${live.cookie}`)).text).toBe('{"n":"2"}');
    const adopted = (answer: Answer) => answer.cookie?.replace(/^sid/, "connect.sid");
    expect((await get("/", `${adopted(dead)}; ${adopted(live)}`)).text).toBe('{"n":"2"}');
    expect((await get("/", `${dead.cookie}; ${adopted(live)}`)).text).toBe('{"n":"2"}');
    expect((await get("/", `${dead.cookie}; ${adopted(dead)}`)).text).toBe("{}");
  });
});

describe("the session's members, by callback and by promise", () => {
  test("save, reload, regenerate, destroy: each callback once, outside of any try of ours", async () => {
    const calls: string[] = [];
    const told = (name: string, go: () => void) => (error?: unknown) => {
      calls.push(`${name} ${error === undefined}`);
      go();
    };
    const { get } = await app(
      {},
      {
        "/": (req, res) => {
          put(req, "a", 1);
          const chained = req.session.save(
            told("save", () => {
              const before = req.session;
              req.session.reload(
                told("reload", () => {
                  calls.push(String(before !== req.session), String(Reflect.get(req.session, "a")));
                  const { id } = req.session;
                  req.session.regenerate(
                    told("regenerate", () => {
                      calls.push(String(id !== req.session.id), String(req.session.id === req.sessionID));
                      req.session.destroy(told("destroy", () => res.json(req.session === undefined)));
                    }),
                  );
                }),
              );
            }),
          );
          calls.push(String(chained === req.session));
        },
      },
    );
    expect((await get()).text).toBe("true");
    expect(calls).toEqual(["true", "save true", "reload true", "true", "1", "regenerate true", "true", "true", "destroy true"]);
  });

  test("promises; touch and resetMaxAge begin the cookie's maxAge anew", async () => {
    const { get } = await app(
      { cookie: { maxAge: 60_000 } },
      {
        "/": async (req, res) => {
          put(req, "a", 1);
          await Promise.resolve(Reflect.apply(req.session.save, req.session, []));
          req.session.cookie.expires = new Date(Date.now() + 5000);
          req.session.cookie.originalMaxAge = 60_000;
          const same = req.session.touch() === req.session && req.session.resetMaxAge() === req.session;
          res.json([same, (req.session.cookie.maxAge ?? 0) > 50_000]);
        },
      },
    );
    expect((await get()).text).toBe("[true,true]");
  });

  test("session.id is req.sessionID and can't be modified; cookie.maxAge is what is left", async () => {
    const { get } = await app(
      { cookie: { maxAge: 60_000 } },
      {
        "/set": set,
        "/": (req, res) => {
          const isSame = req.session.id === req.sessionID;
          let code: unknown;
          try {
            put(req, "id", "x");
          } catch (error) {
            code = Object(error).code;
          }
          const isKept = code === "ATTRIBUTE_INVALID" && req.session.id === req.sessionID;
          const { maxAge } = req.session.cookie;
          const most = req.query["wait"] ? 60_000 - 20 : 60_000;
          res.json([isSame, isKept, typeof maxAge === "number" && maxAge <= most && maxAge > 50_000]);
        },
      },
    );
    expect((await get()).text).toBe("[true,true,true]");
    const { cookie } = await get("/set");
    await new Promise((resolve) => setTimeout(resolve, 30)); // so that there is less left
    expect((await get("/?wait=1", cookie)).text).toBe("[true,true,true]");
  });

  test("an object in the place of a session that this request has destroyed is a new session", async () => {
    const { get } = await app(
      { rolling: true },
      {
        "/set": set,
        "/": read,
        "/out": async (req, res) => {
          await Promise.resolve(Reflect.apply(req.session.destroy, req.session, []));
          Reflect.set(req, "session", { flash: "bye" });
          res.end();
        },
        "/back": async (req, res) => {
          const own = req.session;
          await Promise.resolve(Reflect.apply(own.destroy, own, []));
          Reflect.set(req, "session", own);
          res.end();
        },
      },
    );
    for (const [path, left] of [["/out", '{"flash":"bye"}'] as const, ["/back", '{"n":"1"}'] as const]) {
      const { cookie } = await get("/set");
      const answer = await get(path, cookie);
      expect([(await get("/", answer.cookie)).text, (await get("/", cookie)).text]).toEqual([left, "{}"]);
    }
    expect(late).toEqual([]);
  });

  test("neither is lost: a session whose end failed, and the object in its place", async () => {
    const failing = { end: () => Promise.reject(new AnynodeError("ENGINE_TIMEOUT", "injected")) };
    let isLasting = false;
    const { get } = await app(
      {},
      {
        "/set": set,
        "/": read,
        "/out": async (req, res) => {
          double.use(failing);
          await Promise.resolve(Reflect.apply(req.session.destroy, req.session, [])).catch(() => {});
          if (!isLasting) double.use({});
          Reflect.set(req, "session", { flash: "bye" });
          res.send("fine");
        },
      },
    );
    const { cookie } = await get("/set");
    isLasting = true;
    expect((await get("/out", cookie)).status).toBe(503);
    double.use({});
    expect((await get("/", cookie)).text).toBe('{"n":"1"}');
    isLasting = false;
    const answer = await get("/out", cookie);
    expect(answer.status).toBe(200);
    expect([(await get("/", answer.cookie)).text, (await get("/", cookie)).text]).toEqual(['{"flash":"bye"}', "{}"]);
    expect(late).toEqual([]);
  });

  test("a regenerate whose genid throws ends nothing, and carries nothing over", async () => {
    let fails = false;
    let n = 0;
    const genid = () => {
      if (fails) throw new Error("no entropy");
      return `an id of the application's ${++n}`;
    };
    const { get } = await app(
      { genid },
      {
        "/set": set,
        "/": read,
        "/again": async (req, res) => {
          fails = true;
          await Promise.resolve(Reflect.apply(req.session.regenerate, req.session, [])).catch(() => {});
          fails = false;
          res.status(500).end();
        },
      },
    );
    const { cookie } = await get("/set");
    expect((await get("/again", cookie)).line).toBeUndefined();
    expect((await get("/", cookie)).text).toBe('{"n":"1"}');
  });

  test("a session that was put back after its end is another one, for its members, too", async () => {
    const putBack = async (req: Request): Promise<ExpressSession> => {
      const own = req.session;
      await Promise.resolve(Reflect.apply(own.destroy, own, []));
      Reflect.set(req, "session", own);
      if (!(own instanceof ExpressSession)) throw new Error("not ours");
      return own;
    };
    const { get } = await app(
      {},
      {
        "/set": set,
        "/": read,
        "/login": async (req, res) => {
          await (await putBack(req)).login("ann", { keep: ["n"] });
          res.end();
        },
        "/save": async (req, res) => {
          await (await putBack(req)).save();
          res.json(double.count("create"));
        },
      },
    );
    for (const path of ["/login", "/save"]) {
      const { cookie } = await get("/set");
      double.forget();
      const answer = await get(path, cookie);
      if (path === "/save") expect(answer.text).toBe("1");
      expect([(await get("/", answer.cookie)).text, (await get("/", cookie)).text]).toEqual(['{"n":"1"}', "{}"]);
    }
  });

  test("in the place of the request's session, one that it had before or another request's gives its attributes", async () => {
    let other: unknown;
    const { get } = await app(
      {},
      {
        "/set": set,
        "/": read,
        "/keep": (req, res) => {
          put(req, "n", "9");
          other = req.session;
          res.end();
        },
        "/before": async (req, res) => {
          const before = req.session;
          await Promise.resolve(Reflect.apply(before.regenerate, before, []));
          Reflect.set(req, "session", before);
          put(req, "m", 5);
          res.end();
        },
        "/other": (req, res) => {
          Reflect.set(req, "session", other);
          put(req, "m", 5);
          res.end();
        },
        "/heir": (req, res) => {
          Reflect.set(req, "session", Object.create(req.session));
          res.end();
        },
      },
    );
    const { cookie } = await get("/set");
    await get("/keep");
    expect((await get("/heir", cookie)).line).toBeUndefined();
    const before = await get("/before", cookie);
    expect([(await get("/", before.cookie)).text, (await get("/", cookie)).text]).toEqual(['{"n":"1","m":5}', "{}"]);
    expect((await get("/", (await get("/other")).cookie)).text).toBe('{"n":"9","m":5}');
  });

  test("a second session middleware for a request that ended its session: both answer as one", async () => {
    const { get } = await app(
      {},
      {
        "/": read,
        "/set": set,
        "/x": (req, res) => {
          put(req, "n", 2);
          res.send("fine");
        },
        "/none": (_, res) => res.send("fine"),
      },
      (one) => {
        one.use(session<Request>(sessions, { secret: SECRET }));
        one.use(["/x", "/none"], (req, _res, next) => void req.session.destroy(() => next()));
      },
    );
    const { cookie } = await get("/set");
    const answer = await get("/x", cookie);
    expect([answer.status, answer.text]).toEqual([200, "fine"]);
    const lines = [answer.headers["set-cookie"] ?? []].flat();
    expect((await get("/", lines.at(-1)?.split(";")[0])).text).toBe('{"n":2}');
    expect((await get("/none", (await get("/set")).cookie)).text).toBe("fine");
  });

  test("two session middlewares at once, under two names, each keep their own", async () => {
    const { get } = await app(
      { name: "second.sid" },
      {
        "/set": (req, res) => {
          put(req, "n", "second");
          Reflect.set(Object(Reflect.get(req, "first")), "n", "first");
          res.json(req.session);
        },
        "/": (req, res) => res.json([Reflect.get(Object(Reflect.get(req, "first")), "n"), Reflect.get(req.session, "n")]),
      },
      (one) => {
        one.use(session<Request>(sessions, { secret: SECRET, name: "first.sid" }));
        one.use((req, _res, next) => {
          Reflect.set(req, "first", req.session);
          Reflect.deleteProperty(req, "session");
          next();
        });
      },
    );
    const lines = [(await get("/set")).headers["set-cookie"] ?? []].flat();
    expect(lines.map((line) => line.split("=")[0]).sort()).toEqual(["first.sid", "second.sid"]);
    const cookies = lines.map((line) => line.split(";")[0]).join("; ");
    expect((await get("/", cookies)).text).toBe('["first","second"]');
  });

  test("who signs in with the second of two session middlewares, where the first one's session was ended, stays signed in", async () => {
    const { get } = await app(
      {},
      {
        "/set": set,
        "/user": (req, res) => res.json(Reflect.get(req.session, "user") ?? null),
        "/x": async (req, res) => {
          put(req, "n", 2);
          await Object(req.session).login("ann", { keep: ["n"] });
          res.send("fine");
        },
      },
      (one) => {
        one.use(session<Request>(sessions, { secret: SECRET }));
        one.use("/x", (req, _res, next) => void req.session.destroy(() => next()));
      },
    );
    const { cookie } = await get("/set");
    const answer = await get("/x", cookie);
    const lines = [answer.headers["set-cookie"] ?? []].flat();
    expect((await get("/user", lines.at(-1)?.split(";")[0])).text).toBe('"ann"');
  });

  test("a Proxy of the application's own around the session loses nothing of it", async () => {
    const { get } = await app(
      {},
      {
        "/set": set,
        "/": read,
        "/proxy": (req, res) => {
          Reflect.set(req, "session", new Proxy(req.session, {}));
          return res.end();
        },
      },
    );
    const { cookie } = await get("/set");
    await get("/proxy", cookie);
    expect((await get("/", cookie)).text).toBe('{"n":"1"}');
  });

  test("cookie.maxAge that was stored by save() is told to the browser", async () => {
    const { get } = await app(
      {},
      {
        "/set": set,
        "/long": async (req, res) => {
          req.session.cookie.maxAge = 60_000;
          await Object(req.session).save();
          res.end();
        },
        "/short": async (req, res) => {
          Reflect.set(req.session.cookie, "maxAge", null);
          await Object(req.session).save();
          res.end();
        },
      },
    );
    const { cookie } = await get("/set");
    expect((await get("/long", cookie)).line).toMatch(/Expires=/);
    expect((await get("/short", cookie)).line).toMatch(/^sid=[^;]+; Path=\/; HttpOnly$/);
  });

  test("of a cookie's own data and a maxAge after it the maxAge counts", async () => {
    const { get } = await app(
      { cookie: { maxAge: 60_000 } },
      {
        "/set": set,
        "/short": (req, res) => {
          Reflect.set(req.session, "cookie", { ...Object(req.session.cookie).toJSON(), maxAge: 5000 });
          return res.json(req.session.cookie.originalMaxAge);
        },
        "/none": (req, res) => {
          Reflect.set(req.session, "cookie", { maxAge: 5000, expires: null });
          return res.json(req.session.cookie.originalMaxAge);
        },
      },
    );
    const { cookie } = await get("/set");
    expect([(await get("/short", cookie)).text, (await get("/none", cookie)).text]).toEqual(["5000", "null"]);
  });

  test("a failed commit isn't a late change besides; a save() that nobody waited for, and a 404 after it, is told as one", async () => {
    const { get } = await app(
      {},
      {
        "/commit": set,
        "/save": (req, res) => {
          put(req, "a", 1);
          Object(req.session).save();
          return res.status(404).end();
        },
      },
    );
    double.use({ create: () => Promise.reject(new AnynodeError("ENGINE_TIMEOUT", "injected")) });
    expect((await get("/commit")).status).toBe(503);
    await new Promise((resolve) => setTimeout(resolve, 20)); // it is the test's point that nothing comes
    expect(late).toEqual([]);
    expect((await get("/save")).status).toBe(404);
    await until("the event", () => late.length === 1);
    expect(late[0]).toMatchObject({ stored: false, error: { code: "ENGINE_TIMEOUT" } });
  });

  test("what can't be stored and was told by save() leaves the application's own 400 as it is", async () => {
    const { get } = await app(
      {},
      {
        "/": (req, res) => {
          put(req, "a", 1n);
          return req.session.save((error) => res.status(400).json(error?.code));
        },
      },
    );
    const answer = await get("/");
    expect([answer.status, answer.text]).toEqual([400, '"ATTRIBUTE_INVALID"']);
  });

  test("a session that moved, and a change after it that couldn't be stored: the error's answer has the new cookie", async () => {
    const { get } = await app(
      {},
      {
        "/set": set,
        "/": read,
        "/rotate": async (req, res) => {
          await Object(req.session).rotate();
          put(req, "bad", 1n);
          res.end();
        },
        "/login": async (req, res) => {
          await Object(req.session).login("ann", { keep: ["n"] });
          put(req, "m", 1);
          double.use({ commit: () => Promise.reject(new AnynodeError("ENGINE_TIMEOUT", "injected")) });
          await Promise.resolve(Object(req.session).save()).catch(() => {});
          res.status(500).end();
        },
      },
    );
    for (const path of ["/rotate", "/login"]) {
      const { cookie } = await get("/set");
      const answer = await get(path, cookie);
      double.use({});
      expect([answer.status >= 400, answer.cookie === cookie]).toEqual([true, false]);
      expect((await get("/", answer.cookie)).text).toBe('{"n":"1"}');
    }
  });

  test("a cookie made of its own data keeps its maxAge", async () => {
    const { get } = await app(
      { cookie: { maxAge: 60_000 } },
      {
        "/set": set,
        "/lax": (req, res) => {
          Reflect.set(req.session, "cookie", { ...Object(req.session.cookie).toJSON(), sameSite: "lax" });
          return res.json(req.session.cookie.originalMaxAge);
        },
      },
    );
    const { cookie } = await get("/set");
    await new Promise((resolve) => setTimeout(resolve, 30)); // so that there is less left
    expect((await get("/lax", cookie)).text).toBe("60000");
  });

  test("a failed save of an empty session (saveUninitialized) isn't tried again either", async () => {
    const { get } = await app({ saveUninitialized: true }, { "/": (req, res) => req.session.save(() => res.send("fine")) });
    double.use({ create: () => Promise.reject(new AnynodeError("ENGINE_TIMEOUT", "injected")) });
    double.forget();
    expect([(await get("/")).status, double.count("create")]).toEqual([503, 1]);
  });

  test("a failed save of the cookie's settings alone isn't tried again either", async () => {
    const { get } = await app(
      { cookie: { maxAge: 60_000 } },
      {
        "/set": set,
        "/age": (req, res) => {
          req.session.cookie.maxAge = 90_000;
          return req.session.save(() => res.send("fine"));
        },
      },
    );
    const { cookie } = await get("/set");
    double.use({ commit: () => Promise.reject(new AnynodeError("ENGINE_TIMEOUT", "injected")) });
    double.forget();
    expect([(await get("/age", cookie)).status, double.count("commit")]).toEqual([503, 1]);
  });

  test("while a changed response is held, it reads as ended once it was", async () => {
    const { get } = await app(
      {},
      {
        "/": (req, res) => {
          put(req, "a", 1);
          const before = res.writableEnded;
          res.end("x");
          res.once("finish", () => seen.push(res.writableEnded, Object.hasOwn(res, "writableEnded")));
          seen.push(before, res.writableEnded);
        },
      },
    );
    const seen: boolean[] = [];
    expect((await get()).text).toBe("x");
    await until("it is over", () => seen.length === 4);
    expect(seen).toEqual([false, true, true, false]);
  });

  test("a failed save tells its callback; a response that says so itself stays as it is, a success becomes the error", async () => {
    const failure = new AnynodeError("ENGINE_TIMEOUT", "injected");
    const { get } = await app(
      {},
      {
        "/told": (req, res) => {
          put(req, "a", 1);
          return req.session.save((error) => res.status(error ? 507 : 200).end());
        },
        "/ignored": (req, res) => {
          put(req, "a", 1);
          return req.session.save(() => res.send("fine"));
        },
      },
    );
    double.use({ create: () => Promise.reject(failure) });
    expect((await get("/told")).status).toBe(507);
    double.forget();
    expect((await get("/ignored")).status).toBe(503);
    // What may have happened isn't tried again.
    expect(double.count("create")).toBe(1);
  });

  test("a destroy that failed and that nobody looked at is tried again before the answer, and fails it", async () => {
    const { get } = await app(
      {},
      {
        "/set": set,
        "/": read,
        "/out": (req, res) => {
          req.session.destroy(() => {});
          return res.redirect("/");
        },
      },
    );
    const { cookie } = await get("/set");
    double.use({ end: () => Promise.reject(new AnynodeError("ENGINE_UNAVAILABLE", "injected")) });
    const failed = await get("/out", cookie);
    expect([failed.status, failed.line]).toEqual([503, undefined]);
    expect((await get("/", cookie)).text).toBe('{"n":"1"}');
    double.use({});
    const over = await get("/out", cookie);
    expect([over.status, LONG_AGO.test(over.line ?? "")]).toEqual([302, true]);
    expect((await get("/", cookie)).text).toBe("{}");
  });

  test("a plain object in the session's place becomes its attributes", async () => {
    const { get } = await app(
      {},
      {
        "/set": set,
        "/": read,
        "/other": (req, res) => {
          Reflect.set(req, "session", { m: 2 });
          return res.end();
        },
      },
    );
    const { cookie } = await get("/set");
    await get("/other", cookie);
    expect((await get("/", cookie)).text).toBe('{"m":2}');
  });

  test.each(['{"id":7,"m":2}', '{"expiresAt":7}', '{"req":7}', '{"__proto__":{"isAdmin":true}}', '{"__proto__":null,"m":2}'])(
    "an object in its place with names that the session needs itself is an error, not half of it stored: %s",
    async (json) => {
      const { get } = await app(
        {},
        {
          "/set": set,
          "/": read,
          "/other": (req, res) => {
            Reflect.set(req, "session", JSON.parse(json));
            return res.end();
          },
        },
      );
      const { cookie } = await get("/set");
      expect(await get("/other", cookie)).toMatchObject({ status: 500, text: '{"code":"ATTRIBUTE_INVALID"}' });
      expect((await get("/", cookie)).text).toBe('{"n":"1"}');
    },
  );

  test("lodash cloneDeep: a copy with a cookie of its own, which sets none", async () => {
    const { get } = await app(
      {},
      {
        "/set": set,
        "/": (req, res) => {
          const copy = lodash.cloneDeep(req.session);
          const isApart = copy.cookie !== req.session.cookie && copy.cookie !== undefined;
          Reflect.set(copy, "n", "2");
          return res.json([isApart, Reflect.get(req.session, "n"), Reflect.get(copy, "n")]);
        },
      },
    );
    const answer = await get("/", (await get("/set")).cookie);
    expect([answer.text, answer.line]).toEqual(['[true,"1","2"]', undefined]);
  });

  test("keeping attributes over a regenerate, as applications do it", async () => {
    const { get } = await app(
      {},
      {
        "/set": set,
        "/": read,
        "/in": (req, res) => {
          const old = req.session;
          req.session.regenerate(() => res.json(Object.keys(Object.assign(req.session, old))));
        },
      },
    );
    const { cookie } = await get("/set");
    const inside = await get("/in", cookie);
    expect((await get("/", inside.cookie)).text).toBe('{"n":"1"}');
    expect((await get("/", cookie)).text).toBe("{}");
  });
});

describe("a response that waits", () => {
  const held = (): { gate: Gate } => {
    const gate = new Gate();
    const sound = memoryEngine();
    double.use({
      create: async (...args) => {
        await gate.passed;
        return sound.create(...args);
      },
    });
    return { gate };
  };

  test("headersSent reads true, headers can't be changed any more, callbacks and drain come after", async () => {
    const { gate } = held();
    const order: string[] = [];
    const { get } = await app(
      {},
      {
        "/": (req, res) => {
          put(req, "n", 1);
          res.on("drain", () => {
            order.push("drain");
            return res.end("b", () => order.push("end"));
          });
          order.push(`write ${res.write("a", () => order.push("written"))}`, `sent ${res.headersSent}`);
          expect(() => res.setHeader("x", "y")).toThrow(expect.objectContaining({ code: "ERR_HTTP_HEADERS_SENT" }));
          res.statusCode = 500;
          setImmediate(() => {
            order.push("open");
            return gate.open();
          });
        },
      },
    );
    const answer = await get();
    expect([answer.status, answer.text]).toEqual([200, "ab"]);
    expect(order.slice(0, 3)).toEqual(["write false", "sent true", "open"]);
    await until("all was told", () => order.length === 6);
    expect(order.slice(3).toSorted()).toEqual(["drain", "end", "written"]);
  });

  test("a pipe holds no more than its high-water mark while it waits", async () => {
    const { gate } = held();
    let given = 0;
    const source = new Readable({
      read() {
        given += 65_536;
        source.push(given > 4_000_000 ? null : Buffer.alloc(65_536));
      },
    });
    const { get } = await app(
      {},
      {
        "/": (req, res) => {
          put(req, "n", 1);
          return source.pipe(res);
        },
      },
    );
    const answer = get();
    await until("it waits", () => double.count("create") === 1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(given).toBeLessThanOrEqual(4 * 65_536);
    gate.open();
    expect((await answer).text.length).toBeGreaterThan(3_900_000);
  });

  test("1xx responses pass", async () => {
    const { gate } = held();
    const { port } = await app(
      {},
      {
        "/": (req, res) => {
          put(req, "n", 1);
          res.writeEarlyHints({ link: "</a.css>; rel=preload" });
          res.end("ok");
          res.writeProcessing();
        },
      },
    );
    const seen: number[] = [];
    const done = new Promise<number>((resolve, reject) => {
      const sent = request({ port }, (answer) => {
        answer.resume();
        return resolve(answer.statusCode ?? 0);
      });
      sent.on("information", ({ statusCode }) => {
        seen.push(statusCode);
        if (seen.length === 2) gate.open();
      });
      sent.on("error", reject);
      sent.end();
    });
    expect([await done, seen]).toEqual([200, [103, 102]]);
  });

  test("a change is committed even if the client has gone", async () => {
    const gate = new Gate();
    let [works, gone] = [false, false];
    const { port } = await app(
      {},
      {
        "/": async (req, res) => {
          works = true;
          put(req, "n", "kept");
          res.on("close", () => {
            gone = true;
          });
          await gate.passed;
          res.end("nobody hears it");
        },
      },
    );
    const sent = request({ port });
    sent.on("error", () => {});
    sent.end();
    await until("it is handled", () => works);
    sent.destroy();
    await until("the client has gone", () => gone);
    gate.open();
    await until("it is stored", () => double.count("create") === 1);
  });

  test("a change after the first byte is committed before the response ends, and reported", async () => {
    const { get } = await app(
      {},
      {
        "/set": set,
        "/": read,
        "/late": (req, res) => {
          res.write("a");
          put(req, "n", "late");
          return res.end("b");
        },
        "/later": (req, res) => {
          res.end("c");
          return put(req, "n", "later");
        },
      },
    );
    const { cookie } = await get("/set");
    expect((await get("/late", cookie)).text).toBe("ab");
    expect((await get("/", cookie)).text).toBe('{"n":"late"}');
    await get("/later", cookie);
    await until("it is reported", () => late.length === 2);
    expect([late, (await get("/", cookie)).text]).toEqual([
      [
        { stored: true, error: undefined },
        { stored: true, error: undefined },
      ],
      '{"n":"later"}',
    ]);
    double.use({ commit: () => Promise.reject(new AnynodeError("ENGINE_TIMEOUT", "injected")) });
    expect((await get("/late", cookie)).text).toBe("ab");
    await until("it is reported", () => late.length === 3);
    expect(late[2]).toMatchObject({ stored: false, error: { code: "ENGINE_TIMEOUT" } });
  });

  test("what can't be stored is an error, not a half save", async () => {
    const { get } = await app(
      {},
      {
        "/": (req, res) => {
          put(req, "a", 1);
          put(req, "b", 1n);
          return res.send("ok");
        },
      },
    );
    const answer = await get();
    expect([answer.status, answer.text, double.count("create")]).toEqual([500, '{"code":"ATTRIBUTE_INVALID"}', 0]);
  });

  test("what can't be said is an error, too, though the handler has gone on by then", async () => {
    const { get } = await app(
      {},
      {
        "/head": (req, res) => {
          put(req, "n", 1);
          res.writeHead(200, { "x-bad": "a\nb" }).end();
        },
        "/chunk": (req, res) => {
          put(req, "n", 1);
          Reflect.apply(res.end, res, [1]);
        },
      },
    );
    for (const [path, code] of [["/head", "ERR_INVALID_CHAR"] as const, ["/chunk", "ERR_INVALID_ARG_TYPE"] as const]) {
      const answer = await get(path);
      expect([answer.status, answer.text]).toEqual([500, `{"code":"${code}"}`]);
    }
  });

  test("after a failure what a slow handler still writes goes nowhere", async () => {
    const failure = new AnynodeError("ENGINE_TIMEOUT", "injected");
    double.use({ create: () => Promise.reject(failure) });
    const told: unknown[] = [];
    const { get } = await app(
      {},
      {
        "/": async (req, res) => {
          put(req, "n", 1);
          res.write("a", (error) => told.push(error));
          await new Promise((resolve) => setTimeout(resolve, 20));
          res.write("b");
          res.end("c", () => told.push("ended"));
        },
      },
    );
    expect((await get()).text).toBe('{"code":"ENGINE_TIMEOUT"}');
    await until("both were told", () => told.length === 2);
    expect(told[0]).toBe(failure);
  });
});

describe("a session that ends while a request works on it", () => {
  async function ended(onEnded?: 401) {
    const gate = new Gate();
    const signals: AbortSignal[] = [];
    const { get } = await app(onEnded === undefined ? {} : { onEnded }, {
      "/set": set,
      "/": read,
      "/slow": async (req, res) => {
        signals.push(Reflect.get(req.session, "signal"));
        put(req, "n", "slow");
        await gate.passed;
        res.send("fine");
      },
      "/out": (req, res) => req.session.destroy(() => res.end()),
    });
    const { cookie } = await get("/set");
    const slow = get("/slow", cookie);
    await until("it works", () => signals.length === 1);
    await get("/out", cookie);
    gate.open();
    const answer = await slow;
    expect([(await get("/", cookie)).text, answer.line]).toEqual(["{}", undefined]);
    return { answer, signal: signals[0] };
  }

  test("its write is dropped, no cookie is sent, session.signal is aborted, an event says so", async () => {
    const dropped: unknown[] = [];
    sessions.on("write-dropped", (event) => dropped.push(event));
    const { answer, signal } = await ended();
    expect([answer.status, answer.text, signal?.aborted]).toEqual([200, "fine", true]);
    await until("the event", () => dropped.length === 1);
  });

  test("onEnded: 401 fails it", async () => {
    const { answer } = await ended(401);
    expect([answer.status, answer.text]).toEqual([401, '{"code":"SESSION_ENDED"}']);
  });

  test("whoever learns of an end elsewhere tells the session object: that is enough", async () => {
    const { get } = await app(
      { rolling: true },
      {
        "/set": set,
        "/": read,
        "/told": (req, res) => {
          put(req, "n", "told");
          const own: unknown = req.session;
          if (own instanceof ExpressSession) Session.tellEnded(own);
          res.json(Reflect.get(req.session, "signal").aborted);
        },
      },
    );
    const { cookie } = await get("/set");
    const told = await get("/told", cookie);
    expect([told.text, told.line, (await get("/", cookie)).text]).toEqual(["true", undefined, '{"n":"1"}']);
  });

  test("G3: no late cookie, not even of a rolling session that didn't change", async () => {
    const gate = new Gate();
    let works = false;
    const { get } = await app(
      { rolling: true },
      {
        "/set": set,
        "/slow": async (req, res) => {
          works = req.session !== undefined;
          await gate.passed;
          res.send("fine");
        },
        "/out": (req, res) => req.session.destroy(() => res.end()),
      },
    );
    const { cookie } = await get("/set");
    const slow = get("/slow", cookie);
    await until("it works", () => works);
    await get("/out", cookie);
    gate.open();
    expect((await slow).line).toBeUndefined();
  });
});

describe("per-request switches", () => {
  test("readonly: nothing is committed, touched or set; explicit calls are refused", async () => {
    const { get } = await app(
      { rolling: true, readonly: ["/health", (req) => req.query["ro"] === "1"] },
      {
        "/set": set,
        "/health": (req, res) => {
          put(req, "n", "lost");
          return res.json(Reflect.get(req.session, "n"));
        },
        "/health/deep": (req, res) => req.session.save((error) => res.json(error?.code)),
        "/": read,
      },
    );
    const { cookie } = await get("/set");
    double.forget();
    const answer = await get("/health", cookie);
    expect([answer.text, answer.line]).toEqual(['"lost"', undefined]);
    expect((await get("/health/deep", cookie)).text).toBe('"SESSION_READONLY"');
    expect((await get("/?ro=1", cookie)).line).toBeUndefined();
    expect([double.count("commit"), double.count("touch")]).toEqual([0, 0]);
    expect((await get("/", cookie)).text).toBe('{"n":"1"}');
  });

  test("a handler that never answers commits nothing", async () => {
    let own: object | undefined;
    const { port } = await app(
      {},
      {
        "/": (req) => {
          put(req, "n", 1);
          own = req.session;
        },
      },
    );
    const gone = new AbortController();
    const asked = fetch(`http://127.0.0.1:${port}/`, { signal: gone.signal }).catch(() => {});
    await until("the handler is through", () => own !== undefined);
    gone.abort();
    await asked;
    await new Promise((resolve) => setTimeout(resolve, 50)); // it is the test's point that nothing comes
    expect([double.count("create"), late]).toEqual([0, []]);
  });

  test("none: no session at all", async () => {
    const { get } = await app(
      { none: "/assets" },
      { "/set": set, "/assets/a": (req, res) => res.json(req.session === undefined) },
    );
    const { cookie } = await get("/set");
    double.forget();
    expect([(await get("/assets/a", cookie)).text, double.count("read")]).toEqual(["true", 0]);
  });
});

test("the idiom of ws, session(req, {}, next): the session is there, save() stores", async () => {
  const middleware = session(sessions, { secret: SECRET });
  const { get } = await app({}, { "/set": set, "/": read });
  const { cookie } = await get("/set");
  const server = createServer();
  server.on("upgrade", (req: IncomingMessage & { session?: unknown }, socket) => {
    middleware(req, {}, async () => {
      const own: unknown = req.session;
      if (typeof own !== "object" || own === null) throw new Error("no session");
      Reflect.set(own, "n", `${Reflect.get(own, "n")} by socket`);
      await Reflect.apply(Reflect.get(own, "save"), own, []);
      socket.end("HTTP/1.1 400 enough\r\n\r\n");
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closing.push(async () => void server.close());
  const address = server.address();
  const port = typeof address === "object" ? (address?.port ?? 0) : 0;
  await ask(port, "/", cookie, { connection: "upgrade", upgrade: "websocket" });
  expect((await get("/", cookie)).text).toBe('{"n":"1 by socket"}');
});
