/** The three-way merge: G2 in the small, over arbitrary attributes. */
import fc from "fast-check";
import { changesBetween } from "../../lib/session/attributes.js";
import { type ConflictPolicy, merge } from "../../lib/session/merge.js";

const names = ["a", "b", "c", "d", "e", "f"];
const texts = fc
  .dictionary(fc.constantFrom(...names), fc.constantFrom("1", "2", '"x"', "null", "[1]"), { maxKeys: 6 })
  .map((object) => new Map(Object.entries(object)));
/** What a request makes of `base` if it touches only the attributes of `mine`. */
function edited(base: ReadonlyMap<string, string>, to: ReadonlyMap<string, string>, mine: readonly string[]) {
  const result = new Map(base);
  for (const name of mine) {
    const text = to.get(name);
    if (text === undefined) result.delete(name);
    else result.set(name, text);
  }
  return result;
}
const sorted = (map: ReadonlyMap<string, string>) => Object.fromEntries([...map].sort());

test("G2: changes to different attributes commute and all survive, deletions included, without a conflict", () => {
  fc.assert(
    fc.property(texts, texts, texts, fc.subarray(names), (base, left, right, lefts) => {
      const rights = names.filter((name) => !lefts.includes(name));
      const [a, b] = [edited(base, left, lefts), edited(base, right, rights)];
      const ab = merge(a, changesBetween(base, b), "reject");
      const ba = merge(b, changesBetween(base, a), "reject");
      expect(sorted(ab.attributes)).toEqual(sorted(edited(edited(base, left, lefts), right, rights)));
      expect(sorted(ba.attributes)).toEqual(sorted(ab.attributes));
      expect([...ab.conflicts, ...ba.conflicts]).toEqual([]);
    }),
    { numRuns: 2_000 },
  );
});

test("merging what is there already changes nothing and is no conflict: a repeated save is safe", () => {
  fc.assert(
    fc.property(texts, texts, (base, mine) => {
      const changes = changesBetween(base, mine);
      const once = merge(base, changes, "reject").attributes;
      expect(sorted(once)).toEqual(sorted(mine));
      const twice = merge(once, changes, "reject");
      expect(sorted(twice.attributes)).toEqual(sorted(mine));
      expect(twice.conflicts).toEqual([]);
    }),
  );
});

test("last: the later one stays, and exactly the attributes that both changed to different ends are named", () => {
  fc.assert(
    fc.property(texts, texts, texts, (base, theirs, mine) => {
      const { attributes, conflicts } = merge(theirs, changesBetween(base, mine), "last");
      for (const name of names) {
        const [was, there, wanted] = [base.get(name), theirs.get(name), mine.get(name)];
        expect(attributes.get(name)).toBe(wanted === was ? there : wanted);
        expect(conflicts.includes(name)).toBe(wanted !== was && there !== was && there !== wanted);
      }
    }),
    { numRuns: 2_000 },
  );
});

test("neither side's input is changed", () => {
  const theirs = new Map([["a", "1"]]);
  merge(theirs, new Map([["a", { base: "1", mine: undefined }]]), "last");
  expect([...theirs]).toEqual([["a", "1"]]);
});

describe("an attribute that two requests changed", () => {
  const base = new Map([["n", "1"]]);
  const conflicting = (policy: ConflictPolicy) =>
    merge(new Map([["n", "5"]]), changesBetween(base, new Map([["n", "3"]])), policy);

  test("reject: CONFLICT, which names no value", () => {
    expect(() => conflicting("reject")).toThrow(expect.objectContaining({ code: "CONFLICT", status: 409 }));
  });
  test("a merge function sees all three and decides", () => {
    const seen: unknown[] = [];
    const merged = conflicting((clash) => {
      seen.push(clash);
      return Number(clash.theirs) + Number(clash.mine) - Number(clash.base);
    });
    expect(seen).toEqual([{ name: "n", base: 1, mine: 3, theirs: 5 }]);
    expect(merged).toEqual({ attributes: new Map([["n", "7"]]), conflicts: ["n"] });
  });
  test("a merge function that gives undefined removes the attribute", () => {
    expect(conflicting(() => undefined).attributes.size).toBe(0);
  });
  test("a merge function that throws is heard", () => {
    const fault = new Error("theirs");
    expect(() =>
      conflicting(() => {
        throw fault;
      }),
    ).toThrow(fault);
  });
  test("a merge function that gives what JSON can't hold is told so", () => {
    expect(() => conflicting(() => 1n)).toThrow(expect.objectContaining({ code: "ATTRIBUTE_INVALID" }));
  });
  test("an asynchronous merge function is refused, and its own failure takes nobody down", async () => {
    const unhandled = jest.fn();
    process.on("unhandledRejection", unhandled);
    expect(() => conflicting(() => Promise.reject(new Error("late")))).toThrow(
      expect.objectContaining({ code: "OPTION_INVALID" }),
    );
    await new Promise(setImmediate);
    process.off("unhandledRejection", unhandled);
    expect(unhandled).not.toHaveBeenCalled();
  });
});

test("a merge function is asked even if both want the same: two counts from 3 to 4 make 5", () => {
  const [base, four] = [new Map([["n", "3"]]), new Map([["n", "4"]])];
  const { attributes, conflicts } = merge(
    four,
    changesBetween(base, four),
    ({ base, mine, theirs }) => Number(theirs) + Number(mine) - Number(base),
  );
  expect(attributes.get("n")).toBe("5");
  expect(conflicts).toEqual([]);
});
