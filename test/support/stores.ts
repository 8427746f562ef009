/** What tests of AnynodeStore start from: stores on a medium of their own, each as on a node of its own, and what requests do with them. */
import { AnynodeStore } from "anynode/express-session";
import type session from "express-session";
import { type AnynodeOptions, anynode, type EventMap } from "../../lib/index.js";
import type { Medium, MediumKind } from "./media.js";
import { watchedEngine } from "./watched-engine.js";

/** Prepares a medium for each test; gives a way to open stores on it. */
export function storesOn(kind: MediumKind) {
  let medium: Medium;
  const opened: { close(): Promise<void> }[] = [];
  beforeAll(kind.start);
  afterAll(kind.stop);
  beforeEach(async () => {
    medium = await kind.medium();
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((one) => one.close()));
    await medium.remove();
  });

  return function newStore(options: AnynodeOptions = {}) {
    const watched = watchedEngine(medium.engine());
    const sessions = anynode({ keyring: ["plain"], ...options, engine: watched.engine });
    opened.push(sessions);
    const conflicts: EventMap["conflict"][] = [];
    const dropped: EventMap["write-dropped"][] = [];
    sessions.on("conflict", (event) => conflicts.push(event));
    sessions.on("write-dropped", (event) => dropped.push(event));
    return { store: new AnynodeStore(sessions), sessions, watched, conflicts, dropped };
  };
}

/** A script's plain data. */
export const data = (attributes: object, cookie: object = {}) => ({ cookie, ...attributes });

/** As a script calls it: applications declare what their sessions hold, scripts pass what they like. */
export function set(store: AnynodeStore, sid: string, plain: object): Promise<void> {
  return Reflect.apply(store.set, store, [sid, plain]);
}
export function touch(store: AnynodeStore, sid: string, plain: object): Promise<void> {
  return Reflect.apply(store.touch, store, [sid, plain]);
}

/** What a request of the host has: a Session object of that id. */
export async function visit(store: AnynodeStore, sid: string): Promise<session.Session> {
  const found = await store.get(sid);
  if (found === undefined) throw new Error(`no session ${sid}`);
  const made: unknown = Reflect.apply(store.createSession, store, [{ sessionID: sid, sessionStore: store }, found]);
  if (!isSession(made)) throw new Error("no Session");
  return made;
}

function isSession(value: unknown): value is session.Session {
  return typeof value === "object" && value !== null && "cookie" in value && "save" in value;
}
