/** An engine with some verbs of a test's own in front of a sound one, and a count of all the calls: who was asked what, how often. */
import type { Engine } from "../../lib/engines/engine.js";

export interface Double {
  readonly engine: Engine;
  /** The one behind. */
  readonly sound: Engine;
  /** How often a verb was called since the last `forget()`. */
  count(verb: keyof Engine): number;
  forget(): void;
  /** From now on these verbs stand in front of the sound ones. */
  use(verbs: Partial<Engine>): void;
}

export function engineDouble(sound: Engine, verbs: Partial<Engine> = {}): Double {
  const counts = new Map<PropertyKey, number>();
  let inFront = new Map<PropertyKey, unknown>(Object.entries(verbs));
  const engine = new Proxy(sound, {
    get(target, name) {
      const member: unknown = inFront.get(name) ?? Reflect.get(target, name);
      if (typeof member !== "function") return member;
      return (...args: unknown[]): unknown => {
        counts.set(name, (counts.get(name) ?? 0) + 1);
        return Reflect.apply(member, target, args);
      };
    },
  });
  return {
    engine,
    sound,
    count: (verb) => counts.get(verb) ?? 0,
    forget: () => counts.clear(),
    use(more) {
      inFront = new Map(Object.entries(more));
    },
  };
}

/** What waits for `passed` goes on once the test says `open()`. */
export class Gate {
  readonly passed: Promise<void>;
  open: () => void = () => {};
  constructor() {
    this.passed = new Promise((resolve) => {
      this.open = resolve;
    });
  }
}
