/** Attributes: a view behaves as a plain object, parses late, and what was done to it is found without anybody marking anything. */
import { inspect } from "node:util";
import { changesOfView, isAttributeName, objectOf, textsOf, viewOf } from "../../lib/session/attributes.js";

const texts = new Map([
  ["user", '{"name":"Ann","roles":["a"]}'],
  ["count", "1"],
  ["gone", "true"],
]);
const plain = { user: { name: "Ann", roles: ["a"] }, count: 1, gone: true };
const invalid = expect.objectContaining({ code: "ATTRIBUTE_INVALID" });

describe("a view", () => {
  test("parses an attribute when it is first touched, and only once", () => {
    const view = viewOf(new Map([...texts, ["broken", "{"]]));
    expect(view["count"]).toBe(1);
    expect(view["user"]).toBe(view["user"]);
    expect(() => view["broken"]).toThrow(SyntaxError);
  });
  test("spreads, clones, stringifies and compares as a plain object", () => {
    expect({ ...viewOf(texts) }).toEqual(plain);
    expect(structuredClone(viewOf(texts))).toEqual(plain);
    expect(JSON.stringify(viewOf(texts))).toBe(JSON.stringify(plain));
    expect(viewOf(texts)).toEqual(plain);
    expect(Object.keys(viewOf(texts))).toEqual(["user", "count", "gone"]);
  });
  test("that nobody touched has no changes, and neither has one that was only read", () => {
    const view = viewOf(texts);
    expect(changesOfView(texts, view).size).toBe(0);
    JSON.stringify(view);
    expect(changesOfView(texts, view).size).toBe(0);
  });
  test("finds an assignment, a deep mutation, an addition and a deletion", () => {
    const view = viewOf(texts);
    view["count"] = 2;
    Object.assign(Object(view["user"]), { name: "Eve" });
    view["fresh"] = [1];
    delete view["gone"];
    expect(changesOfView(texts, view)).toEqual(
      new Map([
        ["user", { base: '{"name":"Ann","roles":["a"]}', mine: '{"name":"Eve","roles":["a"]}' }],
        ["count", { base: "1", mine: "2" }],
        ["fresh", { base: undefined, mine: "[1]" }],
        ["gone", { base: "true", mine: undefined }],
      ]),
    );
  });
  test("shares nothing with another view of the same record", () => {
    const [one, other] = [viewOf(texts), viewOf(texts)];
    Object.assign(Object(one["user"]), { name: "Eve" });
    expect(other["user"]).toEqual(plain.user);
  });
  test("stores what an accessor of the application's own gives, as JSON.stringify would", () => {
    const view = viewOf(texts);
    Object.defineProperty(view, "computed", { get: () => 42, enumerable: true, configurable: true });
    Object.defineProperty(view, "count", { get: () => 7, enumerable: true, configurable: true });
    expect(changesOfView(texts, view)).toEqual(
      new Map([
        ["computed", { base: undefined, mine: "42" }],
        ["count", { base: "1", mine: "7" }],
      ]),
    );
  });
});

describe("values", () => {
  test("are what JSON makes of them: a Date its text, NaN null; undefined, functions and symbols are left out", () => {
    const at = new Date(0);
    expect(textsOf({ at, nan: Number.NaN, none: undefined, run() {}, mark: Symbol("s"), map: new Map([[1, 2]]) })).toEqual(
      new Map([
        ["at", '"1970-01-01T00:00:00.000Z"'],
        ["nan", "null"],
        ["map", "{}"],
      ]),
    );
  });
  test("that JSON can't hold are refused with a clear error: a cycle, a BigInt, a depth without end", () => {
    const cycle: Record<string, unknown> = {};
    cycle["self"] = cycle;
    let deep: unknown = 0;
    for (let i = 0; i < 100_000; i++) deep = [deep];
    for (const value of [cycle, 1n, deep]) expect(() => textsOf({ value })).toThrow(invalid);
  });
  test("an error about a value names the attribute and holds nothing of the value, not even as its cause", () => {
    const cart: Record<string, unknown> = { secret: "hunter2" };
    cart["ann@example.com"] = { cart };
    for (const value of [cart, { big: 1n, secret: "hunter2" }]) {
      try {
        textsOf({ cart: value });
      } catch (error) {
        expect(String(error)).toContain('"cart"');
        expect(inspect(error, { depth: 9 })).not.toMatch(/hunter2|ann@example/);
      }
    }
    expect.assertions(4);
  });
});

describe("names", () => {
  const inherited = Object.getOwnPropertyNames(Object.prototype);
  test.each([...inherited, "prototype", "x".repeat(257), "é".repeat(129), "\ud800"])("refused: %j", (name) => {
    expect(isAttributeName(name)).toBe(false);
    const named = Object.defineProperty({}, name, { value: 1, enumerable: true });
    expect(() => textsOf(named)).toThrow(invalid);
  });
  test("a name that came out of JSON.parse can't reach a prototype", () => {
    expect(() => textsOf(JSON.parse('{"__proto__":{"admin":true}}'))).toThrow(invalid);
    expect(Reflect.get({}, "admin")).toBeUndefined();
  });
  test("taken: any other text of at most 256 bytes", () => {
    for (const name of ["", "a b", "x".repeat(256), "é".repeat(128), "then", "toJSON"]) expect(isAttributeName(name)).toBe(true);
  });
  test("those that are excepted stay out", () => {
    expect(textsOf({ a: 1, cookie: 1n }, new Set(["cookie"]))).toEqual(new Map([["a", "1"]]));
  });
});

test("an object of all attributes belongs to whoever asked for it", () => {
  expect(objectOf(texts)).toEqual(plain);
  expect(objectOf(texts)["user"]).not.toBe(objectOf(texts)["user"]);
});
