/** The door of an LMDB environment: what it says when it can't, and for how long somebody waits for one who opens. */
import {
  closeSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lmdbEngine } from "anynode/lmdb";
import { Door } from "../../lib/engines/lmdb/door.js";
import { keyOf, makeSid } from "../../lib/session/id.js";
import { manualClock } from "../support/manual-clock.js";

let dir: string;
beforeEach(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), "anynode-door-")));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** Takes the file by which a process says that it is busy away from it: what it says from then on fails. */
function breakBusy(): void {
  let broken = 0;
  for (const fd of readdirSync("/proc/self/fd")) {
    try {
      if (!readlinkSync(`/proc/self/fd/${fd}`).startsWith(join(dir, "busy."))) continue;
      closeSync(Number(fd));
      broken += 1;
    } catch {
      // The one that listed the directory is gone.
    }
  }
  expect(broken).toBe(1);
}

/** As if another process, which lives, opened: Jest's parent. */
function somebodyOpens(): void {
  const text = readFileSync(`/proc/${process.ppid}/stat`, "latin1");
  const start = text.slice(text.lastIndexOf(")") + 2).split(" ")[19];
  writeFileSync(join(dir, `opening.${process.ppid}.${start}.0`), "");
}

test("leaving never throws; whoever opens doesn't wait for what couldn't be said, and the next batch says it anew", async () => {
  const door = new Door(dir, manualClock());
  expect(door.enter()).toBe(true);
  breakBusy();
  door.leave();
  await expect(new Door(dir, manualClock()).open(0, async () => "opened")).resolves.toBe("opened");
  expect(door.enter()).toBe(true);
  door.leave();
  const [busy = ""] = readdirSync(dir);
  expect(statSync(join(dir, busy)).mode & 0o777).toBe(0o600);
  door.close();
  expect(readdirSync(dir)).toEqual([]);
});

test("whoever waits for one who opens does so as long as there is something to write, and no longer", async () => {
  const door = new Door(dir, manualClock());
  somebodyOpens();
  expect(door.enter()).toBe(false);
  let asked = 0;
  await door.free(() => ++asked < 5);
  expect(asked).toBe(5);
  door.close();
});

test("whoever was refused takes the writer lock again only when nobody opens", async () => {
  const engine = lmdbEngine({ dir, deadlineMs: 200 });
  await engine.open();
  const enter = jest.spyOn(Door.prototype, "enter");
  somebodyOpens();
  const write = () => engine.create(keyOf(makeSid(), engine.namespace), Buffer.from("body"), { idleMs: 60_000, absoluteAt: 0 });
  await expect(write()).rejects.toMatchObject({ code: "ENGINE_TIMEOUT" });
  expect(enter).toHaveBeenCalledTimes(1);
  for (const name of readdirSync(dir).filter((name) => name.startsWith("opening."))) rmSync(join(dir, name));
  await expect(write()).resolves.toMatchObject({ outcome: "committed" });
  enter.mockRestore();
  await engine.close();
});

test("a batch that couldn't say that it is busy is an error to its writers, and the next one goes on", async () => {
  const engine = lmdbEngine({ dir });
  await engine.open();
  const key = keyOf(makeSid(), engine.namespace);
  const write = () => engine.create(key, Buffer.from("body"), { idleMs: 60_000, absoluteAt: 0 });
  await expect(write()).resolves.toMatchObject({ outcome: "committed" });
  breakBusy();
  await expect(write()).rejects.toMatchObject({ code: "ENGINE_UNAVAILABLE" });
  await expect(write()).resolves.toMatchObject({ outcome: "conflict" });
  await engine.close();
});
