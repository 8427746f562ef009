/** G6 through Sessions: what a node does with records that it can't open, and what it says when it has no keys. */
import { memoryEngine } from "anynode/memory";
import type { Engine } from "../../lib/engines/engine.js";
import { AnynodeError } from "../../lib/errors.js";
import type { EventMap } from "../../lib/events.js";
import type { AnynodeOptions } from "../../lib/options.js";
import { textsOf } from "../../lib/session/attributes.js";
import { makeSid } from "../../lib/session/id.js";
import type { Sessions } from "../../lib/sessions.js";
import { aNode, loadedOf, saveOf, stored, valuesOf } from "../support/a-node.js";
import { engineDouble } from "../support/engine-double.js";
import { freshKey } from "../support/keys.js";
import { manualClock } from "../support/manual-clock.js";

const [k1, k2] = [freshKey("k1"), freshKey("k2")];
const unreadable = expect.objectContaining({ code: "RECORD_UNREADABLE", status: 503 });

function fleet() {
  const clock = manualClock();
  const engine = memoryEngine({ clock });
  const node = async (options: AnynodeOptions = {}) => {
    const sessions = aNode(engine, { clock, ...options });
    const told: EventMap["unreadable"][] = [];
    sessions.on("unreadable", (event) => told.push(event));
    await sessions.ready();
    return { sessions, told };
  };
  return { clock, engine, node };
}

async function bodies(engine: Engine): Promise<Buffer[]> {
  const all: Buffer[] = [];
  for await (const { body } of engine.list()) all.push(Buffer.from(body));
  return all;
}

test("with keys everything is sealed at rest, header included, and comes back", async () => {
  const { engine, node } = fleet();
  const { sessions } = await node({ keyring: [k1] });
  const sid = await stored(sessions, { theName: "theValue" });
  await saveOf(sessions, await loadedOf(sessions, sid), { theOther: "theValue" });
  const next = makeSid(sid);
  await sessions.regenerate(sid, await loadedOf(sessions, sid), next, textsOf({ theName: "theValue" }), {
    cookie: '"theCookie"',
  });
  const [body, ...more] = await bodies(engine);
  expect(more).toEqual([]);
  expect(body?.[0]).toBe(2);
  expect(body?.toString("latin1")).not.toMatch(/the(Name|Other|Value|Cookie)/);
  const other = await node({ keyring: [k1] });
  expect(await valuesOf(other.sessions, next)).toEqual({ theName: "theValue" });
});

describe("a record whose key a node lacks", () => {
  async function scene(options: AnynodeOptions) {
    const { engine, node } = fleet();
    const { sessions: having } = await node({ keyring: [k1] });
    const sid = await stored(having, { a: 1 });
    const before = await bodies(engine);
    return { engine, before, having, sid, lacking: await node(options) };
  }
  const lacking: [string, AnynodeOptions][] = [
    ["another key", { keyring: [k2] }],
    ["no keyring at all", {}],
  ];
  test.each(lacking)("%s: 503 on that node, told once, never taken for no session, never overwritten", async (_, options) => {
    const { engine, before, having, sid, lacking } = await scene(options);
    for (let attempt = 0; attempt < 2; attempt++) {
      await expect(lacking.sessions.load(sid)).rejects.toEqual(unreadable);
      await expect(lacking.sessions.update(sid, () => {})).rejects.toEqual(unreadable);
      await expect(lacking.sessions.replace(sid, textsOf({ b: 1 }))).rejects.toEqual(unreadable);
    }
    await expect(saveOf(lacking.sessions, await changedBy(having, sid), { c: 1 })).rejects.toEqual(unreadable);
    await new Promise(setImmediate);
    expect(lacking.told).toEqual([{ why: "key-missing" }]);
    expect(await bodies(engine)).not.toEqual(before); // by the one that has the key
    expect(await valuesOf(having, sid)).toEqual({ a: 1, n: 1 });
  });

  /** What a node may hold that loaded the session before others changed it. */
  async function changedBy(having: Sessions, sid: string) {
    const old = await loadedOf(having, sid);
    await saveOf(having, old, { n: 1 });
    return old;
  }

  test("the error names the key to give, and nothing else", async () => {
    const { sid, lacking } = await scene({ keyring: [k2] });
    const error: unknown = await Promise.resolve(lacking.sessions.load(sid)).catch((error) => error);
    expect(error).toBeInstanceOf(AnynodeError);
    expect(String(error)).toContain('"k1"');
    expect(String(error)).not.toContain(sid);
  });

  test("given the key, it reads at once; listing left it out before; ending it works without", async () => {
    const { having, sid, lacking } = await scene({ keyring: [k2] });
    const listed = async () => {
      let count = 0;
      for await (const _ of lacking.sessions.list()) count++;
      return count;
    };
    expect(await listed()).toBe(0);
    lacking.sessions.keyring.replace([k2, k1]);
    expect(await listed()).toBe(1);
    expect(await valuesOf(lacking.sessions, sid)).toEqual({ a: 1 });
    lacking.sessions.keyring.replace([k2]);
    expect(await lacking.sessions.end(sid)).toMatchObject({ ended: true });
    expect(await having.load(sid)).toBeUndefined();
  });
});

describe("refused records count as no session, are told once, and are left as they are", () => {
  test("sealed with a revoked key, from memory too", async () => {
    const { engine, node } = fleet();
    const { sessions, told } = await node({ keyring: [k1] });
    const sid = await stored(sessions, { a: 1 });
    expect(await sessions.load(sid)).toBeDefined();
    const before = await bodies(engine);
    sessions.keyring.replace([k2, { id: "k1", state: "revoked" }]);
    for (let look = 0; look < 2; look++) expect(await sessions.load(sid)).toBeUndefined();
    await new Promise(setImmediate);
    expect(told).toEqual([{ why: "key-revoked" }]);
    expect(await bodies(engine)).toEqual(before);
  });

  test("not sealed, where the ring doesn't say plain: whoever can write to the engine could have made it", async () => {
    const { engine, node } = fleet();
    const { sessions: without } = await node();
    const sid = await stored(without, { admin: true });
    const before = await bodies(engine);
    const strict = await node({ keyring: [k1] });
    expect(await strict.sessions.load(sid)).toBeUndefined();
    await new Promise(setImmediate);
    expect(strict.told).toEqual([{ why: "plain" }]);
    await expect(strict.sessions.replace(sid, textsOf({}))).rejects.toEqual(unreadable);
    expect(await bodies(engine)).toEqual(before);
    const moving = await node({ keyring: [k1, "plain"] });
    expect(await valuesOf(moving.sessions, sid)).toEqual({ admin: true });
  });
});

describe("a node without keys", () => {
  const onDisk = () => engineDouble(memoryEngine({ clock: manualClock() }), { kind: "disk" }).engine;
  async function said(engine: Engine, options: AnynodeOptions, listens: boolean) {
    const warn = jest.spyOn(process, "emitWarning").mockImplementation(() => {});
    const told: unknown[] = [];
    const node = aNode(engine, { clock: manualClock(), ...options });
    if (listens) node.on("unsealed", (event) => told.push(event));
    await Promise.all([node.ready(), node.ready(), node.load(makeSid())]);
    await new Promise(setImmediate);
    const warnings = warn.mock.calls.map(([text]) => String(text));
    warn.mockRestore();
    return { told, warnings };
  }
  test("says once, when it opens, what that means, as a warning of the process", async () => {
    const { warnings } = await said(onDisk(), {}, false);
    expect(warnings).toEqual([expect.stringMatching(/unsealed.*disk.*keyring/s)]);
  });
  test("says so by an event instead, if somebody listens", async () => {
    expect(await said(onDisk(), {}, true)).toEqual({ told: [{ engine: "disk" }], warnings: [] });
  });
  test("says nothing if it is meant, if there are keys, or where nothing stays", async () => {
    const silent = { told: [], warnings: [] };
    expect(await said(onDisk(), { keyring: ["plain"] }, false)).toEqual(silent);
    expect(await said(onDisk(), { keyring: [k1] }, false)).toEqual(silent);
    expect(await said(memoryEngine({ clock: manualClock() }), {}, false)).toEqual(silent);
  });
});

describe("the registry", () => {
  test("says which keys a node has, never the keys", async () => {
    const { clock, engine, node } = fleet();
    const { sessions } = await node({ keyring: [k1, "plain"] });
    expect(await sessions.registry.nodes()).toMatchObject([{ keys: ["k1", "plain"] }]);
    sessions.keyring.replace([k2, k1]);
    await clock.advance(500);
    expect(await sessions.registry.nodes()).toMatchObject([{ keys: ["k2", "k1"] }]);
    const about = (await engine.nodes()).rows.map((row) => row.about).join();
    for (const { key } of [k1, k2]) {
      if (typeof key === "string" || key === undefined) throw new Error("a Buffer was expected");
      for (const format of ["base64", "hex", "base64url"] as const)
        expect(about).not.toContain(Buffer.from(key).toString(format).slice(0, 8));
    }
  });

  test("a node that joins asks who has which keys before it seals anything", async () => {
    const { clock, node } = fleet();
    const old = await node({ keyring: [k1] });
    const young = await node({ keyring: [k2, k1] });
    expect(young.sessions.keyring.primary).toBe("k1");
    expect(await valuesOf(old.sessions, await stored(young.sessions, { a: 1 }))).toEqual({ a: 1 });
    old.sessions.keyring.replace([k2, k1]);
    await clock.advance(1_000);
    for (const { sessions } of [old, young]) expect(sessions.keyring.primary).toBe("k2");
    expect((await node({ keyring: [k2, k1] })).sessions.keyring.primary).toBe("k2");
  });

  test("RACE: a new key, right after another node joined without it, waits for that node", async () => {
    const { clock, node } = fleet();
    const first = await node({ keyring: [k1] });
    await clock.advance(600);
    const second = await node({ keyring: [k1] });
    first.sessions.keyring.replace([k2, k1]);
    expect(await valuesOf(second.sessions, await stored(first.sessions, { a: 1 }))).toEqual({ a: 1 });
    await clock.advance(1_000);
    expect(await valuesOf(second.sessions, await stored(first.sessions, { a: 1 }))).toEqual({ a: 1 });
  });

  test("keys that were taken away and given again between two beats: the first one seals with the next, though no row changed", async () => {
    const { clock, node } = fleet();
    const { sessions } = await node({ keyring: [k2, k1] });
    await clock.advance(1_000);
    sessions.keyring.replace([k1]);
    sessions.keyring.replace([k2, k1]);
    expect(sessions.keyring.primary).toBe("k1");
    await clock.advance(500);
    expect(sessions.keyring.primary).toBe("k2");
  });

  test("a node that left counts for one lease: it may still be serving its last requests", async () => {
    const { clock, node } = fleet();
    const [old, young] = [await node({ keyring: [k1] }), await node({ keyring: [k2, k1] })];
    await old.sessions.drain();
    await clock.advance(9_000);
    expect(young.sessions.keyring.primary).toBe("k1");
    expect(await valuesOf(old.sessions, await stored(young.sessions, { a: 1 }))).toEqual({ a: 1 });
    await clock.advance(2_500);
    expect(young.sessions.keyring.primary).toBe("k2");
  });

  test("a node that doesn't say, of an older version, reads plain records only", async () => {
    const { clock, engine, node } = fleet();
    const { nodeId } = { nodeId: (await node()).sessions.registry.nodeId };
    const { rows } = await engine.nodes();
    const [row] = rows;
    if (row === undefined) throw new Error(`no row of ${nodeId}`);
    await engine.leave(row.nodeId, row.epoch);
    await clock.advance(11_000);
    const old = await engine.nodes();
    for (const one of old.rows) await engine.beat(one.nodeId, one.epoch, JSON.stringify({ name: "old" }));
    expect((await node({ keyring: [k1, "plain"] })).sessions.keyring.primary).toBe("plain");
  });
});
