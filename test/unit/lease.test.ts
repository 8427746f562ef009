/** Runs of the lease, fill tickets, answers and shunned keys, each rule alone: what makes a copy one that may be served. */
import fc from "fast-check";
import { Acks } from "../../lib/cache/acks.js";
import { Lease } from "../../lib/cache/lease.js";
import { acksText, parseNotice } from "../../lib/cache/notices.js";
import { Shunned } from "../../lib/cache/shunned.js";
import { Tickets } from "../../lib/cache/tickets.js";
import { COPY_LEASE_MS } from "../../lib/engines/engine.js";
import { isDone } from "../support/copies-stage.js";
import { type ManualClock, manualClock } from "../support/manual-clock.js";
import { keyFor } from "../support/names.js";

const [key, other] = [keyFor(1), keyFor(2)];

function aLease(clock: ManualClock = manualClock()) {
  const onEnd = jest.fn();
  const lease = new Lease(clock, onEnd);
  return { clock, lease, onEnd, tickets: new Tickets(lease) };
}

describe("a run", () => {
  test("begins with the echo of a beat, and lasts for one lease from when that beat was sent", async () => {
    const { clock, lease } = aLease();
    const serial = lease.beat(true);
    expect(lease.trusted()).toBe(false);
    await clock.advance(300);
    lease.heardEcho(serial, 7);
    expect([lease.trusted(), lease.run]).toEqual([true, 1]);
    await clock.advance(COPY_LEASE_MS - 301);
    expect(lease.trusted()).toBe(true);
    await clock.advance(1);
    expect(lease.trusted()).toBe(false);
  });

  test("is renewed by the echo of a later beat, each from when it was sent, and never shortened by an older one", async () => {
    const { clock, lease, onEnd } = aLease();
    const first = lease.beat(true);
    await clock.advance(500);
    const second = lease.beat(true);
    lease.heardEcho(second, 0);
    lease.heardEcho(first, 0);
    await clock.advance(COPY_LEASE_MS - 1);
    expect(lease.trusted()).toBe(true);
    await clock.advance(1);
    expect(lease.trusted()).toBe(false);
    expect(onEnd).toHaveBeenCalledTimes(1);
  });

  test("counts drops from its first echo on; one that is missing, or one too many, ends it, and that echo begins no other", () => {
    for (const drops of [1, 2, 3]) {
      const { lease, onEnd } = aLease();
      lease.heardDrop();
      lease.heardEcho(lease.beat(true), 100);
      for (let i = 0; i < drops; i++) lease.heardDrop();
      lease.heardEcho(lease.beat(true), 102);
      expect([lease.trusted(), onEnd.mock.calls.length]).toEqual(drops === 2 ? [true, 0] : [false, 1]);
      lease.heardEcho(lease.beat(true), 102);
      expect([lease.trusted(), lease.run]).toEqual([true, drops === 2 ? 1 : 2]);
    }
  });

  test("isn't begun by a beat from before the last one ended, or that didn't ask for it, or that was sent too long ago", async () => {
    const { clock, lease } = aLease();
    const before = lease.beat(true);
    lease.end();
    lease.heardEcho(before, 0);
    lease.heardEcho(lease.beat(false), 0);
    const slow = lease.beat(true);
    await clock.advance(COPY_LEASE_MS);
    lease.heardEcho(slow, 0);
    lease.heardEcho(999, 0);
    expect([lease.trusted(), lease.run]).toEqual([false, 0]);
  });

  test("that lapsed unnoticed isn't mended by an echo that was under way", async () => {
    const { clock, lease, onEnd } = aLease();
    lease.heardEcho(lease.beat(true), 0);
    await clock.advance(1_900);
    const underWay = lease.beat(true);
    await clock.advance(200);
    lease.heardEcho(underWay, 0);
    expect([lease.trusted(), onEnd.mock.calls.length]).toEqual([false, 1]);
    lease.heardEcho(lease.beat(true), 0);
    expect([lease.trusted(), lease.run]).toEqual([true, 2]);
  });

  test("of any schedule: while it lasts, no drop is unheard that was published during it and more than a lease ago", async () => {
    const step = fc.constantFrom("beat", "drop", "drop", "hear", "hear", "hear", "lose", "end", "wait");
    const schedule = async (steps: readonly string[]) => {
      const { clock, lease } = aLease();
      const channel: { serial: number; count: number; at: number }[] = [];
      const unheard = new Map<number, number>();
      let [count, run, since] = [0, 0, 0];
      for (const what of steps) {
        if (what === "beat") channel.push({ serial: lease.beat(true), count, at: count });
        if (what === "drop") {
          count += 1;
          channel.push({ serial: 0, count, at: count });
          unheard.set(count, clock.monotonic());
        }
        if (what === "end") lease.end();
        if (what === "wait") await clock.advance(450);
        const message = what === "hear" || what === "lose" ? channel.shift() : undefined;
        if (what === "hear" && message?.serial === 0) {
          lease.heardDrop();
          unheard.delete(message.count);
        } else if (what === "hear" && message !== undefined) {
          lease.heardEcho(message.serial, message.count);
          if (lease.run !== run) [run, since] = [lease.run, message.at];
        }
        if (!lease.trusted()) continue;
        const missed = [...unheard].filter(([drop, at]) => drop > since && at <= clock.monotonic() - COPY_LEASE_MS);
        expect(missed).toEqual([]);
      }
    };
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 60, size: "max" }), schedule), { numRuns: 500 });
  });
});

describe("a fill ticket", () => {
  function live() {
    const stage = aLease();
    stage.lease.heardEcho(stage.lease.beat(true), 0);
    return stage;
  }

  test("is clean until its key is dropped, its run ends, or it is closed", async () => {
    const { clock, lease, tickets } = live();
    const [dropped, closed, kept] = [tickets.open(key, 1, 5), tickets.open(other, 1, 5), tickets.open(other, 1, 5)];
    expect(tickets.clean(dropped)).toBe(true);
    tickets.void(key);
    tickets.close(closed);
    expect([dropped, closed, kept].map((ticket) => tickets.clean(ticket))).toEqual([false, false, true]);
    await clock.advance(COPY_LEASE_MS);
    expect(tickets.clean(kept)).toBe(false);
    lease.heardEcho(lease.beat(true), 0);
    expect(tickets.clean(kept)).toBe(false);
  });

  test("shares its reading while it is clean and the run lasts, and takes no reading once it is void", async () => {
    const { clock, tickets } = live();
    const reading = Promise.resolve({ loaded: undefined, counts: true });
    const ticket = tickets.open(key, 1, 5);
    expect(tickets.reading(key)).toBeUndefined();
    tickets.share(ticket, reading);
    expect(tickets.reading(key)).toBe(reading);
    expect(tickets.reading(other)).toBeUndefined();
    await clock.advance(COPY_LEASE_MS);
    expect(tickets.reading(key)).toBeUndefined();
    const late = tickets.open(key, 1, 5);
    tickets.void(key);
    tickets.share(late, reading);
    expect(tickets.reading(key)).toBeUndefined();
  });
});

describe("answers", () => {
  test("end the waiting for the very write that they name, each node its own; others' leases run out by the clock", async () => {
    const clock = manualClock();
    const acks = new Acks(clock);
    const [first, second] = [acks.expect(), acks.expect()];
    // One may overtake the write's reply.
    acks.heard(4, [second]);
    const waits = [
      acks.settled(first, [{ number: 4, leftMs: 100 }]),
      acks.settled(
        second,
        [4, 5].map((number) => ({ number, leftMs: 1_000 })),
      ),
    ];
    acks.heard(6, [first, second, 99]);
    await clock.advance(154);
    expect(await isDone(Promise.race(waits))).toBe(false);
    await clock.advance(1);
    expect(await waits[0]).toEqual([4]);
    acks.heard(5, [second]);
    expect(await waits[1]).toEqual([]);
    expect(clock.timers()).toBe(0);
  });

  test("nobody to wait for: at once; what was forgotten hears nothing", async () => {
    const acks = new Acks(manualClock());
    expect(await acks.settled(acks.expect(), [])).toEqual([]);
    const forgotten = acks.expect();
    acks.forget(forgotten);
    acks.heard(1, [forgotten]);
  });
});

test("a key is shunned once two copies in a row served nobody, for ten seconds, however many keys there are", async () => {
  const clock = manualClock();
  const shunned = new Shunned(clock);
  shunned.dropped(key, false);
  expect(shunned.has(key)).toBe(false);
  shunned.dropped(key, true);
  shunned.dropped(key, false);
  expect(shunned.has(key)).toBe(false);
  shunned.dropped(key, false);
  expect([shunned.has(key), shunned.has(other)]).toEqual([true, false]);
  await clock.advance(9_999);
  expect(shunned.has(key)).toBe(true);
  await clock.advance(1);
  expect(shunned.has(key)).toBe(false);
  shunned.dropped(key, false);
  expect(shunned.has(key)).toBe(false);
  for (let i = 0; i < 25_000; i++) shunned.dropped(keyFor(i), false);
});

describe("notices", () => {
  test("read what the scripts and the other nodes write", () => {
    expect(parseNotice("echo 3 17 1700000000000001 1700000000")).toEqual({
      kind: "echo",
      serial: 3,
      epoch: 17,
      count: 1_700_000_000_000_001,
      now: 1_700_000_000,
    });
    expect(parseNotice(`drop ${key} 12 3 17 9 end`)).toMatchObject({
      kind: "drop",
      key,
      writer: 3,
      epoch: 17,
      serial: 9,
      ended: true,
    });
    expect(parseNotice(acksText(4, 17, [9, 10]))).toEqual({ kind: "acks", number: 4, epoch: 17, serials: [9, 10] });
  });

  test("whatever comes in, none throws, and what isn't one is none", () => {
    const words = fc.array(fc.oneof(fc.string(), fc.constantFrom("drop", "echo", "acks", "1", key)), { maxLength: 8 });
    fc.assert(
      fc.property(words, (all) => {
        const notice = parseNotice(all.join(" "));
        if (notice !== undefined) expect(["drop", "echo", "acks"]).toContain(notice.kind);
      }),
    );
    expect(parseNotice("drop notakey 1 2 3 4 new")).toBeUndefined();
    expect(parseNotice("")).toBeUndefined();
  });
});
