/**
 * Nothing that the library says holds a session id, a key, a user name, or an attribute's value: no event, error, warning, metric, row of
 * the registry or print of an object, whatever goes wrong. With a keyring nothing at rest does either, nor an attribute's name.
 */
import { once } from "node:events";
import { inspect } from "node:util";
import { session } from "anynode/express";
import express from "express";
import { type AnynodeOptions, anynode, type EventName, type Sessions } from "../../lib/index.js";
import type { Sid } from "../../lib/names.js";
import { textsOf } from "../../lib/session/attributes.js";
import { makeSid } from "../../lib/session/id.js";
import { loadedOf, saveOf } from "../support/a-node.js";
import { engineDouble } from "../support/engine-double.js";
import { freshKey } from "../support/keys.js";
import { MEDIA, type Medium } from "../support/media.js";
import { collected } from "../support/people.js";
import { rawGet } from "../support/raw-get.js";

const USER = "canary-user";
const VALUE = "canary-value";
const ATTRIBUTE = "canaryName";
const ADDRESS = "203.0.113.77";
const AGENT = "canary-agent/1.0";
const EVENTS: readonly EventName[] = [
  ...(["node-joined", "node-left", "node-lost", "fenced", "engine-down", "engine-up", "conflict", "write-dropped"] as const),
  ...(["late-change", "reads", "unreadable", "client-changed", "unsealed"] as const),
];

/** Everything that was said. */
class Ears {
  readonly said: string[] = [];
  readonly #undo: (() => void)[] = [];

  constructor() {
    for (const stream of [process.stdout, process.stderr]) {
      const { write } = stream;
      stream.write = (chunk: unknown) => this.said.push(String(chunk)) > 0;
      this.#undo.push(() => {
        stream.write = write;
      });
    }
    const warned = (warning: unknown) => void this.hear(warning);
    process.on("warning", warned);
    this.#undo.push(() => process.off("warning", warned));
  }
  listen(sessions: Sessions): void {
    for (const name of EVENTS) sessions.on(name, (event) => this.hear(event));
  }
  hear(what: unknown): void {
    this.said.push(inspect(what, { depth: 12, showHidden: true, maxStringLength: null, maxArrayLength: null }));
    this.said.push(String(what), JSON.stringify(what) ?? "", what instanceof Error ? `${what.stack} ${inspect(what.cause)}` : "");
  }
  async failing(work: () => unknown): Promise<void> {
    try {
      this.hear(await work());
    } catch (error) {
      this.hear(error);
    }
  }
  stop(): string {
    for (const undo of this.#undo) undo();
    return this.said.join("\n");
  }
}

describe.each(MEDIA)("on $name", (kind) => {
  let medium: Medium;
  beforeAll(() => kind.start());
  afterAll(() => kind.stop());
  beforeEach(async () => {
    medium = await kind.medium();
  });
  afterEach(() => medium.remove());

  /** A day in the life of two nodes, with all that can go wrong. Gives the ids that there were. */
  async function live(ears: Ears, options: Omit<AnynodeOptions, "engine">): Promise<Sid[]> {
    const double = engineDouble(medium.engine());
    const shared = { record: { address: true, agent: true }, conflict: "reject", maxPerUser: 2, ...options } as const;
    const [node, other] = [anynode({ engine: double.engine, ...shared }), anynode({ engine: medium.engine(), ...shared })];
    const all = [node, other];
    for (const sessions of all) ears.listen(sessions);
    await Promise.all(all.map((sessions) => sessions.ready()));
    const client = { address: ADDRESS, agent: AGENT };
    const attributes = textsOf({ [ATTRIBUTE]: VALUE });

    const anonymous = makeSid();
    await node.create(anonymous, attributes);
    const [first, second, moved, late] = [makeSid(anonymous), makeSid(), makeSid(anonymous), makeSid()];
    const from = await loadedOf(node, anonymous);
    await node.login(anonymous, from, first, { user: USER, attributes, client });
    await other.login(undefined, undefined, second, { user: USER, attributes, client });
    ears.hear(other.clientChanges(await loadedOf(other, second), { address: "198.51.100.1", agent: "other" }));
    await ears.failing(() => other.login(undefined, undefined, late, { user: USER, attributes }));
    await ears.failing(() => node.login(undefined, undefined, late, { user: `${USER}${"x".repeat(300)}`, attributes }));
    const [one, two] = [await loadedOf(node, first), await loadedOf(other, first)];
    await saveOf(node, one, { [ATTRIBUTE]: `${VALUE}-1` });
    await ears.failing(() => saveOf(other, two, { [ATTRIBUTE]: `${VALUE}-2` }));
    await node.rotate(first, await loadedOf(node, first), moved, 10_000);
    await ears.failing(() => node.create(first, textsOf({ [ATTRIBUTE]: 1n })));
    await ears.failing(() => other.end(`${VALUE}${"x".repeat(300)}`));
    await ears.failing(() => node.update(moved, () => Promise.resolve(VALUE)));
    await ears.failing(() => node.create(makeSid(), textsOf({ [ATTRIBUTE]: VALUE.repeat(200_000) })));
    double.use({
      read: () => Promise.reject(new Error("the engine's own words")),
      fill: () => Promise.reject(new Error("down")),
    });
    await ears.failing(() => node.load(second));
    double.use({});
    await other.endAll(USER, { except: second });
    await saveOf(node, one, { [ATTRIBUTE]: `${VALUE}-3` });
    for (const sessions of all) {
      ears.hear(sessions);
      ears.hear(sessions.reads);
      ears.hear(sessions.keyring);
      ears.hear(await sessions.registry.nodes());
    }

    const app = express();
    app.use(session(node, { secret: "a secret of the tests" }));
    app.get("/", (req, res) => {
      Reflect.set(req.session, ATTRIBUTE, VALUE);
      ears.said.push(inspect(req.session, { showHidden: true }).replaceAll(VALUE, ""), inspect(req.session.cookie));
      res.end();
      Reflect.set(req.session, ATTRIBUTE, `${VALUE}-late`);
    });
    const server = app.listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" ? address?.port : 0;
    const { headers } = await rawGet(`http://127.0.0.1:${port}/`);
    const cookie = decodeURIComponent(String(headers["set-cookie"]).split(/[=;]/)[1] ?? "");
    const shown = [...[anonymous, first, second, moved, late], ...[cookie.slice(2, cookie.lastIndexOf("."))]];
    await new Promise(setImmediate);
    server.close();
    server.closeAllConnections();
    await Promise.all(all.map((sessions) => sessions.close()));
    ears.hear(all);
    await ears.failing(() => node.load(second));
    return shown.filter((sid): sid is Sid => sid !== "");
  }

  test("nothing that is said holds an id, a key, a user name, an address or a value", async () => {
    const ears = new Ears();
    let ids: Sid[] = [];
    const keys: string[] = [];
    let stored = "";
    try {
      ids = await live(ears, {});
      for (const { key, body } of await collected(medium.engine())) {
        keys.push(key);
        stored += body.toString("latin1");
      }
    } finally {
      ears.stop();
    }
    const said = ears.stop();
    expect(said).toContain("TOO_MANY_SESSIONS");
    expect(said).toContain("CONFLICT");
    expect(ids).toHaveLength(6);
    expect(keys.length).toBeGreaterThan(2);
    // They were there to be said.
    for (const secret of [USER, VALUE, ATTRIBUTE, ADDRESS, AGENT]) expect(stored).toContain(secret);
    // The secret part of an id, and the hash of a key, wherever they stand.
    const secrets = [...ids.map((sid) => sid.slice(5)), ...keys.map((key) => key.slice(key.indexOf("}") + 1))];
    expect([...secrets, USER, VALUE, ADDRESS, AGENT].filter((secret) => said.includes(secret))).toEqual([]);
  });

  test("with a keyring nothing at rest holds an id, a user name, an address, an attribute's name or value", async () => {
    const ears = new Ears();
    let ids: Sid[] = [];
    try {
      ids = await live(ears, { keyring: [freshKey("k1")] });
    } finally {
      ears.stop();
    }
    const stored = (await collected(medium.engine())).map(({ key, body }) => `${key} ${body.toString("latin1")}`).join("\n");
    expect(stored.split("\n").length).toBeGreaterThan(2);
    const dump = `${stored}${(await medium.dump?.()) ?? ""}`;
    const secrets = [...ids.map((sid) => sid.slice(5)), USER, VALUE, ATTRIBUTE, ADDRESS, AGENT, "canary"];
    expect(secrets.filter((secret) => dump.includes(secret))).toEqual([]);
  });
});
