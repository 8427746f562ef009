/** Judging JSON without parsing it: the same verdict as JSON.parse, and bounds on depth and number of values. */
import fc from "fast-check";
import { Codec } from "../../lib/session/codec.js";
import { keyOf, makeSid } from "../../lib/session/id.js";
import { judgeJson, MAX_DEPTH } from "../../lib/session/json-text.js";
import { Keyring } from "../../lib/session/keyring.js";
import { MAX_VALUES } from "../../lib/session/payload.js";

const FULL = process.env["ANYNODE_FULL"] === "1";
const numRuns = FULL ? 100_000 : 5_000;

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** How many values JSON.parse makes of it, itself included. */
function counted(value: unknown): number {
  if (typeof value !== "object" || value === null) return 1;
  return Object.values(value).reduce((sum: number, inner: unknown) => sum + counted(inner), 1);
}

test("what JSON.stringify writes is taken, with its number of values, spaced or not", () => {
  const value = fc.jsonValue({ maxDepth: 6 });
  fc.assert(
    fc.property(value, fc.constantFrom(undefined, 2, "\t", "\r\n "), (given, space) => {
      // JSON.stringify cuts what it takes for indentation, so CRLF is put in by hand.
      expect(judgeJson(JSON.stringify(given, null, space).replaceAll("\n", " \r\n"))).toBe(counted(given));
    }),
    { numRuns },
  );
});

test("the verdict is that of JSON.parse, whatever was changed in a sound text", () => {
  const bits = fc.constantFrom(
    ...'{}[],:"\\/ \t\n\r\f\v0123456789.-+eEtrufalsn\u0001\u001f\u2028é',
    "\\u00e9",
    "\\ud8",
    "null",
    "1e5",
    "00",
  );
  const changed = fc.tuple(fc.json({ maxDepth: 3 }), fc.nat(), fc.nat(3), bits).map(([text, at, cut, put]) => {
    const from = at % (text.length + 1);
    return text.slice(0, from) + put + text.slice(from + cut);
  });
  let sound = 0;
  fc.assert(
    fc.property(
      fc.oneof(
        changed,
        fc.array(bits, { maxLength: 12 }).map((parts) => parts.join("")),
      ),
      (text) => {
        const judgement = judgeJson(text);
        if (parses(text)) sound++;
        expect([text, typeof judgement === "number"]).toEqual([text, parses(text)]);
      },
    ),
    { numRuns: 4 * numRuns },
  );
  expect(sound).toBeGreaterThan(numRuns / 50);
});

test.each([
  ["", "malformed"],
  ["1 2", "malformed"],
  ["[1,]", "malformed"],
  ['{"a":1,}', "malformed"],
  ['{"a"}', "malformed"],
  ["{1:2}", "malformed"],
  ['{"a":1]', "malformed"],
  ["[1}", "malformed"],
  ["]", "malformed"],
  ["[", "malformed"],
  ['"', "malformed"],
  ['"\\', "malformed"],
  ['"\\u12', "malformed"],
  ["01", "malformed"],
  ["-", "malformed"],
  ["nul", "malformed"],
  ['{"__proto__":1}', 2],
  ["[[],{}]", 3],
  ['{"a":1,"a":2}', 3],
  ["-0.5e-7", 1],
])("%j is %j", (text, judgement) => expect(judgeJson(text)).toBe(judgement));

test("it nests 200 deep at the most; what only looks like brackets doesn't count", () => {
  const nested = (depth: number) => `${"[".repeat(depth)}${"]".repeat(depth)}`;
  expect(judgeJson(nested(MAX_DEPTH))).toBe(MAX_DEPTH);
  expect(judgeJson(nested(MAX_DEPTH + 1))).toBe("too deep");
  expect(judgeJson(`${'{"a":'.repeat(MAX_DEPTH + 1)}1${"}".repeat(MAX_DEPTH + 1)}`)).toBe("too deep");
  expect(judgeJson(JSON.stringify("[{".repeat(1_000)))).toBe(1);
  expect(judgeJson(`[${"[],".repeat(1_000)}1]`)).toBe(1_002);
});

test("texts of a mebibyte that are made to be slow take no longer than others", () => {
  const length = 1_048_576;
  for (const part of ["[", "[[],", '{"a":', '"\\"', '"', "\\u0000", " ", "1", "-", "1e", "[1,", "\ud800"]) {
    const text = part.repeat(length / part.length);
    const startedAt = performance.now();
    for (const whole of [text, `"${text}"`, `[${text}`]) judgeJson(whole);
    expect(performance.now() - startedAt).toBeLessThan(1_500);
  }
});

describe("records", () => {
  const codec = new Codec(16_777_216, "test", new Keyring([]));
  const key = keyOf(makeSid(), "test");
  const header = {
    createdAt: 1,
    absoluteAt: 0,
    idleMs: 60_000,
    user: "",
    authenticatedAt: 0,
    cookie: "",
    client: "",
    movedTo: "" as const,
  };
  const encode = (...texts: string[]) =>
    codec.encode({ header, attributes: new Map(texts.map((text, i) => [`a${i}`, text])) }, key);
  const tooLarge = expect.objectContaining({ code: "SESSION_TOO_LARGE" });
  const list = (values: number) => `[${Array.from({ length: values - 1 }, () => 1).join()}]`;

  test("over the bounds nothing is stored: the same bounds as for reading, so that whatever is stored can be read", () => {
    expect(() => encode(`${"[".repeat(201)}${"]".repeat(201)}`)).toThrow(tooLarge);
    expect(() => encode(list(MAX_VALUES + 1))).toThrow(tooLarge);
    expect(() => encode(list(MAX_VALUES / 2), list(MAX_VALUES / 2 + 1))).toThrow(tooLarge);
    const body = encode(list(MAX_VALUES / 2), list(MAX_VALUES / 2));
    expect(codec.decode(body, key).outcome).toBe("record");
  });

  test("what isn't JSON isn't stored either, in an attribute or as the cookie's settings", () => {
    expect(() => encode("{")).toThrow(expect.objectContaining({ code: "ATTRIBUTE_INVALID" }));
    const cookie = { header: { ...header, cookie: "{" }, attributes: new Map() };
    expect(() => codec.encode(cookie, key)).toThrow(expect.objectContaining({ code: "ATTRIBUTE_INVALID" }));
  });

  test("what a known record has as well isn't judged again; what it hasn't is", () => {
    const [good, bad] = ["[1]", "{"];
    const recordOf = (...texts: string[]) => ({ header, attributes: new Map(texts.map((text, i) => [`a${i}`, text])) });
    expect(() => codec.encode(recordOf(good, bad), key, recordOf(good))).toThrow(
      expect.objectContaining({ code: "ATTRIBUTE_INVALID" }),
    );
    expect(() => codec.encode(recordOf(bad), key, recordOf(good))).toThrow(
      expect.objectContaining({ code: "ATTRIBUTE_INVALID" }),
    );
    expect(codec.encode(recordOf(good, "2"), key, recordOf(good))).toEqual(encode(good, "2"));
    const half = list(MAX_VALUES / 2);
    expect(() => codec.encode(recordOf(half, list(MAX_VALUES / 2 + 1)), key, recordOf(half))).toThrow(tooLarge);
  });
});
