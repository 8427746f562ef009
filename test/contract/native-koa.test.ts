/** What users of koa-session rely on, under the native Koa front end. */
import { type KoaSession, session } from "anynode/koa";
import { AnynodeError } from "../../lib/index.js";
import { Browser } from "../support/browser.js";
import { type Context, KoaStage, read, set } from "../support/koa-app.js";
import { until } from "../support/until.js";

let stage: KoaStage;
beforeEach(async () => {
  stage = await KoaStage.start();
});
afterEach(() => stage.close());

test("isNew, populated, length, externalKey, maxAge, toJSON", async () => {
  const tell = (_: Context, own: KoaSession) => [
    own.isNew,
    own.populated,
    own.length,
    own.externalKey === own.id,
    own.maxAge,
    own.toJSON(),
  ];
  const { url } = await stage.app({}, { "/": tell, "/set": set });
  const visitor = new Browser();
  expect((await visitor.get(url, "/")).body).toEqual({ is: [true, false, 0, true, 86_400_000, {}] });
  const { setCookies } = await visitor.get(url, "/set");
  expect(setCookies[0]).toMatch(/^sid=s%3A.*; Path=\/; Expires=.*; HttpOnly$/);
  expect((await visitor.get(url, "/")).body).toEqual({ is: [false, true, 1, true, 86_400_000, { n: 1 }] });
});

test("ctx.session = null ends it and clears the cookie; = an object replaces its attributes", async () => {
  const { url } = await stage.app(
    { key: "koa.sess", maxAge: "session" },
    {
      "/set": set,
      "/": read,
      "/other": (ctx) => {
        ctx.session = { m: 2 };
        return ctx.session?.populated;
      },
      "/null": (ctx) => {
        ctx.session = null;
        return ctx.session;
      },
    },
  );
  const visitor = new Browser();
  await visitor.get(url, "/set");
  expect(visitor.cookie("koa.sess")).toBeDefined();
  const old = visitor.fork();
  expect((await visitor.get(url, "/other")).body).toEqual({ is: true });
  expect((await visitor.get(url, "/")).body).toEqual({ is: { m: 2 } });
  expect((await visitor.get(url, "/null")).body).toEqual({ is: null });
  expect(visitor.cookie("koa.sess")).toBeUndefined();
  expect((await old.get(url, "/")).body).toEqual({ is: {} });
});

test.each(["id", "isNew", "length", "populated", "externalKey", "signal", "expiresAt", "absoluteExpiresAt", "clientChanges"])(
  "%s can't be assigned, alone or with others: that is an error, and nothing of it is stored",
  async (name) => {
    const codes: unknown[] = [];
    const caught = (act: () => void) => {
      try {
        act();
      } catch (error) {
        codes.push(Object(error).code);
      }
    };
    const { url } = await stage.app(
      {},
      {
        "/set": set,
        "/": read,
        "/alone": (_, own) => caught(() => void Reflect.set(own, name, 7)),
        "/others": (ctx) =>
          caught(() => {
            ctx.session = { [name]: 7 };
          }),
      },
    );
    const visitor = new Browser();
    await visitor.get(url, "/set");
    await visitor.get(url, "/alone");
    const before = (await visitor.get(url, "/")).body;
    await visitor.get(url, "/others");
    expect(codes).toEqual(["ATTRIBUTE_INVALID", "ATTRIBUTE_INVALID"]);
    expect(before).toEqual({ is: { n: expect.anything() } });
    expect((await visitor.get(url, "/")).body).toEqual(before);
  },
);

test.each(["save", "toJSON"])("nor can an attribute be named %s", async (name) => {
  let code: unknown;
  const { url } = await stage.app(
    {},
    {
      "/set": set,
      "/": read,
      "/other": (ctx) => {
        try {
          ctx.session = { m: 2, [name]: 7 };
        } catch (error) {
          code = Object(error).code;
        }
      },
    },
  );
  const visitor = new Browser();
  await visitor.get(url, "/set");
  await visitor.get(url, "/other");
  expect(code).toBe("ATTRIBUTE_INVALID");
  expect((await visitor.get(url, "/")).body).toEqual({ is: { n: 1 } });
});

test("regenerate keeps the attributes under a new id; save stores an empty one, too", async () => {
  const { url } = await stage.app(
    {},
    {
      "/set": set,
      "/": read,
      "/again": (_, own) => own.regenerate(),
      "/save": (_, own) => own.save(),
    },
  );
  const visitor = new Browser();
  await visitor.get(url, "/set");
  const old = visitor.fork();
  await visitor.get(url, "/again");
  expect((await visitor.get(url, "/")).body).toEqual({ is: { n: 1 } });
  expect((await old.get(url, "/")).body).toEqual({ is: {} });
  expect((await new Browser().get(url, "/save")).setCookies.length).toBe(1);
});

test("autoCommit: false; manuallyCommit stores and sets the cookie", async () => {
  const { url } = await stage.app(
    { autoCommit: false },
    {
      "/set": set,
      "/": read,
      "/commit": (ctx, own) => {
        set(ctx, own);
        return own.manuallyCommit();
      },
    },
  );
  const visitor = new Browser();
  expect((await visitor.get(url, "/set")).setCookies).toEqual([]);
  expect((await visitor.get(url, "/commit")).setCookies.length).toBe(1);
  expect((await visitor.get(url, "/")).body).toEqual({ is: { n: 1 } });
});

test("valid, beforeSave, prefix, genid, and the events session:missed and session:invalid", async () => {
  const { url, app: one } = await stage.app(
    {
      prefix: "shop-",
      valid: (_, attributes) => attributes["n"] !== 9,
      beforeSave: (_, own) => void Reflect.set(own, "saved", true),
    },
    {
      "/set": set,
      "/": read,
      "/key": (_, own) => own.externalKey,
      "/break": (_, own) => void Reflect.set(own, "n", 9),
      "/null": (ctx) => {
        ctx.session = null;
      },
    },
  );
  const events: string[] = [];
  one.on("session:missed", () => events.push("missed"));
  one.on("session:invalid", ({ value }) => events.push(`invalid ${value.n}`));
  const visitor = new Browser();
  await visitor.get(url, "/set");
  expect((await visitor.get(url, "/")).body).toEqual({ is: { n: 1, saved: true } });
  expect((await visitor.get(url, "/key")).body["is"]).toMatch(/^shop-/);
  await visitor.get(url, "/break");
  expect((await visitor.get(url, "/")).body).toEqual({ is: {} });
  await until("the event", () => events.length === 1);
  const gone = visitor.fork();
  await gone.fork().get(url, "/set");
  await visitor.get(url, "/");
  expect(events).toContain("invalid 9");
});

test("session:missed: a cookie of a session that isn't there", async () => {
  const { url, app: one } = await stage.app(
    {},
    {
      "/set": set,
      "/": read,
      "/null": (ctx) => {
        ctx.session = null;
      },
    },
  );
  let missed = 0;
  one.on("session:missed", () => {
    missed += 1;
  });
  const visitor = new Browser();
  await visitor.get(url, "/set");
  const old = visitor.fork();
  await visitor.get(url, "/null");
  await old.get(url, "/");
  await until("the event", () => missed === 1);
});

test("externalKey: the id travels as the application likes", async () => {
  const { url } = await stage.app(
    { externalKey: { get: (ctx) => ctx.URL.searchParams.get("key") ?? undefined, set: (ctx, key) => ctx.set("X-Key", key) } },
    { "/set": set, "/": read, "/key": (_, own) => own.id },
  );
  const { key } = await fetch(`${url}/set`).then((answer) => ({ key: answer.headers.get("x-key") }));
  expect((await new Browser().get(url, `/?key=${key}`)).body).toEqual({ is: { n: 1 } });
});

test("renew: the cookie is set anew when the stored session's life is extended, not every time", async () => {
  const { url } = await stage.app({ renew: true, maxAge: 2000 }, { "/set": set, "/": read });
  const visitor = new Browser();
  await visitor.get(url, "/set");
  expect((await visitor.get(url, "/")).setCookies).toEqual([]);
  await new Promise((resolve) => setTimeout(resolve, 250)); // a request would extend its life
  expect((await visitor.get(url, "/")).setCookies.length).toBe(1);
});

test("a failed commit is thrown: error handlers further out see it, with the response as it was before", async () => {
  const seen: unknown[] = [];
  const { url } = await stage.app({}, { "/set": set }, (one) =>
    one.use(async (ctx, next) => {
      try {
        await next();
      } catch (error) {
        seen.push(error instanceof AnynodeError && error.code, ctx.body, ctx.status);
        ctx.status = 503;
        ctx.body = { error: "later" };
      }
    }),
  );
  stage.double.use({ create: () => Promise.reject(new AnynodeError("ENGINE_TIMEOUT", "injected")) });
  const answer = await new Browser().get(url, "/set");
  expect([answer.status, answer.text, answer.setCookies, stage.double.count("create")]).toEqual([
    503,
    '{"error":"later"}',
    [],
    1,
  ]);
  expect(seen).toEqual(["ENGINE_TIMEOUT", undefined, 404]);
});

test("a handler that throws: its error stays its own, and what it changed is stored", async () => {
  const { url, app: one } = await stage.app(
    {},
    {
      "/set": set,
      "/": read,
      "/fail": (_, own) => {
        Reflect.set(own, "n", Number(Reflect.get(own, "n")) + 1);
        throw new Error("the route's own");
      },
    },
  );
  const errors: string[] = [];
  one.on("error", (error) => errors.push(error.message));
  const visitor = new Browser();
  await visitor.get(url, "/set");
  expect((await visitor.get(url, "/fail")).status).toBe(500);
  expect((await visitor.get(url, "/")).body).toEqual({ is: { n: 2 } });
  stage.double.use({ commit: () => Promise.reject(new AnynodeError("ENGINE_TIMEOUT", "injected")) });
  const { status } = await visitor.get(url, "/fail");
  expect([status, errors[0]]).toEqual([503, "the route's own"]);
});

test("without a secret and app.keys it says so", async () => {
  const { url } = await stage.app({}, {}, (one) => Reflect.deleteProperty(one, "keys"));
  expect((await new Browser().get(url, "/")).status).toBe(500);
  expect(() => session(stage.sessions, Reflect.construct(Object, [{ secret: "a", renwe: true }]))).toThrow(
    /did you mean "renew"/,
  );
  expect(() => session(stage.sessions, Reflect.construct(Object, [{ secret: "a", signed: false }]))).toThrow(/signed/);
});
