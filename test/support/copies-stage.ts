/** Nodes that read from copies, on one engine in memory, each over a wire that the test holds up where it wants to. */
import type { Engine } from "../../lib/engines/engine.js";
import { AnynodeError } from "../../lib/errors.js";
import type { Sid } from "../../lib/names.js";
import { textsOf } from "../../lib/session/attributes.js";
import { makeSid } from "../../lib/session/id.js";
import type { Sessions } from "../../lib/sessions.js";
import { aNode, loadedOf, saveOf, valuesOf } from "./a-node.js";
import { HeldWire, settled } from "./held-wire.js";
import { CopiesMedium } from "./leased-engine.js";
import { type ManualClock, manualClock } from "./manual-clock.js";

export interface StagedNode {
  readonly sessions: Sessions;
  readonly wire: HeldWire;
  /** `v` of the session, as this node serves it now. */
  v(): Promise<unknown>;
  set(v: number): Promise<unknown>;
}
export interface CopiesStage {
  readonly clock: ManualClock;
  readonly medium: CopiesMedium;
  readonly sid: Sid;
  node(front?: (engine: Engine) => Engine): Promise<StagedNode>;
  /** How far the engine's clock is ahead. */
  jump(ms: number): void;
}

/** Up for longer than any doubt lasts, with a session of `v: 1`. */
export async function copiesStage(count = 2): Promise<CopiesStage & { readonly nodes: readonly StagedNode[] }> {
  const clock = manualClock();
  let jumped = 0;
  const medium = new CopiesMedium(() => clock.now() + jumped);
  const sid = makeSid();
  const node = async (front: (engine: Engine) => Engine = (engine) => engine): Promise<StagedNode> => {
    const wire = new HeldWire();
    const sessions = aNode(front(medium.engine(wire)), { clock, keyring: ["plain"] });
    await sessions.ready();
    return {
      sessions,
      wire,
      v: async () => (await valuesOf(sessions, sid))?.["v"],
      set: async (v) => saveOf(sessions, await loadedOf(sessions, sid), { v }),
    };
  };
  const nodes: StagedNode[] = [];
  for (let i = 0; i < count; i++) nodes.push(await node());
  await nodes[0]?.sessions.create(sid, textsOf({ v: 1 }));
  await clock.advance(3_000);
  const jump = (ms: number) => {
    jumped += ms;
  };
  return { clock, medium, sid, node, nodes, jump };
}

/** The first `count` nodes; fails if there are fewer. */
export async function twoNodes() {
  const stage = await copiesStage(2);
  const [a, b] = stage.nodes;
  if (a === undefined || b === undefined) throw new Error("no nodes");
  return { ...stage, a, b };
}

/** Whether a promise has settled by now. */
export async function isDone(work: Promise<unknown>): Promise<boolean> {
  let done = false;
  const over = () => {
    done = true;
  };
  work.then(over, over);
  await settled();
  return done;
}

/** An engine whose next call of a verb is given up at once, and runs when the test says so. */
export function givingUp(verb: "commit" | "end") {
  let armed = false;
  let late = async (): Promise<void> => {};
  const front = (engine: Engine): Engine =>
    new Proxy(engine, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name);
        if (name !== verb || typeof member !== "function") return member;
        return async (...args: unknown[]): Promise<unknown> => {
          if (!armed) return Reflect.apply(member, target, args);
          armed = false;
          late = async () => void (await Reflect.apply(member, target, args));
          throw new AnynodeError("ENGINE_TIMEOUT", "given up");
        };
      },
    });
  const arm = () => {
    armed = true;
  };
  return { front, arm, run: () => late() };
}
