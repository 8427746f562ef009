/**
 * express-session sends the head of a response and its body but for the last byte while the store saves, and that byte when it has: two
 * packets, two system calls. A response of which nothing is sent yet is corked meanwhile, and goes out as one.
 */
interface Corkable {
  readonly headersSent: boolean;
  cork(): void;
  uncork(): void;
}

/** Gives back `saving`. The callback of the host must be called in a microtask of its settling: what it sends goes along. */
export function inOnePacket(session: object, saving: Promise<void>): Promise<void> {
  const response = responseOf(session);
  if (response === undefined || response.headersSent) return saving;
  response.cork();
  const uncork = () => process.nextTick(() => response.uncork());
  saving.then(uncork, uncork);
  return saving;
}

/** What the store is given may be of any make: plain data, Socket.IO's, a script's. */
function responseOf(session: object): Corkable | undefined {
  const req: unknown = Reflect.get(session, "req");
  const res: unknown = typeof req === "object" && req !== null ? Reflect.get(req, "res") : undefined;
  return isCorkable(res) ? res : undefined;
}

function isCorkable(res: unknown): res is Corkable {
  return typeof res === "object" && res !== null && "cork" in res && "uncork" in res && "headersSent" in res;
}
