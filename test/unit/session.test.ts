/** The session object is a plain object to whoever looks at it, and tells what was done to it. */
import { inspect } from "node:util";
import lodash from "lodash";
import { type Changes, textsOf } from "../../lib/session/attributes.js";
import { isSid } from "../../lib/session/id.js";
import { Session } from "../../lib/session/session.js";

const plain = { n: 1, name: "ann", cart: { items: [1, 2], total: 3 }, tags: ["a"], none: null };
function open(values: object = plain): Session & Record<string, unknown> {
  const session = new Session(textsOf(values));
  if (!isRecord(session)) throw new Error("no object");
  return session;
}
function isRecord(session: Session): session is Session & Record<string, unknown> {
  return typeof session === "object";
}
function changed(session: Session): Record<string, string | undefined> {
  const changes: Changes = Session.changesOf(session);
  return Object.fromEntries(Array.from(changes, ([name, { mine }]) => [name, mine]));
}

describe("to whoever looks at it it is a plain object", () => {
  test.each<[string, (session: object) => unknown]>([
    ["JSON.stringify", (session) => JSON.parse(JSON.stringify(session))],
    ["spread", (session) => ({ ...session })],
    ["Object.assign", (session) => Object.assign({}, session)],
    ["Object.entries", (session) => Object.fromEntries(Object.entries(session))],
    ["structuredClone", (session) => structuredClone(session)],
    ["lodash cloneDeep", (session) => ({ ...lodash.cloneDeep(session) })],
    ["lodash merge", (session) => lodash.merge({}, session)],
    ["for in", (session) => Object.fromEntries(keysIn(session).map((key) => [key, Reflect.get(session, key)]))],
  ])("%s", (_, copy) => {
    expect(copy(open())).toEqual(plain);
  });

  test("Jest's toEqual, both ways, touched or not", () => {
    const session = open();
    expect(session).toEqual(plain);
    expect(plain).toEqual(open());
    expect(open()).not.toEqual({ ...plain, n: 2 });
    expect(open()).toMatchObject({ cart: { total: 3 } });
  });

  test("printing shows plain values, without id or key, and touches nothing", () => {
    const session = open();
    const { id } = session;
    expect(inspect(session)).toBe(inspect(plain));
    expect(inspect({ session })).not.toContain(id);
    expect(Object.getOwnPropertyDescriptor(session, "n")?.get).toBeDefined();
  });

  test("attributes are own, enumerable, configurable accessors that become data properties when touched", () => {
    const session = open();
    const before = Object.getOwnPropertyDescriptor(session, "cart");
    expect(before).toMatchObject({ enumerable: true, configurable: true, get: expect.any(Function), set: expect.any(Function) });
    expect(Object.getOwnPropertyDescriptor(open({ cart: 1 }), "cart")?.get).toBe(before?.get);
    const { cart } = session;
    expect(Object.getOwnPropertyDescriptor(session, "cart")).toEqual({
      value: cart,
      writable: true,
      enumerable: true,
      configurable: true,
    });
    expect(session["cart"]).toBe(cart);
  });

  test("copies are the copier's: a change there is none here", () => {
    const session = open();
    const copy = lodash.cloneDeep(session);
    lodash.set(copy, "cart.total", 9);
    expect(changed(session)).toEqual({});
  });
});

describe("what was done to it", () => {
  test.each<[string, (session: Session & Record<string, unknown>) => unknown, Record<string, string | undefined>]>([
    ["nothing", () => {}, {}],
    ["reading", (s) => [s["n"], s["cart"], s["none"]], {}],
    ["setting", (s) => Object.assign(s, { n: 2 }), { n: "2" }],
    ["setting without reading", (s) => Reflect.set(s, "cart", 1), { cart: "1" }],
    ["setting the same", (s) => Object.assign(s, { n: 1, name: "ann", tags: ["a"] }), {}],
    ["setting, then setting back", (s) => Object.assign(Object.assign(s, { n: 2 }), { n: 1 }), {}],
    ["a deep change", (s) => lodash.set(s, "cart.items[1]", 5), { cart: '{"items":[1,5],"total":3}' }],
    [
      "pushing",
      (s) =>
        lodash.update(s, "tags", (tags: string[]) => {
          tags.push("b");
          return tags;
        }),
      { tags: '["a","b"]' },
    ],
    ["adding", (s) => Object.assign(s, { fresh: { x: 1 } }), { fresh: '{"x":1}' }],
    ["deleting", (s) => Reflect.deleteProperty(s, "name"), { name: undefined }],
    ["deleting and setting", (s) => Reflect.deleteProperty(s, "name") && Object.assign(s, { name: "bob" }), { name: '"bob"' }],
    ["undefined", (s) => Object.assign(s, { name: undefined, gone: undefined }), { name: undefined }],
    ["NaN", (s) => Object.assign(s, { n: Number.NaN }), { n: "null" }],
    ["a Date", (s) => Object.assign(s, { n: new Date(0) }), { n: '"1970-01-01T00:00:00.000Z"' }],
    ["a Map, as in JSON", (s) => Object.assign(s, { n: new Map([[1, 2]]) }), { n: "{}" }],
    ["defineProperty", (s) => Object.defineProperty(s, "n", { value: 7, enumerable: true }), { n: "7" }],
    ["a getter of the application's", (s) => Object.defineProperty(s, "n", { get: () => 8, enumerable: true }), { n: "8" }],
    ["lodash merge", (s) => lodash.merge(s, { cart: { total: 4 } }), { cart: '{"items":[1,2],"total":4}' }],
    ["a function", (s) => Object.assign(s, { f: () => 1 }), {}],
  ])("%s", (_, act, expected) => {
    const session = open();
    act(session);
    expect(changed(session)).toEqual(expected);
    // Asking changes nothing.
    expect(changed(session)).toEqual(expected);
  });

  test.each<[string, unknown]>([
    ["a cycle", Object.assign([], { 0: {} })],
    ["a BigInt", { n: 1n }],
  ])("%s is a clear error, not a half save", (name, value) => {
    const session = open();
    if (name === "a cycle") lodash.set(value as object, "0.self", value);
    session["n"] = value;
    expect(() => Session.changesOf(session)).toThrow(expect.objectContaining({ code: "ATTRIBUTE_INVALID" }));
  });

  test("names that the object itself needs are refused, and hidden where another front end stored them", () => {
    const stored = open({ id: "x", signal: 1, n: 1 });
    expect(Object.keys(stored)).toEqual(["n"]);
    expect(changed(stored)).toEqual({});
    for (const name of ["signal", "toString", "hasOwnProperty"]) {
      const session = open();
      Object.defineProperty(session, name, { value: 1, enumerable: true });
      expect(() => Session.changesOf(session)).toThrow(expect.objectContaining({ code: "ATTRIBUTE_INVALID" }));
    }
    const method = open();
    Object.defineProperty(method, "toString", { value: () => "", enumerable: true });
    expect(changed(method)).toEqual({});
  });

  test.each(["id", "signal"])("assigning to %s is told: it would be lost", (name) => {
    const session = open();
    expect(() => Object.assign(session, { [name]: 1 })).toThrow(expect.objectContaining({ code: "ATTRIBUTE_INVALID" }));
    expect(changed(session)).toEqual({});
  });

  test.each(["__proto__", "id", "constructor", "signal"])("become: %s is refused, and the session stays as it was", (name) => {
    const session = open();
    const values: object = JSON.parse(`{"fresh":1,"${name}":{"isAdmin":true}}`);
    expect(() => Session.become(session, values)).toThrow(expect.objectContaining({ code: "ATTRIBUTE_INVALID" }));
    expect(Object.getPrototypeOf(session)).toBe(Session.prototype);
    expect(changed(session)).toEqual({});
  });

  test("become: the attributes of another object instead of its own", () => {
    const session = open();
    Session.become(session, { n: 2, fresh: 1 });
    expect(changed(session)).toEqual({ n: "2", fresh: "1", name: undefined, cart: undefined, tags: undefined, none: undefined });
  });
});

describe("code of the application's that runs while the session is asked sees what it always sees", () => {
  test("a getter", () => {
    const session = open();
    Object.defineProperty(session, "isAnn", {
      get(this: Record<string, unknown>) {
        return this["name"] === "ann" && this["n"] === 1;
      },
      enumerable: true,
    });
    expect(changed(session)).toEqual({ isAnn: "true" });
  });

  test("a toJSON", () => {
    const session = open();
    session["order"] = { toJSON: () => ({ tags: session["tags"], name: session["name"] }) };
    expect(changed(session)).toEqual({ order: '{"tags":["a"],"name":"ann"}' });
  });

  test("afterwards every attribute is what it was", () => {
    for (const name of Object.keys(plain)) {
      const session = open({ [name]: Reflect.get(plain, name) });
      expect(changed(session)).toEqual({});
      expect(session[name]).toEqual(Reflect.get(plain, name));
    }
  });

  test("printing runs getters, too", () => {
    const session = open();
    Object.defineProperty(session, "full", {
      get(this: Record<string, unknown>) {
        return `${this["name"]} ${this["n"]}`;
      },
      enumerable: true,
    });
    expect(inspect(session)).toContain("ann 1");
  });

  test("LIMIT: through a Proxy around the session attributes that nobody touched aren't seen", () => {
    const session = open();
    const around = new Proxy(session, {});
    expect(around["n"]).toBeUndefined();
    expect(() => inspect(around)).not.toThrow();
    expect(session["n"]).toBe(1);
    expect(around["n"]).toBe(1);
  });

  test("what inherits from a session has its attributes", () => {
    const session = open();
    const heir: Record<string, unknown> = Object.create(session);
    expect(heir["cart"]).toBe(session["cart"]);
    heir["n"] = 9;
    expect([heir["n"], session["n"]]).toEqual([9, 1]);
    expect(changed(session)).toEqual({});
  });
});

describe("id and signal", () => {
  test("an id is drawn when somebody asks, once", () => {
    const session = open();
    const { id } = session;
    expect(isSid(id)).toBe(true);
    expect(session.id).toBe(id);
  });

  test("the signal is aborted when the session ends, also for those who ask later", () => {
    const [early, late] = [open(), open()];
    const { signal } = early;
    expect(signal.aborted).toBe(false);
    for (const session of [early, late]) Session.tellEnded(session);
    for (const { aborted, reason } of [signal, late.signal]) expect([aborted, reason.code]).toEqual([true, "SESSION_ENDED"]);
  });
});

test("what isn't touched isn't parsed: opening doesn't grow with bytes", () => {
  const parse = jest.spyOn(JSON, "parse");
  const session = open({ small: 1, large: "x".repeat(100_000) });
  parse.mockClear();
  expect(session["small"]).toBe(1);
  Session.changesOf(session);
  expect(parse.mock.calls.map(([text]) => text)).toEqual(["1"]);
  parse.mockRestore();
});

function keysIn(object: object): string[] {
  const keys: string[] = [];
  for (const key in object) keys.push(key);
  return keys;
}

test("an attribute of a name that the object has itself isn't shown, and stays as it is", () => {
  const session = open({ id: "somebody else's", signal: 1, n: 1 });
  expect(isSid(session.id)).toBe(true);
  expect(session.signal).toBeInstanceOf(AbortSignal);
  expect(Object.getOwnPropertyNames(session)).toEqual(["n"]);
  expect(changed(session)).toEqual({});
});
