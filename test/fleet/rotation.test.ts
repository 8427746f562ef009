/**
 * Keys are rotated under load, the nodes of a fleet updated one after another: nobody is logged out, no request fails, and no record is
 * ever written with a key that some node lacks; nor, once a rotation is through, with an older one.
 */
import { memoryEngine } from "anynode/memory";
import type { KeyringEntry } from "../../lib/session/keyring.js";
import type { Sessions } from "../../lib/sessions.js";
import { aNode, loadedOf, saveOf, stored, valuesOf } from "../support/a-node.js";
import { engineDouble } from "../support/engine-double.js";
import { faultyEngine, seeded } from "../support/faulty-engine.js";
import { keyNamed } from "../support/keys.js";
import { manualClock } from "../support/manual-clock.js";

const NODES = 4;
const VISITORS = 12;
const ROTATIONS = 10;
const SEEDS = process.env["ANYNODE_FULL"] === "1" ? 20 : 2;

/** What a body was sealed with; "plain" if it wasn't. */
function sealedWith(body: Buffer): string {
  return body[0] === 2 ? body.toString("latin1", 3, 3 + (body[2] ?? 0)) : "plain";
}

function stage(seed: number) {
  const clock = manualClock();
  const memory = memoryEngine({ clock });
  const random = seeded(seed);
  const nodes: Sessions[] = [];
  /** Closed, but still busy with its last requests. */
  const leaving = new Set<Sessions>();
  const written: string[] = [];
  const faults: string[] = [];

  const watch = (body: Buffer) => {
    const id = sealedWith(body);
    written.push(id);
    for (const node of [...nodes, ...leaving]) {
      if (!node.keyring.ids.includes(id)) faults.push(`${id} is written, and a node lacks it`);
    }
  };
  const { engine } = engineDouble(memory, {
    create: (key, body, deadlines, keep) => {
      watch(body);
      return memory.create(key, body, deadlines, keep);
    },
    commit: (key, expected, body, deadlines, keep) => {
      watch(body);
      return memory.commit(key, expected, body, deadlines, keep);
    },
  });

  const start = async (keyring: readonly KeyringEntry[]) => {
    const node = aNode(faultyEngine(engine, random, { turns: 3, lost: 0 }), { clock, keyring });
    await node.ready();
    return node;
  };
  const pick = (most: number) => Math.floor(random() * most);

  /** Requests go on and on, until told to stop. */
  let running = true;
  const visitor = async (sid: string) => {
    for (let n = 1; running; n++) {
      for (let turns = 1 + pick(4); turns > 0; turns--) await new Promise(setImmediate);
      const node = nodes[pick(nodes.length)];
      if (node === undefined) continue;
      try {
        const loaded = await node.load(sid);
        if (loaded === undefined) faults.push("logged out");
        else if (n % 2 === 0) await saveOf(node, loaded, { n });
      } catch (error) {
        faults.push(String(error));
      }
    }
  };
  return { clock, nodes, leaving, written, faults, start, pick, visitor, stop: () => (running = false) };
}

async function rotated(seed: number, first: readonly KeyringEntry[]): Promise<void> {
  const on = stage(seed);
  try {
    await rotations(on, first);
  } finally {
    on.stop();
  }
}

async function rotations(
  { clock, nodes, leaving, written, faults, start, pick, visitor, stop }: ReturnType<typeof stage>,
  first: readonly KeyringEntry[],
) {
  for (let i = 0; i < NODES; i++) nodes.push(await start(first));
  const [witness] = nodes;
  if (witness === undefined) throw new Error("no node");
  const sids = await Promise.all(Array.from({ length: VISITORS }, () => stored(witness, { mine: 1 })));
  const visits = Promise.all(sids.map(visitor));

  let keyring = first;
  for (let rotation = 1; rotation <= ROTATIONS; rotation++) {
    const id = `k${rotation}`;
    keyring = [keyNamed(id), ...keyring];
    for (let i = 0; i < NODES; i++) {
      const node = nodes[i];
      if (node === undefined) throw new Error("no node");
      // Every other rotation comes with a rolling restart instead.
      if (rotation % 2 === 1) node.keyring.replace(keyring);
      else {
        leaving.add(node);
        nodes[i] = await start(keyring);
        await node.drain();
      }
      for (let step = 1 + pick(4); step > 0; step--) await clock.advance(250);
    }
    // A node that left has all but a lease for its last requests.
    if (rotation % 2 === 0) await clock.advance(8_500);
    leaving.clear();
    await clock.advance(3_000);
    expect([rotation, faults, nodes.map((node) => node.keyring.primary)]).toEqual([rotation, [], nodes.map(() => id)]);
    // From here on nothing is written with an older key.
    written.length = 0;
    await clock.advance(2_000);
    expect(new Set(written)).toEqual(new Set([id]));
  }
  stop();
  await visits;
  expect(faults).toEqual([]);
  for (const sid of sids) for (const node of nodes) expect(await valuesOf(node, sid)).toMatchObject({ mine: 1 });
  const [last] = nodes;
  if (last === undefined) throw new Error("no node");
  for (const sid of sids) await saveOf(last, await loadedOf(last, sid), { done: 1 });
  expect(new Set(written)).toEqual(new Set([`k${ROTATIONS}`]));
}

for (let seed = 1; seed <= SEEDS; seed++) {
  test(`seed ${seed}: ${ROTATIONS} rotations, by replace() and by rolling restarts: 0 logouts, 0 errors`, () =>
    rotated(seed, [keyNamed("k0")]));
  test(`seed ${seed}: a fleet without keys gets them, and no request notices`, () => rotated(100 + seed, ["plain"]));
}
