/** The promises that every express-session store keeps, ours as well as MemoryStore. */
import { until } from "./until.js";

/** Plain data, as JSON keeps it. */
export interface Stored {
  cookie: object;
  [attribute: string]: unknown;
}

/** A store, by promises. */
export interface StoreUnderTest {
  get(sid: string): Promise<Stored | undefined>;
  set(sid: string, data: object): Promise<void>;
  touch(sid: string, data: object): Promise<void>;
  destroy(sid: string): Promise<void>;
  all(): Promise<readonly Stored[]>;
  length(): Promise<number>;
  clear(): Promise<void>;
  /** A Session object of the host for that data, as a request gets it. */
  createSession(sid: string, data: Stored): Stored & { touch(): void };
}

export function storeBasics(make: () => Promise<{ store: StoreUnderTest; close(): Promise<void> }>): void {
  let store: StoreUnderTest;
  let close: () => Promise<void>;
  beforeEach(async () => {
    ({ store, close } = await make());
  });
  afterEach(() => close());

  /** What a request does: loads, becomes a Session, touches its cookie. */
  async function opened(sid: string) {
    const data = await store.get(sid);
    if (data === undefined) throw new Error(`no session ${sid}`);
    return store.createSession(sid, data);
  }

  test("an id that nobody stored has no session", async () => {
    expect(await store.get("nobody")).toBeUndefined();
  });

  test("gives back what was stored, with its cookie", async () => {
    await store.set("a", { cookie: { maxAge: 60_000 }, name: "tom", nested: { list: [1, null, { x: "ü" }] } });
    const found = await store.get("a");
    expect(found).toMatchObject({ name: "tom", nested: { list: [1, null, { x: "ü" }] } });
    expect(typeof found?.cookie).toBe("object");
  });

  test("a fresh copy per get: what one request does to it, no other sees", async () => {
    await store.set("a", { cookie: {}, nested: { list: [1] } });
    const [one, two] = [await store.get("a"), await store.get("a")];
    Reflect.set(Object(one?.["nested"]), "list", "changed");
    expect(two?.["nested"]).toEqual({ list: [1] });
    expect((await store.get("a"))?.["nested"]).toEqual({ list: [1] });
  });

  test("what is stored is what the object was when set was called", async () => {
    const data = { cookie: {}, name: "before" };
    const stored = store.set("a", data);
    data.name = "after";
    await stored;
    expect((await store.get("a"))?.["name"]).toBe("before");
  });

  test("values as JSON has them: a Date is its text, undefined and functions are left out, NaN is null", async () => {
    const when = new Date(0);
    await store.set("a", { cookie: {}, when, nothing: undefined, fn() {}, nan: Number.NaN });
    expect(await store.get("a")).toEqual({ cookie: expect.anything(), when: when.toISOString(), nan: null });
  });

  test("times are in milliseconds, not in seconds", async () => {
    await store.set("a", { cookie: { originalMaxAge: 300, expires: new Date(Date.now() + 300).toISOString() }, name: "x" });
    expect(await store.get("a")).toBeDefined();
    await until("it expires", async () => (await store.get("a")) === undefined, 900);
  });

  test("expires alone, as scripts write it, a Date or its text, is the session's end", async () => {
    const expires = new Date(Date.now() + 400);
    await store.set("a", { cookie: { expires }, name: "x" });
    await store.set("b", { cookie: { expires: expires.toISOString() }, name: "y" });
    expect([(await store.get("a"))?.["name"], (await store.get("b"))?.["name"]]).toEqual(["x", "y"]);
    for (const sid of ["a", "b"]) await until("it expires", async () => (await store.get(sid)) === undefined, 1000);
    expect(Date.now()).toBeGreaterThanOrEqual(expires.getTime() - 5);
  });

  test("expires in the past: never served", async () => {
    const past = new Date(Date.now() - 1000);
    await store.set("a", { cookie: { expires: past } });
    await store.set("b", { cookie: { expires: past.toISOString() } });
    const storedAt = Date.now();
    await until("a millisecond is over", () => Date.now() > storedAt + 5);
    expect([await store.get("a"), await store.get("b")]).toEqual([undefined, undefined]);
  });

  test("a browser-session cookie stays one", async () => {
    await store.set("a", { cookie: { originalMaxAge: null, expires: null, path: "/" } });
    expect((await store.get("a"))?.cookie).toMatchObject({ originalMaxAge: null, expires: null });
    expect((await opened("a")).cookie).toMatchObject({ originalMaxAge: null, expires: null });
  });

  test("the cookie's settings come back", async () => {
    const settings = { path: "/shop", httpOnly: false, secure: true, sameSite: "strict", domain: "example.com" };
    await store.set("a", { cookie: { ...settings, originalMaxAge: null, expires: null } });
    expect((await store.get("a"))?.cookie).toMatchObject(settings);
  });

  test("touch extends the life and refreshes the stored expiry", async () => {
    const expires = new Date(Date.now() + 400).toISOString();
    await store.set("a", { cookie: { originalMaxAge: 400, expires }, name: "x" });
    const bornAt = Date.now();
    let last = expires;
    while (Date.now() < bornAt + 900) {
      const visit = await opened("a");
      visit.touch();
      await store.touch("a", visit);
      const found = await store.get("a");
      const now = String(Reflect.get(Object(found?.cookie), "expires"));
      expect(now >= last).toBe(true);
      last = now;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(new Date(last).getTime()).toBeGreaterThan(bornAt + 900);
    expect((await store.get("a"))?.["name"]).toBe("x");
  });

  test("touch stores changed cookie settings, and nothing else", async () => {
    await store.set("a", { cookie: { originalMaxAge: null, path: "/" }, name: "x" });
    const visit = await opened("a");
    visit["name"] = "not saved";
    Reflect.set(visit.cookie, "maxAge", 90_000);
    await store.touch("a", visit);
    const found = await store.get("a");
    expect(found?.["name"]).toBe("x");
    const { originalMaxAge } = { originalMaxAge: 0, ...found?.cookie };
    expect(originalMaxAge).toBeGreaterThan(89_000);
    expect(originalMaxAge).toBeLessThanOrEqual(90_000);
  });

  test("touching what isn't there does no harm and makes nothing", async () => {
    await store.touch("nobody", { cookie: { maxAge: 1000 } });
    expect(await store.get("nobody")).toBeUndefined();
  });

  test("destroy removes; of nothing, too", async () => {
    await store.set("a", { cookie: {} });
    await store.destroy("a");
    await store.destroy("a");
    await store.destroy("nobody");
    expect(await store.get("a")).toBeUndefined();
  });

  test("all, length and clear", async () => {
    expect([await store.all(), await store.length()]).toEqual([[], 0]);
    for (const name of ["x", "y", "z"]) await store.set(`id of ${name}`, { cookie: {}, name });
    await store.destroy("id of z");
    const names = (await store.all()).map((one) => one["name"]);
    expect(names.toSorted()).toEqual(["x", "y"]);
    for (const one of await store.all()) expect(typeof one.cookie).toBe("object");
    expect(await store.length()).toBe(2);
    await store.clear();
    expect([await store.all(), await store.length(), await store.get("id of x")]).toEqual([[], 0, undefined]);
  });

  test("ids are any text of 1 to 256 bytes", async () => {
    const ids = [
      "x",
      " ",
      "*",
      "..",
      "{}",
      "a\r\nb",
      "a\0b",
      "__proto__",
      "constructor",
      "é".repeat(128),
      "y".repeat(256),
      "💥",
      '{"$ne":1}',
    ];
    for (const [i, sid] of ids.entries()) await store.set(sid, { cookie: {}, i });
    for (const [i, sid] of ids.entries()) expect([sid, (await store.get(sid))?.["i"]]).toEqual([sid, i]);
  });

  test("a second set replaces the session of a script", async () => {
    await store.set("a", { cookie: { maxAge: 2000 }, name: "x", old: 1 });
    await store.set("a", { cookie: { maxAge: 2000 }, name: "y" });
    const { cookie: _, ...attributes } = (await store.get("a")) ?? {};
    expect(attributes).toEqual({ name: "y" });
  });
}
