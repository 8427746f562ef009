/**
 * A seeded engine double for fleets: each call is delayed and so reordered. Some requests are lost (not executed), some replies are
 * (executed), and some requests are executed only after their caller gave up; all reject with ENGINE_TIMEOUT, as a real network makes
 * them look. One seed, one schedule: a failure can be replayed.
 */
import type { Engine } from "../../lib/engines/engine.js";
import { AnynodeError } from "../../lib/errors.js";

/** Numbers from 0 to 1, the same ones for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export interface Faults {
  /** How many turns of the event loop a request, and a reply, may take. */
  readonly turns: number;
  /** The share of calls that are lost, or come too late, a third each way. */
  readonly lost: number;
}

const VERBS: ReadonlySet<PropertyKey> = new Set(["read", "create", "commit", "touch", "end", "regenerate", "attach", "detach"]);

export function faultyEngine(sound: Engine, random: () => number, { turns, lost }: Faults): Engine {
  const way = async () => {
    for (let left = Math.floor(random() * (turns + 1)); left > 0; left--) await new Promise(setImmediate);
  };
  return new Proxy(sound, {
    get(target, name) {
      const verb: unknown = Reflect.get(target, name);
      if (typeof verb !== "function") return verb;
      if (!VERBS.has(name)) return verb.bind(target);
      return async (...args: unknown[]): Promise<unknown> => {
        const fate = random();
        await way();
        if (fate < lost / 3) throw timeout();
        if (fate < (2 * lost) / 3) {
          void way()
            .then(way)
            .then(() => Reflect.apply(verb, target, args));
          throw timeout();
        }
        const reply: unknown = await Reflect.apply(verb, target, args);
        await way();
        if (fate < lost) throw timeout();
        return reply;
      };
    },
  });
}

function timeout(): AnynodeError {
  return new AnynodeError("ENGINE_TIMEOUT", "Lost on the way, by the test's choice.");
}
