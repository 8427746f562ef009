/** endEveryone(): one write, and a lease later no node serves a session that began before it. */
import { memoryEngine } from "anynode/memory";
import { textsOf } from "../../lib/session/attributes.js";
import { makeSid } from "../../lib/session/id.js";
import type { Sessions } from "../../lib/sessions.js";
import { aNode, loadedOf, saveOf, stored, valuesOf } from "../support/a-node.js";
import { engineDouble } from "../support/engine-double.js";
import { manualClock } from "../support/manual-clock.js";

async function stage() {
  const clock = manualClock();
  const memory = memoryEngine({ clock });
  const double = engineDouble(memory);
  const [node, other] = [aNode(memory, { clock }), aNode(double.engine, { clock, maxPerUser: 1 })];
  await Promise.all([node.ready(), other.ready()]);
  return { clock, memory, double, node, other };
}
async function signedIn(node: Sessions, user = "ann") {
  const sid = makeSid();
  await node.login(undefined, undefined, sid, { user, attributes: new Map() });
  return sid;
}
async function countOf(node: Sessions): Promise<number> {
  let count = 0;
  for await (const _ of node.list()) count++;
  return count;
}

test("ends every session on every node, and resolves when that is so; those that begin later live", async () => {
  const { clock, node, other } = await stage();
  const olds = [await stored(node, { a: 1 }), await stored(other), await signedIn(other)];
  const stale = await loadedOf(other, olds[0] ?? "");
  let isOver = false;
  const ending = node.endEveryone().then(() => {
    isOver = true;
  });
  await clock.advance(2_250);
  expect(isOver).toBe(false);
  await clock.advance(250);
  await ending;
  for (const each of [node, other]) for (const sid of olds) expect(await each.load(sid)).toBeUndefined();
  expect(await saveOf(other, stale, { a: 2 })).toEqual({ outcome: "gone", ended: true });
  expect(await other.touch(stale)).toEqual({ outcome: "gone", ended: true });
  expect(await other.update(olds[0] ?? "", () => 1)).toEqual({ outcome: "gone" });
  expect(await countOf(other)).toBe(0);
  expect(await node.of("ann")).toEqual([]);
  const fresh = await stored(other, { b: 1 });
  expect(await valuesOf(node, fresh)).toEqual({ b: 1 });
  // Nor is there a person who has too many of them.
  expect(await node.load(await signedIn(other))).toBeDefined();
});

test("is one write, however many sessions there are", async () => {
  const { clock, node, other, double } = await stage();
  for (let i = 0; i < 20; i++) await stored(node);
  double.forget();
  const ending = other.endEveryone();
  await clock.advance(2_500);
  await ending;
  expect(double.count("endedBefore")).toBe(1);
  for (const verb of ["read", "commit", "end", "list"] as const) expect(double.count(verb)).toBe(0);
});

test("a node whose beats don't come through looks before it serves, and rather fails than serves what is over", async () => {
  const { clock, node, other, double } = await stage();
  const sid = await stored(node);
  const down = new Error("down");
  double.use({ beat: () => Promise.reject(down) });
  const ending = node.endEveryone();
  await clock.advance(2_500);
  await ending;
  expect(await other.load(sid)).toBeUndefined();
  const fresh = await stored(node);
  await clock.advance(2_500);
  double.forget();
  expect(await other.load(fresh)).toBeDefined();
  expect(double.count("endedBefore")).toBe(1);
  await clock.advance(2_500);
  double.use({ beat: () => Promise.reject(down), endedBefore: () => Promise.reject(down) });
  await expect(other.load(fresh)).rejects.toBe(down);
});

test("an old session that moves meanwhile doesn't get younger by that; a sign-in in it begins a new one", async () => {
  const { clock, node, other } = await stage();
  const [moving, anonymous] = [await signedIn(node, "bob"), await stored(node)];
  const [byOther, from] = [await loadedOf(other, moving), await loadedOf(other, anonymous)];
  const [next, signed] = [makeSid(moving), makeSid(anonymous)];
  await clock.advance(1);
  const ending = node.endEveryone();
  await other.regenerate(moving, byOther, next, new Map());
  await clock.advance(1);
  await other.login(anonymous, from, signed, { user: "ann", attributes: new Map() });
  await clock.advance(2_500);
  await ending;
  expect(await node.load(next)).toBeUndefined();
  expect(await node.load(signed)).toBeDefined();
});

test("a session of foreign make may begin anew under its id", async () => {
  const { clock, node, other } = await stage();
  await node.replace("mine", textsOf({ a: 1 }));
  const ending = node.endEveryone();
  await clock.advance(2_500);
  await ending;
  await other.replace("mine", textsOf({ b: 1 }));
  expect(await valuesOf(node, "mine")).toEqual({ b: 1 });
});

test("an engine without the verb says so, and costs nothing", async () => {
  const clock = manualClock();
  const memory = memoryEngine({ clock });
  const bare = new Proxy(memory, {
    get: (target, name) => {
      const member: unknown = name === "endedBefore" ? undefined : Reflect.get(target, name);
      return typeof member === "function" ? member.bind(target) : member;
    },
  });
  const node = aNode(bare, { clock });
  const sid = await stored(node);
  await clock.advance(60_000);
  expect(await node.load(sid)).toBeDefined();
  await expect(node.endEveryone()).rejects.toMatchObject({ code: "ENGINE_UNSUPPORTED" });
});
