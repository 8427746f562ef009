/** The LMDB engine with real processes: fresh reads, kill -9, a process stopped while it writes, no room, the file and its directory. */
import { execFileSync } from "node:child_process";
import { closeSync, constants, mkdirSync, openSync, readdirSync, readSync, statSync, writeFileSync, writeSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lmdbEngine } from "anynode/lmdb";
import { open as openRaw } from "lmdb";
import { type Clock, systemClock } from "../../lib/clock.js";
import { ENDED_MARK_MS, type Engine } from "../../lib/engines/engine.js";
import { Environment } from "../../lib/engines/lmdb/environment.js";
import { type Child, startChild } from "../support/child.js";
import { manualClock } from "../support/manual-clock.js";
import { movableClock } from "../support/movable-clock.js";
import { keyFor } from "../support/names.js";
import { until } from "../support/until.js";

const { ANYNODE_FULL } = process.env;
const full = ANYNODE_FULL === "1";
jest.setTimeout(full ? 300_000 : 30_000);
const hour = { idleMs: 3_600_000, absoluteAt: 0 };
const body = Buffer.alloc(500, 7);

let dir: string;
const engines: Engine[] = [];
const children: Child[] = [];
beforeEach(async () => {
  dir = join(await mkdtemp(join(tmpdir(), "anynode-lmdb-")), "sessions");
});
afterEach(async () => {
  for (const child of children.splice(0)) child.process.kill("SIGKILL");
  for (const engine of engines.splice(0)) await engine.close();
  await rm(join(dir, ".."), { recursive: true, force: true });
});

function engineHere(options: { mapSizeBytes?: number; deadlineMs?: number; clock?: Clock } = {}): Engine {
  const engine = lmdbEngine({ dir, ...options });
  engines.push(engine);
  return engine;
}

function childHere(...start: Parameters<typeof startChild>): Child {
  const child = startChild(...start);
  children.push(child);
  return child;
}

/** A look at what is really stored, past the engine. */
async function look<T>(at: (environment: Environment) => T | Promise<T>): Promise<T> {
  const environment = await Environment.open(dir);
  try {
    return await at(environment);
  } finally {
    await environment.close();
  }
}

const countOf = (prefix: string) =>
  look((environment) => environment.range(Buffer.from(`${prefix}:`), Buffer.from(`${prefix};`), 1e6).length);

/** Blocks the event loop until a byte comes, on purpose; for ten seconds at the most. */
function waitForByte(file: number): void {
  const byte = Buffer.alloc(1);
  for (const until = performance.now() + 10_000; performance.now() < until; ) {
    try {
      if (readSync(file, byte) === 1) return;
    } catch (error) {
      if (!(typeof error === "object" && error !== null && "code" in error && error.code === "EAGAIN")) throw error;
    }
  }
  throw new Error("the other process doesn't answer");
}

describe("several processes", () => {
  test("a read sees what another process was told is committed, in the same turn of the event loop", async () => {
    const engine = engineHere();
    await engine.open();
    const [asked, answered] = [join(dir, "../asked"), join(dir, "../answered")];
    execFileSync("mkfifo", [asked, answered]);
    const child = childHere("lmdb-answer.ts", [dir, asked, answered]);
    // Neither waits for the child to open its ends: a child that fails must not hang the test.
    const out = openSync(asked, "r+");
    const back = openSync(answered, constants.O_RDONLY | constants.O_NONBLOCK);
    const pairs = full ? 20_000 : 2_000;
    let stale = 0;
    for (let i = 1; i <= pairs; i++) {
      // The snapshot of this turn, from before; then another process commits while this one blocks.
      engine.read(keyFor("pair"));
      writeSync(out, "?");
      waitForByte(back);
      const reply = engine.read(keyFor("pair"));
      if (reply instanceof Promise || reply.outcome !== "found" || reply.body.toString() !== String(i)) stale++;
    }
    closeSync(out);
    closeSync(back);
    expect(await child.ended).toBe(0);
    expect(stale).toBe(0);
  });

  test("RACE: two processes that increment one record by compare-and-swap lose nothing", async () => {
    const times = full ? 2_000 : 200;
    const children = [1, 2].map(() => childHere("lmdb-increment.ts", [dir, times]));
    expect(await Promise.all(children.map((child) => child.ended))).toEqual([0, 0]);
    const reply = await engineHere().read(keyFor("counter"));
    expect(reply.outcome === "found" && reply.body.toString()).toBe(String(2 * times));
  });

  test("RACE: while others open the environment nothing that was committed is unseen, or lost", async () => {
    const engine = engineHere();
    const created = await engine.create(keyFor("kept"), body, hour);
    if (created.outcome !== "committed") throw new Error(created.outcome);
    const openers = [1, 2].map(() => childHere("lmdb-open.ts", [dir, full ? 10_000 : 1_500]));
    let open = openers.length;
    for (const opener of openers) void opener.ended.then(() => open--);
    let { version } = created;
    let wrong = 0;
    for (let n = 0; open > 0; n++) {
      const reply = await engine.commit(keyFor("kept"), version, Buffer.from(String(n)), hour);
      if (reply.outcome !== "committed") throw new Error(reply.outcome);
      version = reply.version;
      const found = await engine.read(keyFor("kept"));
      if (found.outcome !== "found" || found.body.toString() !== String(n)) wrong += 1;
    }
    expect(wrong).toBe(0);
  });

  test("messages reach another engine once, in order, and the mailbox keeps only what is young", async () => {
    const clock = movableClock();
    const [one, other] = [engineHere({ clock }), engineHere({ clock })];
    for (let i = 0; i < 300; i++) await one.publish("silence", "nobody listens");
    const got: string[] = [];
    const subscription = await other.subscribe("news", (message) => got.push(message));
    clock.advance(11_000);
    for (let i = 0; i < 300; i++) await one.publish("news", String(i));
    while (got.length < 300) await new Promise(setImmediate);
    await subscription.close();
    expect(got).toEqual(Array.from({ length: 300 }, (_, i) => String(i)));
    expect(await countOf("p")).toBe(300);
  });

  /** A clock on which nobody ever looks by themselves. */
  const standing = (): Clock => ({ ...manualClock(), after: () => () => {} });

  test("the bell wakes whoever reads, whenever their next look would be", async () => {
    const [one, other] = [engineHere({ clock: standing() }), engineHere({ clock: standing() })];
    const got: string[] = [];
    await other.subscribe("news", (message) => got.push(message));
    await one.publish("news", "heard");
    await until("the bell was heard", () => got.length === 1);
    expect(statSync(join(dir, "bell")).mode & 0o777).toBe(0o600);
  });

  test("where no bell can hang the next look finds what there is", async () => {
    await engineHere().nodes();
    mkdirSync(join(dir, "bell"), { mode: 0o200 });
    const got: string[] = [];
    await engineHere().subscribe("news", (message) => got.push(message));
    await engineHere().publish("news", "found");
    await until("a look has found it", () => got.length === 1);
  });
});

describe("kill -9", () => {
  test("while writing loses nothing that was acknowledged, holds nobody up and leaves no reader behind", async () => {
    const kills = full ? 50 : 5;
    let acknowledged = 0;
    const lost: string[] = [];
    for (let round = 0; round < kills; round++) {
      const child = childHere("lmdb-create.ts", [dir, round]);
      for (let line = 0; line < 50 + 37 * (round % 7); line++) acknowledged += (await child.line()) === "" ? 0 : 1;
      process.kill(child.pid, "SIGKILL");
      const names = await child.rest();
      const engine = engineHere();
      await engine.create(keyFor(`after-${round}`), body, hour);
      // The last line may be cut off by the kill.
      for (const name of names.filter((text) => text.startsWith(`${round}-`)).slice(0, -1)) {
        acknowledged++;
        const reply = await engine.read(keyFor(name));
        if (reply.outcome !== "found" || reply.body.toString() !== name) lost.push(name);
      }
    }
    expect(lost).toEqual([]);
    expect(acknowledged).toBeGreaterThan(kills * 50);
    for (const engine of engines.splice(0)) await engine.close();
    // Opened by LMDB itself, which would wait for a writer: nobody writes any more.
    const database = openRaw({ path: dir, noSubdir: false, overlappingSync: false });
    expect(database.readerList().trim().split("\n").length).toBeLessThan(10);
    await database.close();
  });

  test("of the process that sweeps: another one goes on", async () => {
    const child = childHere("lmdb-create.ts", [dir, "x", 1]);
    await child.line();
    process.kill(child.pid, "SIGKILL");
    await child.ended;
    const clock = fastClock(movableClock(Date.now()));
    const engine = engineHere({ clock, deadlineMs: 60_000 });
    await engine.open();
    clock.advance(1_100_000);
    while ((await countOf("s")) > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  });
});

describe("a process that is stopped while it holds the writer lock", () => {
  test("the others open and read, their writes end within the deadline and never happen, and service is back with it", async () => {
    const engine = engineHere({ deadlineMs: 300 });
    const created = await engine.create(keyFor("before"), body, hour);
    if (created.outcome !== "committed") throw new Error("not created");
    const holder = childHere("lmdb-hold.ts", [dir]);
    expect(await holder.line()).toBe("holding");

    let turns = 0;
    const turning = setInterval(() => turns++, 10);
    const startedAt = performance.now();
    const writes = await Promise.allSettled([
      ...Array.from({ length: 20 }, (_, i) => engine.create(keyFor(`never-${i}`), body, hour)),
      engine.commit(keyFor("before"), created.version, Buffer.from("never"), hour),
      engine.touch(keyFor("before"), created.version, { idleMs: 1, absoluteAt: 0 }),
      engine.end(keyFor("before")),
      engine.publish("news", "never"),
    ]);
    expect(performance.now() - startedAt).toBeLessThan(1_300);
    for (const write of writes) expect(write).toMatchObject({ status: "rejected", reason: { code: "ENGINE_TIMEOUT" } });
    expect(await engine.read(keyFor("before"))).toMatchObject({ outcome: "found", body });

    const newcomer = engineHere({ deadlineMs: 300 });
    await newcomer.open();
    expect(await newcomer.read(keyFor("before"))).toMatchObject({ outcome: "found", body });
    await expect(newcomer.create(keyFor("never-0"), body, hour)).rejects.toMatchObject({ code: "ENGINE_TIMEOUT" });
    await newcomer.close();
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    clearInterval(turning);
    // The event loop went round all the while.
    expect(turns).toBeGreaterThan(20);

    process.kill(holder.pid, "SIGCONT");
    expect(await holder.line()).toBe("released");
    expect(await holder.ended).toBe(0);
    expect((await engine.create(keyFor("after"), body, hour)).outcome).toBe("committed");
    const found: string[] = [];
    for await (const { key } of engine.list()) found.push(key);
    expect(found.sort()).toEqual([keyFor("after"), keyFor("before")].sort());
    expect(await engine.read(keyFor("before"))).toMatchObject({ outcome: "found", version: created.version, body });
  });

  test("LIMIT: process.exit() while a batch is under way ends the process by SIGKILL, and the lock goes on to the others", async () => {
    const holder = childHere("lmdb-hold.ts", [dir]);
    await holder.line();
    const exiting = childHere("lmdb-exit.ts", [dir]);
    expect(await exiting.line()).toBe("ENGINE_TIMEOUT");
    expect(await exiting.ended).toBe(null);
    process.kill(holder.pid, "SIGCONT");
    expect((await engineHere().create(keyFor(1), body, hour)).outcome).toBe("committed");
  });

  test("and is killed there: the lock is free at once, and its batch never happened", async () => {
    const engine = engineHere();
    await engine.open();
    const holder = childHere("lmdb-hold.ts", [dir]);
    await holder.line();
    const waiting = engine.create(keyFor("waited"), body, hour);
    process.kill(holder.pid, "SIGKILL");
    expect((await waiting).outcome).toBe("committed");
  });
});

describe("no room", () => {
  const worksOn = { code: "ENGINE_FULL", lost: 0, read: "found", touched: "touched", ended: "ended", again: "committed" };

  test("in the map: new records are refused; reads, touches and ends work; there is room again after ends", async () => {
    const engine = engineHere({ mapSizeBytes: 256 * 1024 });
    const versions: number[] = [];
    let refused: unknown;
    for (let i = 0; refused === undefined && i < 10_000; i++) {
      const reply = await engine.create(keyFor(i), body, hour).catch((error) => {
        refused = error;
      });
      if (reply?.outcome === "committed") versions.push(reply.version);
    }
    expect(refused).toMatchObject({ code: "ENGINE_FULL", message: expect.stringContaining("mapSizeBytes") });
    expect(versions.length).toBeGreaterThan(100);
    for (let i = 0; i < versions.length; i++) expect((await engine.read(keyFor(i))).outcome).toBe("found");
    const first = await engine.read(keyFor(0));
    if (first.outcome !== "found") throw new Error("lost");
    expect((await engine.touch(keyFor(0), first.version, hour)).outcome).toBe("touched");
    for (let i = 1; i < versions.length; i++) expect((await engine.end(keyFor(i))).outcome).toBe("ended");
    expect((await engine.create(keyFor("again"), body, hour)).outcome).toBe("committed");
  });

  test("for the file (EFBIG): nothing is lost, and what needs no room works", async () => {
    const child = childHere("lmdb-fill.ts", [dir], "ulimit -f 2048");
    expect(JSON.parse(await child.line())).toMatchObject(worksOn);
    expect(await child.ended).toBe(0);
  });

  // Mounting takes root, as in the container of the CI.
  const mountable = process.getuid?.() === 0 ? test : test.skip;
  mountable("on the disk (ENOSPC): nothing is lost, and what needs no room works", async () => {
    const disk = join(dir, "../disk");
    mkdirSync(disk);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", disk]);
    try {
      const child = childHere("lmdb-fill.ts", [join(disk, "sessions")]);
      expect(JSON.parse(await child.line())).toMatchObject(worksOn);
      expect(await child.ended).toBe(0);
    } finally {
      execFileSync("umount", [disk]);
    }
  });
});

/** Time that goes a hundred times faster for timers, and stands still for deadlines until it is moved. */
function fastClock<T extends Clock>(clock: T): T {
  return { ...clock, after: (ms, task) => systemClock.after(ms / 100, task) };
}

test("the file doesn't grow without end while records come and go", async () => {
  const clock = fastClock(movableClock());
  const engine = engineHere({ clock, deadlineMs: 60_000 });
  const sizes: number[] = [];
  const cycles = full ? 60 : 8;
  for (let cycle = 0; cycle < cycles; cycle++) {
    const each = Array.from({ length: 2_000 }, (_, i) => engine.create(keyFor(`${cycle}-${i}`), body, hour));
    await Promise.all(each);
    await Promise.all(Array.from({ length: 500 }, (_, i) => engine.end(keyFor(`${cycle}-${i}`))));
    clock.advance(hour.idleMs + ENDED_MARK_MS);
    while ((await countOf("s")) > 0) await new Promise((resolve) => setTimeout(resolve, 10));
    sizes.push(statSync(join(dir, "data.mdb")).size);
  }
  const settled = sizes[2] ?? 0;
  expect(settled).toBeGreaterThan(0);
  expect(sizes.at(-1)).toBeLessThan(1.5 * settled);
});

describe("the directory", () => {
  const modeOf = (path: string) => statSync(path).mode & 0o777;

  test("is made for this user alone, as are its files, whatever its name", async () => {
    dir = join(dir, "../with.dot/nested");
    await engineHere().create(keyFor(1), body, hour);
    expect(modeOf(dir)).toBe(0o700);
    expect(readdirSync(dir).sort()).toEqual([expect.stringMatching(/^busy\./), "data.mdb", "lock.mdb"]);
    for (const file of readdirSync(dir)) expect(modeOf(join(dir, file))).toBe(0o600);
    dir = join(dir, "..");
  });

  test("is tightened if it is empty or an environment already", async () => {
    mkdirSync(dir, { mode: 0o755 });
    await engineHere().open();
    expect(modeOf(dir)).toBe(0o700);
  });

  test("is refused if it is open to others and holds other files", async () => {
    mkdirSync(dir, { mode: 0o755 });
    writeFileSync(join(dir, "else.txt"), "");
    await expect(engineHere().open()).rejects.toMatchObject({
      code: "OPTION_INVALID",
      message: expect.stringMatching(/lmdb:.*holds other files.*directory of their own/),
    });
    expect(modeOf(dir)).toBe(0o755);
  });

  test("that can't be written is a clear error, and open() may be tried again", async () => {
    writeFileSync(dir, "a file where a directory should be");
    const engine = engineHere();
    for (const verb of [() => engine.open(), () => engine.read(keyFor(1)), () => engine.end(keyFor(1))]) {
      await expect(verb()).rejects.toMatchObject({ code: "OPTION_INVALID", message: expect.stringContaining("EEXIST") });
    }
    await rm(dir);
    await engine.open();
    expect(await engine.read(keyFor(1))).toEqual({ outcome: "gone", ended: false });
  });

  test("must be named, and limits must be within bounds", () => {
    expect(() => lmdbEngine({ dir: "" })).toThrow(/"dir"/);
    expect(() => lmdbEngine({ dir, mapSizeBytes: 1e15 })).toThrow(/"mapSizeBytes" is 1000000000000000/);
    expect(() => lmdbEngine({ dir, deadlineMs: 0 })).toThrow(/"deadlineMs" is 0/);
  });
});

test("a slot of an unknown format is reported and left as it is", async () => {
  const engine = engineHere();
  await engine.create(keyFor(1), body, hour);
  const stored = Buffer.from(`s:${keyFor(2)}`);
  const future = Buffer.alloc(40, 0x7f);
  await look((environment) => environment.transaction(() => environment.put(stored, future)));
  await expect(engine.read(keyFor(2))).rejects.toMatchObject({ code: "RECORD_UNREADABLE" });
  await expect(engine.create(keyFor(2), body, hour)).rejects.toMatchObject({ code: "RECORD_UNREADABLE" });
  const found: string[] = [];
  for await (const { key } of engine.list()) found.push(key);
  expect(found).toEqual([keyFor(1)]);
  expect(await look((environment) => environment.get(stored))).toEqual(future);
});

test("without the package lmdb the error names it and the alternatives", async () => {
  await jest.isolateModulesAsync(async () => {
    jest.doMock("lmdb", () => {
      throw Object.assign(new Error("Cannot find package 'lmdb'"), { code: "ERR_MODULE_NOT_FOUND" });
    });
    const isolated = await import("anynode/lmdb");
    await expect(isolated.lmdbEngine({ dir }).open()).rejects.toMatchObject({
      code: "ENGINE_UNSUPPORTED",
      message: expect.stringMatching(/npm install lmdb.*redis:.*memory:/),
    });
  });
  jest.dontMock("lmdb");
});
