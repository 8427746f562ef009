/** Ids: enough entropy, a tag that regenerating keeps, and keys from which nobody gets back. */
import fc from "fast-check";
import { isKey } from "../../lib/names.js";
import { isSid, keyOf, makeSid, sharesTag } from "../../lib/session/id.js";

function sidOf(text: string) {
  if (!isSid(text)) throw new TypeError("not a sid");
  return text;
}

test("a fresh id has 192 random bits besides its tag, and none comes twice", () => {
  const made = Array.from({ length: 10_000 }, () => makeSid());
  const secrets = made.map((sid) => Buffer.from(sid.slice(5), "base64url"));
  expect(new Set(secrets.map((secret) => secret.length))).toEqual(new Set([24]));
  expect(new Set(secrets.map((secret) => secret.toString("hex"))).size).toBe(made.length);
  for (let bit = 0; bit < 192; bit++) {
    const ones = secrets.filter((secret) => ((secret[bit >> 3] ?? 0) >> (bit & 7)) & 1).length;
    // 5,000 expected, deviation 50: eight of them.
    expect(Math.abs(ones - 5_000)).toBeLessThan(400);
  }
});

test("a successor keeps the tag of an own id and nothing of its secret; one of a foreign id has a fresh tag", () => {
  const sid = makeSid();
  const next = makeSid(sid);
  expect(next.slice(0, 5)).toBe(sid.slice(0, 5));
  expect(next.slice(5)).not.toBe(sid.slice(5));
  expect(sharesTag(sid, next)).toBe(true);
  const foreign = sidOf("abcd.not-of-our-make");
  expect(sharesTag(foreign, makeSid(foreign))).toBe(false);
  expect(sharesTag(foreign, foreign)).toBe(false);
});

test("own ids of one tag meet in one slot; the tag of a foreign id comes from the hash, not from the id", () => {
  const sid = makeSid();
  expect(keyOf(sid, "ns").split("}")[0]).toBe(keyOf(makeSid(sid), "ns").split("}")[0]);
  expect(keyOf(sidOf("secret-of-somebody"), "ns")).not.toMatch(/secr/);
});

test("a key shows nothing of the secret", () => {
  const sid = makeSid();
  const key = keyOf(sid, "ns");
  expect(isKey(key)).toBe(true);
  for (let from = 5; from + 6 <= sid.length; from++) expect(key).not.toContain(sid.slice(from, from + 6));
});

test("another namespace, or another id, is another key: even where their texts run into one another", () => {
  expect(keyOf(sidOf("b\nc"), "a")).not.toBe(keyOf(sidOf("c"), "a\nb"));
  const some = fc.string({ unit: fc.constantFrom("a", "\n", ":", "1", "é"), minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(some, some, some, some, (ns, a, other, b) => {
      fc.pre(ns !== other || a !== b);
      expect(keyOf(sidOf(a), ns)).not.toBe(keyOf(sidOf(b), other));
    }),
    { numRuns: 2_000 },
  );
});

test.each([
  ["empty", ""],
  ["a megabyte", "x".repeat(1_000_000)],
  ["257 bytes", "x".repeat(257)],
  ["257 bytes in 129 characters", `${"é".repeat(128)}x`],
  ["a lone surrogate", "a\ud800"],
  ["undefined", undefined],
  ["an array of one id", [makeSid()]],
  ["an object with a text", { toString: () => makeSid() }],
])("isn't well-formed: %s", (_, value) => {
  expect(isSid(value)).toBe(false);
});

test.each(["*", "..", "{}", "a\r\nb", "\0", "__proto__", "{a}{b}", "x".repeat(256), "é".repeat(128), "😀", " "])(
  "is well-formed, whatever it means to others, and has a key of the one shape: %j",
  (text) => {
    expect(isSid(text)).toBe(true);
    expect(isKey(keyOf(sidOf(text), "ns"))).toBe(true);
  },
);
