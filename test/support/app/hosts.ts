/** The hosts that the test application runs in, and in what they differ: a table, so that no test hides it in a branch. */
import type { RequestListener } from "node:http";
import type { Sessions } from "anynode";
import { expressApp, nativeExpressApp } from "./express.js";
import type { Gates } from "./gates.js";
import type { HostOptions } from "./host.js";
import { koaApp, nativeKoaApp } from "./koa.js";

export interface Host {
  readonly name: "express4" | "express5" | "koa" | "native express4" | "native express5" | "native koa";
  app(sessions: Sessions, gates: Gates, options: HostOptions): RequestListener;
  /** `session.reload()` exists. */
  readonly reloads: boolean;
  /** The status of a reload of a session that was ended meanwhile: express-session has no status for it. */
  readonly reloadOfEnded: 401 | 500;
  /** The options resave, saveUninitialized and unset exist. Without them: unset always ends, an empty new session is never stored. */
  readonly expressOptions: boolean;
  /** A request that changed nothing extends the session's life. (koa-session has no touch; ours touches those without maxAge.) */
  readonly touchesUnchanged: boolean;
  /** A save that fails when the request ends becomes the answer's status. (express-session has sent its headers by then: 200.) */
  readonly lateFailureShows: boolean;
  /** The cookie is removed from the browser on sign-out. */
  readonly clearsCookie: boolean;
}

const EXPRESS = {
  reloads: true,
  reloadOfEnded: 500,
  expressOptions: true,
  touchesUnchanged: true,
  lateFailureShows: false,
  clearsCookie: false,
} as const;

const NATIVE = { ...EXPRESS, reloadOfEnded: 401, lateFailureShows: true, clearsCookie: true } as const;

export const HOSTS: readonly Host[] = [
  { name: "express4", app: (sessions, gates, options) => expressApp(4, sessions, gates, options), ...EXPRESS },
  { name: "express5", app: (sessions, gates, options) => expressApp(5, sessions, gates, options), ...EXPRESS },
  { name: "native express4", app: (sessions, gates, options) => nativeExpressApp(4, sessions, gates, options), ...NATIVE },
  { name: "native express5", app: (sessions, gates, options) => nativeExpressApp(5, sessions, gates, options), ...NATIVE },
  {
    name: "koa",
    app: koaApp,
    reloads: false,
    reloadOfEnded: 500,
    expressOptions: false,
    touchesUnchanged: false,
    lateFailureShows: true,
    clearsCookie: true,
  },
  {
    name: "native koa",
    app: nativeKoaApp,
    reloads: true,
    reloadOfEnded: 401,
    expressOptions: false,
    touchesUnchanged: true,
    lateFailureShows: true,
    clearsCookie: true,
  },
];

export function hostNamed(name: string): Host {
  const host = HOSTS.find((one) => one.name === name);
  if (host === undefined) throw new Error(`There is no host "${name}".`);
  return host;
}
