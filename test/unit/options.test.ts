/** Options: a bad one is told at construction, by value, bound and cure; one that nobody knows names the nearest. */
import { memoryEngine } from "anynode/memory";
import { type AnynodeOptions, settingsOf } from "../../lib/options.js";

/** As JavaScript would call it: unchecked. */
function settingsFrom(options: object | null) {
  const given: AnynodeOptions = Object.assign(Object.create(null), options);
  return settingsOf(given);
}
function invalid(...parts: string[]) {
  const message = expect.stringMatching(new RegExp(parts.map((part) => `(?=.*${part.replace(/[^\w ]/g, "\\$&")})`).join("")));
  return expect.objectContaining({ code: "OPTION_INVALID", message });
}

test("without options everything has its documented default", () => {
  expect(settingsOf({})).toMatchObject({
    engine: "lmdb:./data/sessions",
    idleMs: 86_400_000,
    absoluteMs: 0,
    conflict: "last",
    deadlineMs: 1000,
    maxBytes: 1_048_576,
    address: "",
  });
  expect(settingsOf({}).name).toMatch(new RegExp(`:${process.pid}$`));
});

test("an option that is undefined counts as omitted", () => {
  const omitted = Object.fromEntries(Object.keys(settingsOf({})).map((name) => [name, undefined]));
  expect(settingsFrom(omitted)).toEqual(settingsOf({}));
});

const bad: [name: string, values: unknown[], ...parts: string[]][] = [
  ["idleMs", [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, "1h", null, 1e16, 10n, {}], "1", "whole number"],
  ["absoluteMs", [0, -1, 1.5, Number.NaN, "1d", null, 1e16], "1", "whole number"],
  ["deadlineMs", [9, 60_001, "1s", null, Number.NaN], "10", "60000"],
  ["maxBytes", [1023, 268_435_457, "1mb", null], "1024", "268435456"],
  ["conflict", ["first", 1, null, {}], '"last"', '"reject"', "function"],
  ["keyring", [1, null, {}, [], "k1", new Map()], "list", "{ id, key }"],
  ["name", [1, null, "a\nb", "a\0", "x".repeat(257)], "256"],
  ["address", [1, null, "http://a\r\nX: y", "x".repeat(257)], "256"],
  ["engine", [1, null, {}, [], () => {}, { ...memoryEngine() }], '"memory:"', "redis"],
  ["clock", [1, null, {}, { now: () => 1 }, () => 1], "monotonic"],
];
test.each(bad)("a bad %s is refused: the message names the option, the bound and the cure", (name, values, ...parts) => {
  for (const value of values) {
    expect(() => settingsFrom({ [name]: value })).toThrow(invalid(`The option ${name} is`, ...parts));
  }
});

test("the bounds themselves are good", () => {
  for (const good of [{ idleMs: 1 }, { deadlineMs: 10 }, { deadlineMs: 60_000 }, { maxBytes: 1024 }, { maxBytes: 268_435_456 }]) {
    expect(settingsOf(good)).toMatchObject(good);
  }
});

test.each([
  ["idelMs", "idleMs"],
  ["ttl", "idleMs"],
  ["Engine", "engine"],
  ["deadline", "deadlineMs"],
  ["adress", "address"],
  ["conflicts", "conflict"],
  ["keyrings", "keyring"],
])("the unknown option %s is an error that names the nearest", (unknown, nearest) => {
  const message = () => {
    try {
      return String(settingsFrom({ [unknown]: 1 }));
    } catch (error) {
      return String(error);
    }
  };
  expect(message()).toContain(`There is no option "${unknown}"; did you mean`);
  if (unknown !== "ttl") expect(message()).toContain(`did you mean "${nearest}"?`);
});

test("options that are no object are refused", () => {
  for (const options of ["redis://x", null, 5]) {
    expect(() => Reflect.apply(settingsOf, undefined, [options])).toThrow(invalid("pass an object"));
  }
});

test("a long text, which may hold a secret, isn't repeated in the message", () => {
  expect(() => settingsFrom({ conflict: `redis://user:${"secret".repeat(20)}@host` })).toThrow(
    expect.objectContaining({ message: expect.not.stringContaining("secret") }),
  );
});

test("an engine of one's own is taken as it is, if it has every verb of the port", () => {
  const engine = memoryEngine();
  expect(settingsOf({ engine }).engine).toBe(engine);
  for (const verb of ["read", "regenerate", "publish", "subscribe", "namespace"]) {
    const lacking = new Proxy(engine, { get: (target, name) => (name === verb ? undefined : Reflect.get(target, name)) });
    expect(() => settingsFrom({ engine: lacking })).toThrow(invalid("The option engine is"));
  }
});
