/** People's sessions on one node and on two: signing in, listing, ending, and bounds. */
import { memoryEngine } from "anynode/memory";
import type { SignIn } from "../../lib/moves.js";
import type { Sid } from "../../lib/names.js";
import type { AnynodeOptions } from "../../lib/options.js";
import { textsOf } from "../../lib/session/attributes.js";
import { isSid, makeSid } from "../../lib/session/id.js";
import type { Sessions } from "../../lib/sessions.js";
import { aNode, loadedOf, saveOf, stored, valuesOf } from "../support/a-node.js";
import { engineDouble, Gate } from "../support/engine-double.js";
import { freshKey } from "../support/keys.js";
import { manualClock } from "../support/manual-clock.js";
import { collected } from "../support/people.js";

const DAY_MS = 86_400_000;

function stage(options: Omit<AnynodeOptions, "engine"> = {}) {
  const clock = manualClock();
  const memory = memoryEngine({ clock });
  const double = engineDouble(memory);
  return {
    clock,
    memory,
    double,
    node: aNode(double.engine, { clock, ...options }),
    other: aNode(memory, { clock, ...options }),
  };
}

/** A new visitor signs in. */
async function signIn(node: Sessions, user: string, more: Partial<SignIn> = {}): Promise<Sid> {
  const sid = makeSid();
  const { outcome } = await node.login(undefined, undefined, sid, { user, attributes: new Map(), ...more });
  if (outcome !== "committed") throw new Error(outcome);
  return sid;
}
async function alive(node: Sessions, sids: readonly Sid[]): Promise<boolean[]> {
  return Promise.all(sids.map(async (sid) => (await node.load(sid)) !== undefined));
}

describe("a sign-in", () => {
  test("gives a new id, ends the old one, and carries over what it is told to, and no more", async () => {
    const { node, other, clock } = stage();
    const from = await stored(node, { cart: 1, csrf: "x" });
    const to = makeSid(from);
    const signedIn = await node.login(from, await loadedOf(node, from), to, { user: "ann", attributes: textsOf({ cart: 1 }) });
    expect(signedIn.outcome).toBe("committed");
    expect(await other.load(from)).toBeUndefined();
    expect(await valuesOf(other, to)).toEqual({ cart: 1 });
    const { header } = (await loadedOf(other, to)).record;
    expect(header).toMatchObject({ user: "ann", authenticatedAt: clock.now(), createdAt: clock.now() });
  });
  test("by id of foreign make ends the old one, then stores the new one", async () => {
    const { node } = stage();
    const from = "mine";
    if (!isSid(from)) throw new Error(from);
    await node.replace(from, textsOf({ cart: 1 }));
    const to = makeSid();
    const loaded = await loadedOf(node, from);
    const outcome = await node.login(from, loaded, to, { user: "ann", attributes: loaded.record.attributes });
    expect(outcome).toMatchObject({ outcome: "committed" });
    expect(await node.load(from)).toBeUndefined();
    expect(await node.of("ann")).toHaveLength(1);
  });
  test("in a session that somebody else ended is gone, and leaves nothing behind", async () => {
    const { node, other } = stage();
    const from = await stored(node);
    const loaded = await loadedOf(node, from);
    await other.end(from);
    const to = makeSid(from);
    expect(await node.login(from, loaded, to, { user: "ann", attributes: new Map() })).toEqual({ outcome: "gone", ended: true });
    expect(await node.load(to)).toBeUndefined();
    expect(await node.of("ann")).toEqual([]);
  });
  test("gives the session an absolute deadline: 30 days, or what the options or the sign-in say", async () => {
    const { node, clock } = stage();
    const [plain, longer] = [await signIn(node, "ann"), await signIn(node, "ann", { absoluteMs: 90 * DAY_MS })];
    expect((await loadedOf(node, plain)).record.header.absoluteAt).toBe(clock.now() + 30 * DAY_MS);
    expect((await loadedOf(node, longer)).record.header.absoluteAt).toBe(clock.now() + 90 * DAY_MS);
    const strict = stage({ absoluteMs: 3_600_000 });
    const sid = await signIn(strict.node, "ann");
    expect((await loadedOf(strict.node, sid)).record.header.absoluteAt).toBe(strict.clock.now() + 3_600_000);
  });
  test.each([undefined, null, "", 7, "\ud800", "é".repeat(200)])("takes no %p for a user", async (user) => {
    const { node } = stage();
    const given: { user: string } = JSON.parse("{}");
    Reflect.set(given, "user", user);
    const signingIn = node.login(undefined, undefined, makeSid(), { ...given, attributes: new Map() });
    await expect(signingIn).rejects.toMatchObject({ code: "OPTION_INVALID" });
  });
  test("that fails is taken out of the index again", async () => {
    const { node, double } = stage();
    const from = await stored(node);
    const loaded = await loadedOf(node, from);
    const down = new Error("down");
    double.use({ regenerate: () => Promise.reject(down) });
    await expect(node.login(from, loaded, makeSid(from), { user: "ann", attributes: new Map() })).rejects.toBe(down);
    double.use({});
    expect(await collected(double.engine)).toHaveLength(1);
    expect(await valuesOf(node, from)).toEqual({});
  });
  test("attributes named user and authenticatedAt change nothing of who is signed in", async () => {
    const { node } = stage();
    const sid = await signIn(node, "ann");
    await saveOf(node, await loadedOf(node, sid), { user: "bob", authenticatedAt: 1 });
    expect((await loadedOf(node, sid)).record.header.user).toBe("ann");
    await node.replace(sid, textsOf({ user: "bob" }));
    expect((await loadedOf(node, sid)).record.header.user).toBe("ann");
  });
});

describe("a person's sessions", () => {
  test("are listed, the latest first, with what was recorded; the one that asks is marked", async () => {
    const { node, other, clock } = stage({ record: { address: "truncated", agent: true } });
    const client = { address: "203.0.113.9", agent: "Mozilla/5.0" };
    const first = await signIn(node, "ann", { client });
    await clock.advance(1_000);
    const second = await signIn(other, "ann");
    await signIn(node, "bob");
    const [latest, earliest, ...more] = await other.of("ann", { current: first });
    expect(more).toEqual([]);
    const start = clock.now() - 1_000;
    expect(earliest).toEqual({
      id: expect.any(String),
      createdAt: start,
      lastSeenAt: start,
      expiresAt: start + DAY_MS,
      absoluteExpiresAt: start + 30 * DAY_MS,
      address: "203.0.113.0",
      agent: "Mozilla/5.0",
      current: true,
    });
    expect(latest).toMatchObject({ createdAt: clock.now(), current: false, address: "", agent: "" });
    await node.end(second);
    expect(await node.of("ann")).toHaveLength(1);
    expect(await node.of("nobody")).toEqual([]);
  });
  test("record nothing of the client unless they are told to", async () => {
    const { node } = stage();
    await signIn(node, "ann", { client: { address: "203.0.113.9", agent: "Mozilla/5.0" } });
    expect(await node.of("ann")).toMatchObject([{ address: "", agent: "" }]);
  });
  test("are ended by handle, which shows neither id nor key and stays the same when the session moves", async () => {
    const { node, other } = stage();
    const sid = await signIn(node, "ann");
    const [handle] = await node.of("ann");
    const loaded = await loadedOf(node, sid);
    expect(handle?.id).not.toContain(loaded.key.slice(6));
    expect(handle?.id).not.toContain(sid.slice(5));
    const [next, last] = [makeSid(sid), makeSid(sid)];
    await node.regenerate(sid, loaded, next, new Map());
    await other.rotate(next, await loadedOf(other, next), last, 10_000);
    expect(await node.of("ann")).toMatchObject([{ id: handle?.id }]);
    expect(await node.end({ id: handle?.id ?? "" })).toMatchObject({ ended: true });
    expect(await alive(other, [sid, next, last])).toEqual([false, false, false]);
    expect(await node.end({ id: handle?.id ?? "" })).toMatchObject({ ended: false });
    expect(await node.end({ id: "nonsense" })).toMatchObject({ ended: false });
  });
  test("are counted neither by list() nor shown there", async () => {
    const { node } = stage();
    const sid = await signIn(node, "ann");
    await node.rotate(sid, await loadedOf(node, sid), makeSid(sid), 10_000);
    let count = 0;
    for await (const _ of node.list()) count++;
    expect(count).toBe(1);
  });
  test("the index goes with the last session that could be in it", async () => {
    const { node, clock, memory } = stage({ absoluteMs: 2_000, idleMs: 1_500 });
    await signIn(node, "ann");
    await clock.advance(1_000);
    await signIn(node, "ann");
    await clock.advance(1_999);
    expect(await collected(memory)).toHaveLength(1);
    await clock.advance(1);
    expect(await collected(memory)).toEqual([]);
  });
  test("the index shrinks by itself", async () => {
    const { node, clock, memory } = stage();
    for (let i = 0; i < 100; i++) {
      await node.end(await signIn(node, "ann"));
      await clock.advance(1_000);
    }
    const [index] = await collected(memory);
    expect(index?.body.length).toBeLessThan(40 * 120);
  });
});

describe("an index that can't be read", () => {
  const keyring = [freshKey("old")];
  test("because its key was revoked: endAll says so, the next sign-in begins it anew", async () => {
    const { node } = stage({ keyring });
    await signIn(node, "ann");
    node.keyring.replace([freshKey("new"), { id: "old", state: "revoked" }]);
    await node.registry.advertise("");
    await expect(node.endAll("ann")).rejects.toMatchObject({ code: "RECORD_UNREADABLE" });
    const sid = await signIn(node, "ann");
    expect(await node.of("ann")).toHaveLength(1);
    expect(await node.endAll("ann")).toMatchObject({ ended: 1 });
    expect(await alive(node, [sid])).toEqual([false]);
  });
  test("for lack of a key that other nodes have: the sign-in is refused, and the index left as it is", async () => {
    const { node, clock, memory } = stage({ keyring });
    const sid = await signIn(node, "ann");
    const lacking = aNode(memory, { clock, keyring: [freshKey("other")] });
    await expect(signIn(lacking, "ann")).rejects.toMatchObject({ code: "RECORD_UNREADABLE", status: 503 });
    expect(await node.of("ann")).toHaveLength(1);
    expect(await alive(node, [sid])).toEqual([true]);
  });
});

describe("endAll", () => {
  test("ends every session of a person, on every node, and nobody else's", async () => {
    const { node, other } = stage();
    const anns = [await signIn(node, "ann"), await signIn(other, "ann"), await signIn(node, "ann")];
    const bob = await signIn(node, "bob");
    expect(await other.endAll("ann")).toMatchObject({ ended: 3 });
    expect(await alive(node, anns)).toEqual([false, false, false]);
    expect(await alive(other, [bob])).toEqual([true]);
    expect(await node.endAll("ann")).toMatchObject({ ended: 0 });
    expect(await alive(other, [await signIn(node, "ann")])).toEqual([true]);
  });
  test("spares the one that asks, be it named by an id that it had before", async () => {
    const { node, other } = stage();
    const [mine, theirs] = [await signIn(node, "ann"), await signIn(node, "ann")];
    const next = makeSid(mine);
    await node.rotate(mine, await loadedOf(node, mine), next, 10_000);
    expect(await other.endAll("ann", { except: mine })).toMatchObject({ ended: 1 });
    expect(await alive(node, [mine, next, theirs])).toEqual([true, true, false]);
  });
  test("RACE: a sign-in that has entered the index, but isn't stored yet, is refused", async () => {
    const { node, other, double } = stage();
    const gate = new Gate();
    const arrived = new Gate();
    const from = await stored(node);
    const loaded = await loadedOf(node, from);
    double.use({
      async regenerate(...args) {
        arrived.open();
        await gate.passed;
        return double.sound.regenerate(...args);
      },
    });
    const to = makeSid(from);
    const signingIn = node.login(from, loaded, to, { user: "ann", attributes: new Map() });
    await arrived.passed;
    await other.endAll("ann");
    gate.open();
    expect(await signingIn).toEqual({ outcome: "gone", ended: true });
    expect(await alive(other, [to])).toEqual([false]);
    expect(await other.of("ann")).toEqual([]);
    expect(await alive(other, [from])).toEqual([true]);
  });
  test("RACE: a sign-in that is stored only after the ended mark is gone doesn't stand either", async () => {
    const { node, other, double, clock } = stage();
    const gate = new Gate();
    const arrived = new Gate();
    double.use({
      async create(key, body, deadlines, by, fresh) {
        if (key.length < 30) {
          arrived.open();
          await gate.passed;
        }
        return double.sound.create(key, body, deadlines, by, fresh);
      },
    });
    const to = makeSid();
    const signingIn = node.login(undefined, undefined, to, { user: "ann", attributes: new Map() });
    await arrived.passed;
    await other.endAll("ann");
    await clock.advance(6 * 60_000);
    gate.open();
    expect(await signingIn).toEqual({ outcome: "gone", ended: true });
    expect(await alive(other, [to])).toEqual([false]);
  });
  test("RACE: a session that is moving is ended where it is going", async () => {
    const { node, other, double } = stage();
    const sid = await signIn(node, "ann");
    const loaded = await loadedOf(node, sid);
    const gate = new Gate();
    const arrived = new Gate();
    double.use({
      async regenerate(...args) {
        arrived.open();
        await gate.passed;
        return double.sound.regenerate(...args);
      },
    });
    const to = makeSid(sid);
    const moving = node.rotate(sid, loaded, to, 10_000);
    await arrived.passed;
    await other.endAll("ann");
    gate.open();
    expect(await moving).toEqual({ outcome: "gone", ended: true });
    expect(await alive(other, [sid, to])).toEqual([false, false]);
  });
  test("that broke off after marking is completed by whoever comes across it", async () => {
    const { node, other, double } = stage({ maxPerUser: 1, overMax: "end-oldest" });
    const sid = await signIn(other, "ann");
    const down = new Error("down");
    double.use({ end: () => Promise.reject(down) });
    await expect(node.endAll("ann")).rejects.toBe(down);
    expect(await alive(other, [sid])).toEqual([true]);
    double.use({});
    const next = await signIn(node, "ann");
    expect(await alive(other, [sid, next])).toEqual([false, true]);
  });
});

describe("maxPerUser", () => {
  test("refuse: TOO_MANY_SESSIONS, and the session is what it was; after a sign-out there is room at once", async () => {
    const { node, other } = stage({ maxPerUser: 2 });
    const [first] = [await signIn(node, "ann"), await signIn(other, "ann")];
    const from = await stored(node, { a: 1 });
    const loaded = await loadedOf(node, from);
    const signingIn = node.login(from, loaded, makeSid(from), { user: "ann", attributes: new Map() });
    await expect(signingIn).rejects.toMatchObject({ code: "TOO_MANY_SESSIONS", status: 403 });
    expect(await valuesOf(node, from)).toEqual({ a: 1 });
    await signIn(node, "bob");
    await other.end(first);
    await signIn(node, "ann");
  });
  test("end-oldest: the oldest are over before the new one is stored", async () => {
    const { node, other, clock } = stage({ maxPerUser: 2, overMax: "end-oldest" });
    const sids: Sid[] = [];
    for (let i = 0; i < 5; i++) {
      sids.push(await signIn(i % 2 === 0 ? node : other, "ann"));
      await clock.advance(1);
    }
    expect(await alive(node, sids)).toEqual([false, false, false, true, true]);
    expect(await node.of("ann")).toHaveLength(2);
  });
  test("a sign-in in a session of the same person takes its place", async () => {
    const { node } = stage({ maxPerUser: 1 });
    const from = await signIn(node, "ann");
    const to = makeSid(from);
    const again = await node.login(from, await loadedOf(node, from), to, { user: "ann", attributes: new Map() });
    expect(again.outcome).toBe("committed");
    expect(await node.of("ann")).toHaveLength(1);
  });
  test("without it the index has a bound all the same", async () => {
    const { node, clock } = stage({ absoluteMs: 1_000 });
    for (let i = 0; i < 500; i++) await signIn(node, "ann");
    await expect(signIn(node, "ann")).rejects.toMatchObject({ code: "TOO_MANY_SESSIONS" });
    await clock.advance(1_000);
    await signIn(node, "ann");
  });
});
