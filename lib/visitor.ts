/**
 * Whose session a request works on, as its front end knows it: the seam between front ends, which say it, and `hold` and `attach`,
 * which ask. A front end says it with a function, since the id may change while the request lasts (regenerate).
 */
import { hidden } from "./hidden.js";
import { Session } from "./session/session.js";

const known = hidden<() => string | undefined>();

/** Said by front ends of what their users have in hand, or what that leads to: the request, Koa's context. */
export function tellVisitor(whose: object, sid: () => string | undefined): void {
  known.set(whose, sid);
}

/** The session id of a request, or of what belongs to one (its session object, its response, Koa's context), or the id itself; undefined: nobody knows one. */
export function visitorOf(whose: unknown): string | undefined {
  if (typeof whose === "string") return whose;
  if (typeof whose !== "object" || whose === null) return undefined;
  if (whose instanceof Session) return Session.sidOf(whose);
  const told = known.get(whose)?.();
  if (told !== undefined) return told;
  // express-session keeps it by that name; telling costs its requests nothing so.
  const sessionID: unknown = Reflect.get(whose, "sessionID");
  return typeof sessionID === "string" ? sessionID : visitorOf(requestOf(whose));
}

/** Never a string: a request's own text is no session id. */
function requestOf(whose: object): object | undefined {
  const req: unknown = Reflect.get(whose, "req");
  return typeof req === "object" && req !== null && req !== whose ? req : undefined;
}
