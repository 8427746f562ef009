/** The same on LMDB, where records lie in a file of ours: what a node can't read is no session, is told once, stays, and can be ended. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Environment } from "../../lib/engines/lmdb/environment.js";
import { anynode, type EventMap, type Sessions } from "../../lib/index.js";
import { until } from "../support/until.js";

let dir: string;
let sessions: Sessions;
let told: EventMap["unreadable"][];
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "anynode-lmdb-"));
  sessions = anynode({ engine: `lmdb:${dir}`, keyring: ["plain"] });
  told = [];
  sessions.on("unreadable", (event) => told.push(event));
});
afterEach(async () => {
  await sessions.close();
  await rm(dir, { recursive: true, force: true });
});

/** Changes the stored bytes of the only session, past the engine. */
async function damage(how: (bytes: Buffer) => Buffer): Promise<void> {
  const environment = await Environment.open(dir);
  await environment.transaction(() => {
    for (const { key, value } of environment.range(Buffer.from("s:"), Buffer.from("s;"), 10)) {
      environment.put(Buffer.from(key), how(Buffer.from(value)));
    }
  });
  await environment.close();
}

const damages: readonly [string, (bytes: Buffer) => Buffer, EventMap["unreadable"]["why"]][] = [
  ["of a newer layout", (bytes) => Buffer.concat([Buffer.from([0x7f]), bytes.subarray(1)]), "unknown"],
  ["cut within its header", (bytes) => bytes.subarray(0, 9), "unknown"],
  ["cut in its body", (bytes) => bytes.subarray(0, bytes.length - 1), "damaged"],
];
test.each(damages)("a record %s", async (_, how, why) => {
  // Stored by another node: the one that stored it has it in its cache.
  const other = anynode({ engine: `lmdb:${dir}`, keyring: ["plain"] });
  await other.replace("a", new Map([["n", "1"]]));
  await other.close();
  await damage(how);
  for (let i = 0; i < 3; i++) expect(await sessions.load("a")).toBeUndefined();
  for await (const listed of sessions.list()) throw new Error(`listed ${listed.version}`);
  await until("the event", () => told.length > 0);
  expect(told).toEqual([{ why }]);
  await sessions.end("a");
  expect(await sessions.replace("a", new Map())).toEqual({ outcome: "gone", ended: true });
});
