/** Who is told of as a visitor is kept by nobody: a request that is over goes with the next collection of the young. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { hidden } from "../../lib/hidden.js";
import { tellVisitor, visitorOf } from "../../lib/visitor.js";

setFlagsFromString("--expose_gc");
const collect: unknown = runInNewContext("gc");
function collectYoung(): void {
  if (typeof collect !== "function") throw new Error("no gc");
  for (let i = 0; i < 3; i++) collect({ type: "minor" });
}

function tellOf(count: number): void {
  for (let i = 0; i < count; i++) {
    const request = { session: `s${i}`, bulk: new Array(256).fill(i) };
    tellVisitor(request, () => request.session);
  }
}

test("a request is told of, and told of anew", () => {
  const request = {};
  tellVisitor(request, () => "first");
  expect(visitorOf(request)).toBe("first");
  tellVisitor(request, () => "second");
  expect(visitorOf(request)).toBe("second");
  expect(Reflect.ownKeys(request)).toEqual([]);
});

test("what is no object carries nothing, and nobody is surprised", () => {
  const values = hidden<string>();
  const frozen = Object.freeze({});
  values.set(frozen, "a");
  const bare: object = Object.create(null);
  values.set(bare, "b");
  expect([values.get(frozen), values.get(bare), values.get({})]).toEqual(["a", "b", undefined]);
  for (const one of [null, undefined, 1, "a", Symbol("a"), () => {}]) expect(values.get(one)).toBeUndefined();
});

test("what requests hold needn't grow old before it is let go (a WeakMap's values do, and with them their keys)", () => {
  tellOf(1_000);
  if (typeof collect === "function") collect();
  const before = process.memoryUsage().heapUsed;
  tellOf(5_000);
  collectYoung();
  // 2 KB each.
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(2_000_000);
});
