/** An engine with an eye on it: which verbs sessions cost, and, when told to, failing each of them. Beats and the like don't count. */
import type { Engine } from "../../lib/engines/engine.js";
import type { AnynodeError } from "../../lib/errors.js";

const VERBS: ReadonlySet<string> = new Set(["read", "fill", "create", "commit", "touch", "end", "regenerate", "list"]);

export interface WatchedEngine {
  readonly engine: Engine;
  /** The verbs since the last call, in order. */
  taken(): string[];
  /** From now on every verb on sessions is answered so; undefined: by the engine again. */
  failWith(error: AnynodeError | undefined): void;
}

export function watchedEngine(inner: Engine): WatchedEngine {
  let calls: string[] = [];
  let failure: AnynodeError | undefined;
  const engine = new Proxy(inner, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name);
      if (typeof member !== "function" || typeof name !== "string") return member;
      return (...args: unknown[]): unknown => {
        if (VERBS.has(name)) {
          // A fill is a read that also leaves word of the copy.
          calls.push(name === "fill" ? "read" : name);
          if (failure !== undefined) return Promise.reject(failure);
        }
        return Reflect.apply(member, target, args);
      };
    },
  });
  return {
    engine,
    taken() {
      const taken = calls;
      calls = [];
      return taken;
    },
    failWith(error) {
      failure = error;
    },
  };
}
