/** Moving in: a session of the former store is adopted once, atomically, and what happened here since is never undone by it. */
import { anynode } from "anynode";
import { memoryEngine } from "anynode/memory";
import { makeSid } from "../../lib/session/id.js";
import { type FormerStore, Migration } from "../../lib/web/migration.js";
import { manualClock } from "../support/manual-clock.js";

type Stored = Record<string, object>;

/** A store of the callback kind that counts how often it is asked. */
function formerStore(stored: Stored) {
  const asked: string[] = [];
  const store: FormerStore = {
    get(sid, callback) {
      asked.push("get");
      setImmediate(() => callback(null, stored[sid]));
    },
    destroy(sid, callback) {
      asked.push("destroy");
      delete stored[sid];
      setImmediate(() => callback?.());
    },
  };
  return { store, asked };
}

async function stage(stored: Stored = {}, replaced?: Partial<FormerStore>) {
  const clock = manualClock();
  const sessions = anynode({ engine: memoryEngine({ clock }), clock });
  await sessions.ready();
  const { store, asked } = formerStore(stored);
  const migration = new Migration(sessions, { ...store, ...replaced });
  const values = async (sid: string) => {
    const loaded = await sessions.load(sid);
    return loaded && Object.fromEntries([...loaded.record.attributes].map(([name, text]) => [name, JSON.parse(text)]));
  };
  return { clock, sessions, migration, asked, values };
}
const data = (attributes: object) => ({ cookie: { originalMaxAge: 60_000, path: "/", httpOnly: true }, ...attributes });

test("adopted: attributes and cookie settings; the cookie is header, not attribute", async () => {
  const sid = makeSid();
  const { sessions, migration, values } = await stage({ [sid]: data({ cart: ["tea"] }) });
  const loaded = await migration.adopt(sid);
  expect(loaded?.record.header).toMatchObject({ idleMs: 60_000, cookie: expect.stringContaining('"originalMaxAge":60000') });
  expect(await values(sid)).toEqual({ cart: ["tea"] });
  await sessions.close();
});

test("a session that neither has is none", async () => {
  const { sessions, migration } = await stage();
  expect(await migration.adopt(makeSid())).toBeUndefined();
  await sessions.close();
});

test("RACE: two requests adopt at once, one of them has already changed it: the change stays", async () => {
  const sid = makeSid();
  const { sessions, migration, values } = await stage({ [sid]: data({ n: 1 }) });
  await Promise.all([
    migration.adopt(sid).then(() => sessions.update(sid, (attributes) => Object.assign(attributes, { n: 2 }))),
    migration.adopt(sid).then(() => migration.adopt(sid)),
  ]);
  expect(await values(sid)).toEqual({ n: 2 });
  await sessions.close();
});

test("a session that was ended here isn't adopted again: by the mark, and for good once the former store has forgotten it", async () => {
  const sid = makeSid();
  const { clock, sessions, migration, asked } = await stage({ [sid]: data({ n: 1 }) });
  await migration.adopt(sid);
  await sessions.end(sid);
  expect(await migration.adopt(sid)).toBeUndefined();
  await migration.forget(sid);
  await clock.advance(600_000);
  expect(await migration.adopt(sid)).toBeUndefined();
  expect(asked).toEqual(["get", "get", "destroy", "destroy", "get"]);
  await sessions.close();
});

test("a former store that fails, throws, rejects or hangs is a failure, never no session", async () => {
  const failures: [Partial<FormerStore>, string][] = [
    [{ get: (_sid, callback) => callback(new Error("down")) }, "ENGINE_UNAVAILABLE"],
    [
      {
        get: () => {
          throw new Error("down");
        },
      },
      "ENGINE_UNAVAILABLE",
    ],
    [{ get: () => Promise.reject(new Error("down")) }, "ENGINE_UNAVAILABLE"],
    [{ get: () => {} }, "ENGINE_TIMEOUT"],
  ];
  for (const [replaced, code] of failures) {
    const { clock, sessions, migration } = await stage({}, replaced);
    const adopting = migration.adopt(makeSid());
    const [outcome] = await Promise.allSettled([adopting, clock.advance(2_000)]);
    expect(outcome).toMatchObject({ status: "rejected", reason: { code, status: 503 } });
    await sessions.close();
  }
});
