/** The contract of open, close and errors: opening is idempotent, closing is final, and no error tells a key or a body. */
import assert from "node:assert/strict";
import { inspect } from "node:util";
import type { Engine } from "../engines/engine.js";
import { AnynodeError } from "../errors.js";
import { holds, later, newKey, newNodeId, type Part, sleep, stored, until } from "./stage.js";

export function lifePart({ describe, test, separate }: Part): void {
  describe("an engine", () => {
    test("says its kind, and has one namespace on one medium", async ({ engine }) => {
      const [one, two] = [await engine(), await engine()];
      assert.ok(one.kind.length > 0 && typeof one.namespace === "string");
      assert.deepEqual([two.kind, two.namespace], [one.kind, one.namespace]);
    });

    test("may be opened often and in parallel", async ({ engine }) => {
      const one = await engine();
      await Promise.all([one.open(), one.open(), one.open()]);
      const key = newKey();
      await stored(one, key);
      await one.open();
      await holds(one, key, "first");
    });

    test("rejects every verb with CLOSED after its close, and tells neither key nor body", async ({ engine }) => {
      const one = await engine();
      const [key, to, id] = [newKey("tag"), newKey("tag"), newNodeId()];
      const body = Buffer.from("the-secret-body");
      const { version } = await stored(one, key);
      const joined = await one.join(id, 0, "{}");
      assert.equal(joined.outcome, "joined");
      await one.close();

      const verbs: Record<string, () => unknown> = {
        open: () => one.open(),
        read: () => one.read(key),
        "read of a known version": () => one.read(key, version),
        create: () => one.create(to, body, later),
        commit: () => one.commit(key, version, body, later),
        touch: () => one.touch(key, version, later),
        end: () => one.end(key),
        regenerate: () => one.regenerate(key, version, to, body, later),
        list: () => first(one),
        join: () => one.join(newNodeId(), 0, "{}"),
        beat: () => one.beat(id, 1, "{}"),
        leave: () => one.leave(id, 1),
        nodes: () => one.nodes(),
        publish: () => one.publish("news", "the-secret-body"),
        subscribe: () => one.subscribe("news", () => {}),
      };
      for (const [name, verb] of Object.entries(verbs)) {
        const error = await failureOf(verb);
        assert.ok(error instanceof AnynodeError, `${name} rejects with an AnynodeError`);
        assert.equal(error.code, "CLOSED", name);
        const told = inspect(error, { depth: 10 });
        for (const secret of [key, to, body.toString()]) assert.ok(!told.includes(secret), `${name} tells a key or a body`);
      }
    });

    test("closes twice, in parallel and before it was used, without harm", async ({ engine }) => {
      const one = await engine();
      await Promise.all([one.close(), one.close()]);
      await one.close();
    });

    separate("leaves the others on its medium open when it closes", async ({ engine }) => {
      const [one, two] = [await engine(), await engine()];
      const key = newKey();
      await stored(one, key);
      const heard: string[] = [];
      await two.subscribe("news", (message) => void heard.push(message));
      await one.close();
      await holds(two, key, "first");
      await two.publish("news", "still here");
      await until("it was heard", () => heard.length > 0);
    });

    separate("delivers nothing after its close", async ({ engine }) => {
      const [one, two] = [await engine(), await engine()];
      const [heard, witness]: string[][] = [[], []];
      await one.subscribe("news", (message) => void heard?.push(message));
      await two.subscribe("news", (message) => void witness?.push(message));
      await one.close();
      await two.publish("news", "after");
      await until("the other heard it", () => witness?.length === 1);
      assert.deepEqual(heard, []);
    });

    separate("RACE: delivers nothing after its close of what was on its way then", async ({ engine }) => {
      const [one, two] = [await engine(), await engine()];
      const [heard, witness]: string[][] = [[], []];
      let closing: Promise<number | undefined> | undefined;
      await one.subscribe("news", (message) => void heard?.push(message));
      await two.subscribe("news", (message) => {
        witness?.push(message);
        closing ??= one.close().then(() => heard?.length);
      });
      await Promise.all(Array.from({ length: 200 }, (_, number) => two.publish("news", `message ${number}`)));
      await until("the other heard it all", () => witness?.length === 200);
      const heardUntilClosed = await closing;
      await sleep(20);
      assert.equal(heard?.length, heardUntilClosed);
    });
  });
}

async function first(engine: Engine): Promise<unknown> {
  for await (const record of engine.list()) return record;
  return undefined;
}

/** What a verb rejects with, or throws at once. */
async function failureOf(verb: () => unknown): Promise<unknown> {
  try {
    await verb();
  } catch (error) {
    return error;
  }
  return undefined;
}
