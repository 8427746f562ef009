/**
 * express-session sends the head of a response and its body but for the last byte while the store saves, and that byte when it has: two
 * packets, two system calls. A response that ends, and of which nothing is sent yet, is corked meanwhile, and goes out as one.
 */
// As it is now: an application's tests may put a fake in its place, which never runs.
const { nextTick } = process;

interface Corkable {
  readonly headersSent: boolean;
  /** Null while responses before it have the connection. */
  readonly socket: object | null;
  cork(): void;
  uncork(): void;
}

/** What express-session has the store call when it saves because the response ends. A handler's own save holds up nothing. */
const AT_THE_END = "onsave";

/** Gives back `saving`. `callback` must be called in a microtask of its settling: what it sends goes along. */
export function inOnePacket(session: object, saving: Promise<void>, callback: object | undefined): Promise<void> {
  if (typeof callback !== "function" || callback.name !== AT_THE_END) return saving;
  const response = responseOf(session);
  if (response === undefined || response.headersSent || response.socket === null) return saving;
  response.cork();
  const uncork = () => nextTick(() => response.uncork());
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
  return typeof res === "object" && res !== null && "cork" in res && "uncork" in res && "headersSent" in res && "socket" in res;
}
