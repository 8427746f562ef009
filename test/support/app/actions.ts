/**
 * What the test application does, told once for every host. Each action is a route; `?gate=` makes its request wait, after its session
 * was loaded, until the test opens that gate. The answer is the session's attributes as the request sees them in the end.
 */
import type { Gates } from "./gates.js";

/** One request with its session, whatever the host. */
export interface Visit {
  readonly query: URLSearchParams;
  /** The host's session object as it is now. */
  session(): object;
  /** Its attributes, as plain data. */
  attributes(): Record<string, unknown>;
  save(): Promise<void>;
  destroy(): Promise<void>;
  regenerate(): Promise<void>;
  reload(): Promise<void>;
  /** `req.session = null`, `ctx.session = null` */
  unset(): void;
  setMaxAge(ms: number): void;
}

type Action = (visit: Visit) => Promise<void> | void;

export const ACTIONS: Readonly<Record<string, Action>> = {
  read() {},

  /** Acknowledged means stored: saved before the answer. */
  async set(visit) {
    put(visit);
    await visit.save();
  },
  /** Left to the host to save when the request ends. */
  "set-lazily": put,
  async unset(visit) {
    Reflect.deleteProperty(visit.session(), nameOf(visit));
    await visit.save();
  },

  /** The first save isn't awaited, and the host saves once more when the request ends. */
  "save-unawaited"(visit) {
    put(visit);
    visit.save().catch(() => {});
    Reflect.set(visit.session(), nameOf(visit), `${valueIn(visit)}, again`);
  },
  async "save-twice"(visit) {
    put(visit);
    await visit.save();
    Reflect.set(visit.session(), nameOf(visit), `${valueIn(visit)}, again`);
  },

  /** A new id for a new user. */
  async "sign-in"(visit) {
    await visit.regenerate();
    put(visit);
    await visit.save();
  },
  /** Regenerates and carries everything over, as careless applications do. */
  async regenerate(visit) {
    const kept = visit.attributes();
    await visit.regenerate();
    Object.assign(visit.session(), kept);
    await visit.save();
  },
  "sign-out": (visit) => visit.destroy(),
  /** With `name`: of what it changed before nothing is stored. */
  "unset-session"(visit) {
    if (visit.query.has("name")) put(visit);
    visit.unset();
  },

  reload: (visit) => visit.reload(),
  async "change-reload"(visit) {
    put(visit);
    await visit.reload();
  },
  "max-age"(visit) {
    visit.setMaxAge(Number(visit.query.get("ms")));
  },
  fail() {
    throw new Error("the route's own error");
  },
};

/** Runs an action; resolves with what the request answers. */
export async function run(action: Action, visit: Visit, gates: Gates): Promise<Record<string, unknown>> {
  await gates.pass(visit.query.get("gate"));
  await action(visit);
  return visit.attributes();
}

function put(visit: Visit): void {
  Reflect.set(visit.session(), nameOf(visit), valueIn(visit));
}
function nameOf({ query }: Visit): string {
  return query.get("name") ?? "name";
}
function valueIn({ query }: Visit): string {
  return query.get("value") ?? "";
}
