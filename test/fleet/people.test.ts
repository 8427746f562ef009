/**
 * People's sessions over a fleet of nodes in one process, through engines that delay, reorder and lose calls. Each schedule is one seed; the
 * seed of one that fails is in the message. ANYNODE_FULL=1 runs all 2,000 of each, else a tenth.
 */
import { memoryEngine } from "anynode/memory";
import type { Sid } from "../../lib/names.js";
import type { AnynodeOptions } from "../../lib/options.js";
import { makeSid } from "../../lib/session/id.js";
import type { Sessions } from "../../lib/sessions.js";
import { aNode, loadedOf, saveOf, stored, valuesOf } from "../support/a-node.js";
import { type Faults, faultyEngine, seeded } from "../support/faulty-engine.js";
import { manualClock } from "../support/manual-clock.js";

const SCHEDULES = process.env["ANYNODE_FULL"] === "1" ? 2_000 : 200;
const sound = { turns: 4, lost: 0 };
const lossy = { turns: 4, lost: 0.1 };

interface Stage {
  readonly witness: Sessions;
  any(): Sessions;
  pick(most: number): number;
  pause(): Promise<void>;
}

function schedules(
  name: string,
  faults: Faults,
  run: (stage: Stage) => Promise<void>,
  options: Omit<AnynodeOptions, "engine"> = {},
): void {
  test(name, async () => {
    for (let seed = 1; seed <= SCHEDULES; seed++) {
      const random = seeded(seed);
      const clock = manualClock();
      const memory = memoryEngine({ clock });
      const settings = { clock, ...options };
      const nodes = [1, 2, 3, 4].map(() => aNode(faultyEngine(memory, random, faults), settings));
      const witness = aNode(memory, settings);
      await Promise.all([...nodes, witness].map((node) => node.ready()));
      const pick = (most: number) => Math.floor(random() * most);
      const pause = async () => {
        for (let turns = pick(12); turns > 0; turns--) await new Promise(setImmediate);
      };
      try {
        await run({ witness, pick, pause, any: () => nodes[pick(nodes.length)] ?? witness });
      } catch (cause) {
        throw new Error(`seed ${seed}: ${cause instanceof Error ? cause.message : cause}`, { cause });
      }
    }
  }, 120_000);
}

/** The call was lost, or never sent behind one that was. */
function isLost(error: unknown): boolean {
  const code: unknown = Reflect.get(Object(error), "code");
  return code === "ENGINE_TIMEOUT" || code === "ENGINE_UNAVAILABLE";
}

/** A visitor signs in on some node; undefined: refused, or unknown. */
async function signIn({ any, witness }: Stage, user: string): Promise<Sid | undefined> {
  const from = await stored(witness, { cart: 1 });
  const node = any();
  const to = makeSid(from);
  try {
    const loaded = await loadedOf(node, from);
    const { outcome } = await node.login(from, loaded, to, { user, attributes: loaded.record.attributes });
    return outcome === "committed" ? to : undefined;
  } catch (error) {
    if (isLost(error) || Reflect.get(Object(error), "code") === "TOO_MANY_SESSIONS") return undefined;
    throw error;
  }
}

/** All live sessions of a user, as the engine has them. */
async function aliveOf(witness: Sessions, user: string): Promise<Set<string>> {
  const keys = new Set<string>();
  for await (const { key, record } of witness.list()) if (record.header.user === user) keys.add(key);
  return keys;
}

for (const [how, faults] of [["calls delayed", sound] as const, ["calls lost", lossy] as const]) {
  schedules(
    `RACE: endAll against sign-ins, moves and slow requests, ${how}: before it or after it, never half`,
    faults,
    async (stage) => {
      const { witness, any, pause, pick } = stage;
      const before = await Promise.all([1, 2].map(() => signIn(stage, "ann")));
      const bob = await signIn({ ...stage, any: () => witness }, "bob");
      let over = false;
      const late = new Set<string>();
      const signingIn = Array.from({ length: 2 + pick(2) }, async () => {
        await pause();
        const beganAfter = over;
        const sid = await signIn(stage, "ann");
        if (sid !== undefined && beganAfter) late.add(sid);
      });
      const slow = before.map(async (sid) => {
        if (sid === undefined) return;
        try {
          const node = any();
          const loaded = await node.load(sid);
          await pause();
          if (loaded === undefined) return;
          if (pick(2) === 0) await saveOf(node, loaded, { a: 1 });
          else await node.rotate(sid, loaded, makeSid(sid), 10_000);
        } catch (error) {
          if (!isLost(error)) throw error;
        }
      });
      const ending = pause()
        .then(() => any().endAll("ann"))
        .then(
          () => true,
          (error: unknown) => {
            if (!isLost(error)) throw error;
            return false;
          },
        );
      const ended = await ending;
      over = true;
      if (ended) for (const sid of before) if (sid !== undefined) expect(await witness.load(sid)).toBeUndefined();
      await Promise.all([...signingIn, ...slow]);
      for (const sid of late) expect(await witness.load(sid)).toBeDefined();
      if (bob !== undefined) expect(await valuesOf(witness, bob)).toEqual({ cart: 1 });
      // Whoever is alive is in the index, so that one more endAll leaves nobody, whatever was lost before.
      await witness.endAll("ann");
      for (let turns = 30; turns > 0; turns--) await new Promise(setImmediate);
      await witness.endAll("ann");
      expect(await aliveOf(witness, "ann")).toEqual(new Set());
    },
  );
}

for (const overMax of ["refuse", "end-oldest"] as const) {
  schedules(
    `RACE: maxPerUser 3, ${overMax}: 12 parallel sign-ins on 4 nodes, never more than 3 after the last response`,
    sound,
    async (stage) => {
      const { witness, pause } = stage;
      const sids = await Promise.all(
        Array.from({ length: 12 }, async () => {
          await pause();
          return signIn(stage, "ann");
        }),
      );
      const alive = await aliveOf(witness, "ann");
      expect(alive.size).toBe(3);
      const known = await Promise.all(sids.map(async (sid) => sid !== undefined && (await witness.load(sid)) !== undefined));
      expect(known.filter(Boolean)).toHaveLength(3);
      expect(await witness.of("ann")).toHaveLength(3);
    },
    { maxPerUser: 3, overMax },
  );
}

schedules("RACE: rotations, saves and ends by whichever id: no lost update, and the end is final", sound, async (stage) => {
  const { witness, any, pause, pick } = stage;
  const ids = [await stored(witness, { a: 0, b: 0 })];
  const [first] = ids;
  if (first === undefined) throw new Error("no id");
  const rotating = async () => {
    const node = any();
    const loaded = await loadedOf(node, first);
    await pause();
    const to = makeSid(first);
    // Of two at once one moves it, and the other is told where it is.
    const moved = await node.rotate(first, loaded, to, 10_000);
    if (moved.outcome === "committed" && node.isCurrent(to, moved.loaded)) ids.push(to);
  };
  const saving = async (name: "a" | "b") => {
    await pause();
    const node = any();
    const loaded = await loadedOf(node, first);
    await pause();
    expect(await saveOf(node, loaded, { [name]: 1 })).toMatchObject({ outcome: "committed" });
  };
  await Promise.all([rotating(), rotating(), saving("a"), saving("b")]);
  expect(ids.length).toBeGreaterThan(1);
  for (const id of ids) expect(await valuesOf(witness, id)).toEqual({ a: 1, b: 1 });
  const late = await loadedOf(any(), ids[pick(ids.length)] ?? first);
  const node = any();
  await Promise.all([any().end(ids[pick(ids.length)] ?? first), pause().then(() => saveOf(node, late, { a: 2 }))]);
  for (const id of ids) expect(await witness.load(id)).toBeUndefined();
});
