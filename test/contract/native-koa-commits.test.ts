/** When the native Koa front end stores a session and tells the browser, whatever way the handler takes. */
import { Readable } from "node:stream";
import { type KoaSession, session } from "anynode/koa";
import { AnynodeError } from "../../lib/index.js";
import { Browser } from "../support/browser.js";
import { Gate } from "../support/engine-double.js";
import { type Context, KoaStage, read, set } from "../support/koa-app.js";
import { until } from "../support/until.js";

let stage: KoaStage;
beforeEach(async () => {
  stage = await KoaStage.start();
});
afterEach(() => stage.close());

describe("autoCommit: false", () => {
  test.each<[string, (own: KoaSession) => Promise<void>]>([
    ["save", (own) => own.save()],
    ["regenerate", (own) => own.regenerate()],
    ["login", (own) => own.login("ann", { keep: ["n"] })],
    ["manuallyCommit, repeated", (own) => own.manuallyCommit().then(() => own.manuallyCommit())],
  ])("%s stores what changed and tells the browser, once", async (_, act) => {
    const routes = {
      "/": read,
      "/act": (ctx: Context, own: KoaSession) => {
        set(ctx, own);
        return act(own);
      },
    };
    const { url } = await stage.app({ autoCommit: false }, routes);
    const visitor = new Browser();
    expect((await visitor.get(url, "/act")).setCookies.length).toBe(1);
    expect((await visitor.get(url, "/")).body).toEqual({ is: { n: 1 } });
  });

  test("save, then regenerate: the browser is told of the last id alone; rotate and logout tell it, too", async () => {
    const { url } = await stage.app(
      { autoCommit: false },
      {
        "/": read,
        "/both": async (ctx, own) => {
          set(ctx, own);
          await own.save();
          await own.regenerate();
        },
        "/rotate": (_, own) => own.rotate(),
        "/logout": (_, own) => own.logout(),
      },
    );
    const visitor = new Browser();
    expect((await visitor.get(url, "/both")).setCookies.length).toBe(1);
    expect((await visitor.get(url, "/")).body).toEqual({ is: { n: 1 } });
    const before = visitor.cookie("sid");
    expect((await visitor.get(url, "/rotate")).setCookies.length).toBe(1);
    expect(visitor.cookie("sid")).not.toBe(before);
    expect((await visitor.get(url, "/")).body).toEqual({ is: { n: 1 } });
    await visitor.get(url, "/logout");
    expect(visitor.cookie("sid")).toBeUndefined();
  });
});

test.each<[string, boolean, (own: KoaSession, ctx: Context) => Promise<void>]>([
  ["save", false, (own) => own.save()],
  ["login", false, (own) => own.login("ann")],
  ["rotate", false, (own) => own.save().then(() => own.rotate())],
  ["manuallyCommit", true, (own) => own.manuallyCommit()],
])("no cookie of a session that the request ends: %s, then logout (autoCommit: %s)", async (_, autoCommit, act) => {
  const { url } = await stage.app(
    { autoCommit },
    {
      "/": async (ctx, own) => {
        set(ctx, own);
        await act(own, ctx);
        await ctx.session?.logout();
      },
    },
  );
  const { status, setCookies } = await new Browser().get(url, "/");
  expect([status, setCookies]).toEqual([200, []]);
});

test("autoCommit: false: save stores what it was asked for, and tells of its own failure alone", async () => {
  const seen: unknown[] = [];
  const { url } = await stage.app(
    { autoCommit: false },
    {
      "/set": (ctx, own) => {
        set(ctx, own);
        return own.save();
      },
      "/": read,
      "/one": async (_, own) => {
        Reflect.set(own, "a", 1);
        const saving = own.save();
        Reflect.set(own, "b", 10n);
        await saving;
      },
      "/two": async (_, own) => {
        Reflect.set(own, "c", 1);
        let commits = 0;
        stage.double.use({
          commit: (...asked) =>
            ++commits === 2
              ? Promise.reject(new AnynodeError("ENGINE_TIMEOUT", "injected"))
              : Promise.resolve(stage.double.sound.commit(...asked)),
        });
        const first = own.save();
        Reflect.set(own, "d", 1);
        const outcomes = await Promise.allSettled([first, own.save()]);
        seen.push(...outcomes.map(({ status }) => status));
      },
    },
  );
  const visitor = new Browser();
  await visitor.get(url, "/set");
  expect((await visitor.get(url, "/one")).status).toBe(200);
  expect((await visitor.get(url, "/")).body).toEqual({ is: { n: 1, a: 1 } });
  await visitor.get(url, "/two");
  expect(seen).toEqual(["fulfilled", "rejected"]);
});

test("what can't be stored is told once", async () => {
  const { url, app } = await stage.app(
    { beforeSave: (ctx) => ctx.path === "/before" && throwIt() },
    { "/bigint": (_, own) => void Reflect.set(own, "a", 1n), "/before": set },
  );
  function throwIt(): never {
    throw new Error("not this one");
  }
  const errors: string[] = [];
  app.on("error", (error) => errors.push(error.code ?? error.message));
  expect((await new Browser().get(url, "/bigint")).status).toBe(500);
  expect((await new Browser().get(url, "/before")).status).toBe(500);
  expect(errors).toEqual(["ATTRIBUTE_INVALID", "not this one"]);
});

test("a Proxy around the session loses nothing of it", async () => {
  const { url } = await stage.app(
    {},
    {
      "/set": set,
      "/": read,
      "/proxy": (ctx, own) => {
        ctx.session = new Proxy(own, {});
      },
    },
  );
  const visitor = new Browser();
  await visitor.get(url, "/set");
  await visitor.get(url, "/proxy");
  expect((await visitor.get(url, "/")).body).toEqual({ is: { n: 1 } });
});

test("after a failed commit an error handler further out answers as it likes, and nobody is told again", async () => {
  const errors: unknown[] = [];
  const caught: unknown[] = [];
  const { url, app } = await stage.app({}, { "/set": set }, (one) =>
    one.use((ctx, next) =>
      next().catch((error: unknown) => {
        caught.push(Object(error).code);
        ctx.redirect("/sorry");
      }),
    ),
  );
  app.on("error", (error) => errors.push(error));
  stage.sessions.on("late-change", (event) => errors.push(event));
  stage.double.use({ create: () => Promise.reject(new AnynodeError("ENGINE_TIMEOUT", "injected")) });
  const answer = await fetch(`${url}/set`, { redirect: "manual" });
  await new Promise((resolve) => setTimeout(resolve, 20)); // it is the test's point that nothing comes
  expect([answer.status, answer.headers.get("location"), answer.headers.getSetCookie()]).toEqual([302, "/sorry", []]);
  expect([caught, errors]).toEqual([["ENGINE_TIMEOUT"], []]);
});

test("a manuallyCommit that couldn't begin doesn't spoil the next one, nor the response", async () => {
  const { url } = await stage.app(
    {},
    {
      "/": read,
      "/fix": async (_, own) => {
        Reflect.set(own, "bad", 1n);
        await own.manuallyCommit().catch(() => {});
        Reflect.deleteProperty(own, "bad");
        Reflect.set(own, "n", 1);
      },
      "/fix-at-once": async (_, own) => {
        Reflect.set(own, "bad", 1n);
        await own.manuallyCommit().catch(() => {});
        Reflect.deleteProperty(own, "bad");
        Reflect.set(own, "n", 2);
        await own.manuallyCommit();
      },
    },
  );
  const visitor = new Browser();
  expect((await visitor.get(url, "/fix")).status).toBe(200);
  expect((await visitor.get(url, "/")).body).toEqual({ is: { n: 1 } });
  expect((await visitor.get(url, "/fix-at-once")).status).toBe(200);
  expect((await visitor.get(url, "/")).body).toEqual({ is: { n: 2 } });
});

test("what was fixed after a manuallyCommit that couldn't begin is stored, whatever the status", async () => {
  const { url } = await stage.app(
    {},
    {
      "/": read,
      "/fix": async (ctx, own) => {
        Reflect.set(own, "bad", 1n);
        await own.manuallyCommit().catch(() => {});
        Reflect.deleteProperty(own, "bad");
        Reflect.set(own, "n", 1);
        ctx.status = 422;
      },
    },
  );
  const visitor = new Browser();
  expect((await visitor.get(url, "/fix")).status).toBe(422);
  expect((await visitor.get(url, "/")).body).toEqual({ is: { n: 1 } });
});

test.each([false, true])(
  "a session that moved, and a change that couldn't be stored: the new cookie comes with the error (by ctx.res: %s)",
  async (raw) => {
    const { url } = await stage.app(
      {},
      {
        "/set": set,
        "/": read,
        "/rotate": async (ctx, own) => {
          await own.rotate();
          Object(ctx.session).bad = 1n;
          if (raw) ctx.res.end("raw");
        },
      },
    );
    const visitor = new Browser();
    await visitor.get(url, "/set");
    const before = visitor.cookie("sid");
    expect((await visitor.get(url, "/rotate")).status).toBe(500);
    expect(visitor.cookie("sid")).not.toBe(before);
    expect((await visitor.get(url, "/")).body).toEqual({ is: { n: 1 } });
  },
);

test("no cookie of a session that was ended, whatever failed before", async () => {
  const { url } = await stage.app(
    {},
    {
      "/x": async (ctx, own) => {
        set(ctx, own);
        await own.manuallyCommit();
        stage.double.use({ commit: () => Promise.reject(new AnynodeError("ENGINE_TIMEOUT", "injected")) });
        Reflect.set(own, "n", 2);
        await own.save().catch(() => {});
        await own.logout();
        ctx.status = 500;
      },
    },
    (one) =>
      one.use(async (ctx, next) => {
        await next();
        ctx.status = 500;
      }),
  );
  const { status, setCookies } = await new Browser().get(url, "/x");
  expect([status, setCookies]).toEqual([500, []]);
});

test("readonly: nothing is committed, not by manuallyCommit either; none: no session at all", async () => {
  const { url } = await stage.app(
    { readonly: "/ro", none: "/assets" },
    {
      "/set": set,
      "/": read,
      "/ro": (_, own) => void Reflect.set(own, "n", 2),
      "/ro/commit": (_, own) => {
        Reflect.set(own, "n", 2);
        return own.manuallyCommit().catch((error) => error.code);
      },
    },
    (one) =>
      one.use(async (ctx, next) => {
        await next();
        if (ctx.path === "/assets") ctx.body = { is: ctx.session === undefined };
      }),
  );
  const visitor = new Browser();
  await visitor.get(url, "/set");
  stage.double.forget();
  expect((await visitor.get(url, "/assets")).body).toEqual({ is: true });
  expect(stage.double.count("read")).toBe(0);
  expect((await visitor.get(url, "/ro")).setCookies).toEqual([]);
  expect((await visitor.get(url, "/ro/commit")).body).toEqual({ is: "SESSION_READONLY" });
  expect([stage.double.count("commit"), stage.double.count("touch")]).toEqual([0, 0]);
  expect((await visitor.get(url, "/")).body).toEqual({ is: { n: 1 } });
});

test("a handler that answers by ctx.res and leaves ctx.respond as it is: one answer, stored before", async () => {
  const { url, app } = await stage.app(
    {},
    {
      "/": read,
      "/raw": (ctx, own) => {
        set(ctx, own);
        ctx.res.statusCode = 201;
        ctx.res.end("raw");
        return ctx.res.writableEnded;
      },
    },
  );
  const errors: unknown[] = [];
  app.on("error", (error) => errors.push(error));
  const visitor = new Browser();
  const { status, text } = await visitor.get(url, "/raw");
  expect([status, text]).toEqual([201, "raw"]);
  expect((await visitor.get(url, "/")).body).toEqual({ is: { n: 1 } });
  expect(errors).toEqual([]);
});

test("a handler that never answers commits nothing", async () => {
  let own: KoaSession | undefined;
  const { url } = await stage.app(
    {},
    {
      "/never": (ctx, session) => {
        ctx.respond = false;
        own = session;
        set(ctx, session);
      },
    },
  );
  const gone = new AbortController();
  const asked = fetch(`${url}/never`, { signal: gone.signal }).catch(() => {});
  await until("the handler is through", () => own !== undefined);
  await new Promise((resolve) => setTimeout(resolve, 50)); // it is the test's point that nothing comes
  gone.abort();
  await asked;
  expect(stage.double.count("create")).toBe(0);
});

test("bodies that are streams: stored before the first byte; closed, and not sent, when that fails", async () => {
  const streams: Readable[] = [];
  const { url } = await stage.app({}, {}, (one) => {
    one.use((ctx, next) =>
      next().catch((error: unknown) => {
        ctx.status = error instanceof AnynodeError ? error.status : 500;
        ctx.body = "later";
      }),
    );
    one.use(session<Context>(stage.sessions, {}));
    one.use((ctx) => {
      if (ctx.session) Reflect.set(ctx.session, "n", 1);
      const body = Readable.from(["a", "b", "c"]);
      streams.push(body);
      ctx.body = body;
      ctx.set("ETag", '"of the stream"');
    });
  });
  const answer = await fetch(url);
  expect([answer.status, await answer.text(), answer.headers.getSetCookie().length]).toEqual([200, "abc", 1]);
  stage.double.use({ create: () => Promise.reject(new AnynodeError("ENGINE_TIMEOUT", "injected")) });
  const failed = await fetch(url);
  expect([failed.status, await failed.text(), failed.headers.get("etag")]).toEqual([503, "later", null]);
  expect(streams[1]?.destroyed).toBe(true);
});

describe("a session that ended meanwhile", () => {
  async function slowly(onEnded: 401 | "ignore") {
    const gate = new Gate();
    let works = false;
    const { url } = await stage.app(
      { onEnded, maxAge: 60_000 },
      {
        "/set": set,
        "/": read,
        "/slow": async (_, own) => {
          Reflect.set(own, "n", 2);
          works = true;
          await gate.passed;
          return own.signal.aborted;
        },
        "/out": (_, own) => own.logout(),
      },
    );
    const visitor = new Browser();
    await visitor.get(url, "/set");
    const other = visitor.fork();
    const slow = other.get(url, "/slow");
    await until("it works", () => works);
    await visitor.get(url, "/out");
    gate.open();
    return { answer: await slow, again: await other.get(url, "/") };
  }

  test("its change is dropped, and no cookie of it is set", async () => {
    const { answer, again } = await slowly("ignore");
    expect([answer.status, answer.setCookies, again.body]).toEqual([200, [], { is: {} }]);
  });

  test("onEnded: 401 fails the request", async () => {
    const { answer, again } = await slowly(401);
    expect([answer.status, answer.setCookies, again.body]).toEqual([401, [], { is: {} }]);
  });
});

test("an object in the place of a session that this request has ended is a new session", async () => {
  const { url } = await stage.app(
    { rolling: true },
    {
      "/set": set,
      "/": read,
      "/out": async (ctx, own) => {
        await own.logout();
        ctx.session = { flash: "bye" };
      },
      "/out-at-once": async (ctx, own) => {
        const out = own.logout();
        ctx.session = { flash: "bye" };
        await out;
      },
    },
  );
  for (const path of ["/out", "/out-at-once"]) {
    const visitor = new Browser();
    await visitor.get(url, "/set");
    const old = visitor.fork();
    expect((await visitor.get(url, path)).setCookies.length).toBe(1);
    expect((await visitor.get(url, "/")).body).toEqual({ is: { flash: "bye" } });
    expect((await old.get(url, "/")).body).toEqual({ is: {} });
  }
});

test("beforeSave is called by whatever stores: save, the commit, regenerate, login", async () => {
  let calls = 0;
  const count = () => {
    calls += 1;
  };
  const { url } = await stage.app(
    { beforeSave: count },
    {
      "/set": set,
      "/save": (_, own) => own.save(),
      "/regenerate": (_, own) => own.regenerate(),
      "/login": (_, own) => own.login("ann"),
    },
  );
  const visitor = new Browser();
  for (const path of ["/set", "/save", "/regenerate", "/login"]) {
    const before = calls;
    await visitor.get(url, path);
    expect([path, calls > before]).toEqual([path, true]);
  }
});

test("what beforeSave adds at login is stored; what isn't to be kept goes", async () => {
  const { url } = await stage.app(
    { beforeSave: (_, own) => void Reflect.set(own, "stamp", 1) },
    { "/set": set, "/": read, "/login": (_, own) => own.login("ann") },
  );
  const visitor = new Browser();
  await visitor.get(url, "/login");
  expect((await visitor.get(url, "/")).body).toEqual({ is: { stamp: 1 } });
});

test("externalKey is told of a session, whatever the cookie's settings say of the connection", async () => {
  const { url } = await stage.app(
    { secure: true, externalKey: { get: () => undefined, set: (ctx, key) => ctx.set("X-Key", key) } },
    { "/set": set },
  );
  expect((await fetch(`${url}/set`)).headers.get("x-key")).toMatch(/^.{20,}$/);
});

test("the cookie's settings may stand beside the others and in `cookie`: what stands in `cookie` counts", async () => {
  const { url } = await stage.app({ cookie: { sameSite: "lax" }, secure: false, httpOnly: false }, { "/set": set });
  expect((await new Browser().get(url, "/set")).setCookies[0]).toMatch(/^sid=[^;]*; Path=\/; Expires=[^;]*; SameSite=Lax$/);
  const said = { expires: new Date(Date.now() + 3_600_000), maxAge: 60_000, httpOnly: undefined };
  for (const cookie of [said, () => said]) {
    const ordered = await stage.app({ cookie }, { "/set": set });
    const [line = ""] = (await new Browser().get(ordered.url, "/set")).setCookies;
    const seconds = (new Date(/Expires=([^;]*)/.exec(line)?.[1] ?? "").getTime() - Date.now()) / 1000;
    expect([Math.round(seconds / 10), /HttpOnly/.test(line)]).toEqual([6, true]);
  }
  const typo = Reflect.construct(Object, [{ secret: "a", cookie: () => ({}), sameSite: "laxx" }]);
  expect(() => session(stage.sessions, typo)).toThrow(/sameSite/);
  const both = await stage.app(
    { cookie: () => ({ httpOnly: true, maxAge: null }), httpOnly: false, maxAge: 5000 },
    { "/set": set },
  );
  expect((await new Browser().get(both.url, "/set")).setCookies[0]).toMatch(/^sid=[^;]*; Path=\/; HttpOnly$/);
});
