/** Comparing with what was parsed says "the same" only where the text is the same. */
import fc from "fast-check";
import { freshValue, isPristine } from "../../lib/session/pristine.js";

/** An attribute that two requests have touched already. */
function twice(text: string): ReadonlyMap<string, string> {
  const texts = new Map([["a", text]]);
  freshValue(texts, "a");
  freshValue(texts, "a");
  return texts;
}

const json = fc.jsonValue({ maxDepth: 3 });

test("what nobody changed is pristine from the second request on, if it is a small object", () => {
  const texts = new Map([["a", '{"b":[1,{"c":null}]}']]);
  expect(isPristine(texts, "a", freshValue(texts, "a"))).toBe(false);
  expect(isPristine(texts, "a", freshValue(texts, "a"))).toBe(true);
  expect(isPristine(twice("[1]"), "a", [1])).toBe(true);
  expect(isPristine(twice("1"), "a", 1)).toBe(false);
  const large = JSON.stringify("x".repeat(600).split(""));
  expect(isPristine(twice(large), "a", JSON.parse(large))).toBe(false);
});

test("of many small objects none is kept: they weigh more than their text", () => {
  const [few, many] = [15, 17].map((count) => JSON.stringify(Array.from({ length: count }, () => ({}))));
  expect(isPristine(twice(few ?? ""), "a", JSON.parse(few ?? ""))).toBe(true);
  expect(isPristine(twice(many ?? ""), "a", JSON.parse(many ?? ""))).toBe(false);
});

test("each request has a value of its own", () => {
  const texts = twice('{"b":{"c":1}}');
  const mine = freshValue(texts, "a");
  if (typeof mine === "object" && mine !== null) Object.assign(mine, { b: 2 });
  expect(isPristine(texts, "a", mine)).toBe(false);
  expect(freshValue(texts, "a")).toEqual({ b: { c: 1 } });
});

test("of any two values: pristine only if their texts are the same", () => {
  fc.assert(
    fc.property(json, json, (was, value) => {
      const text = JSON.stringify(was);
      if (isPristine(twice(text), "a", value)) expect(JSON.stringify(value)).toBe(text);
    }),
  );
});

test("after any change of one place: pristine only if the text is the same", () => {
  const small = fc.record({ a: json, b: fc.array(json, { maxLength: 3 }), c: fc.record({ d: json }) });
  const others: fc.Arbitrary<unknown> = fc.oneof(
    json,
    fc.constantFrom<unknown>(undefined, Number.NaN, -0, new Date(0), new Map(), new String("x"), new Array(1), () => 1, {
      toJSON: () => 1,
    }),
  );
  fc.assert(
    fc.property(small, fc.constantFrom("a", "b", "c", "d", "e"), others, (was, place, other) => {
      const text = JSON.stringify(was);
      const value: object = JSON.parse(text);
      Reflect.set(place === "d" ? Reflect.get(value, "c") : value, place, other);
      if (isPristine(twice(text), "a", value)) expect(JSON.stringify(value)).toBe(text);
    }),
  );
});

test.each<[string, string, () => unknown]>([
  ["another order", '{"a":1,"b":2}', () => ({ b: 2, a: 1 })],
  ["a property more", '{"a":1}', () => ({ a: 1, b: undefined, c: 1 })],
  ["a list as an object", "[1]", () => ({ 0: 1 })],
  ["an object as a list", '{"0":1}', () => [1]],
  ["a text of its own making", "[1]", () => Object.assign([1], { toJSON: () => 2 })],
  ["an instance", '{"a":1}', () => Object.assign(new (class Made {})(), { a: 1 })],
  ["a hidden text of its own making", '{"a":1}', () => Object.defineProperty({ a: 1 }, "toJSON", { value: () => 2 })],
  ["a hole", "[null]", () => new Array(1)],
])("%s isn't pristine", (_, text, make) => {
  expect(isPristine(twice(text), "a", make())).toBe(false);
});
