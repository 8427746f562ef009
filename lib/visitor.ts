/**
 * Whose session a request works on, as its front end knows it: the seam between front ends, which say it, and `hold` and `attach`,
 * which ask. A front end says it with a function, since the id may change while the request lasts (regenerate).
 */
const known = new WeakMap<object, () => string | undefined>();

/** Said by front ends of whatever their users have in hand: the request, the session object, Koa's context. */
export function tellVisitor(whose: object, sid: () => string | undefined): void {
  known.set(whose, sid);
}

/** The session id of a request or of a session object, or the id itself; undefined if no front end knows one. */
export function visitorOf(whose: unknown): string | undefined {
  if (typeof whose === "string") return whose;
  if (typeof whose !== "object" || whose === null) return undefined;
  const told = known.get(whose)?.();
  if (told !== undefined) return told;
  // express-session's own name for it: there also when the request began without a session, or the store wasn't asked.
  const sessionID: unknown = Reflect.get(whose, "sessionID");
  return typeof sessionID === "string" ? sessionID : undefined;
}
