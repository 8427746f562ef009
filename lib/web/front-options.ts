/**
 * The options of the native front ends, with the names of express-session's. Each check names the value, the bound and the cure. What
 * comes out is what a request needs, worked out once.
 */

import type { KeyObject } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { invalid, knownOptions, shown, whole } from "../options.js";
import type { Sessions } from "../sessions.js";
import { CookieSigner, checkCookie } from "./cookie.js";
import { type FormerStore, type Migration, migrationGiven } from "./migration.js";
import type { CookieSettings } from "./session-cookie.js";

/** A request, of whatever server: node:http, node:http2, Express. */
export interface Incoming {
  readonly headers: IncomingHttpHeaders;
  url?: string | undefined;
}

export type Secret = string | NodeJS.ArrayBufferView | KeyObject;
/** Which requests: all below a path, or those that a function picks. */
export type Route<Req> = string | ((req: Req) => boolean);

export interface FrontOptions<Req> {
  /** Signs the cookie. Of several the first signs, all verify, and a cookie signed by an old one is re-issued. */
  secret: Secret | readonly Secret[];
  /** The cookie's name. Default `__Host-sid` if `cookie.secure` is true (and no path or domain is set), else `sid`. */
  name?: string | undefined;
  /**
   * A cookie of this name counts where there is none of ours, and is re-issued as ours. Default `"connect.sid"` while `name` is left to
   * its default, so that moving from express-session logs nobody out; else none.
   */
  adopt?: string | false | undefined;
  /**
   * The store that had the sessions before, of express-session's kind (connect-redis, MemoryStore …): a session that isn't here is looked
   * up there, adopted with its attributes and cookie settings, and is ours from then on. A session that ends here is destroyed there as
   * well. While that store fails, requests whose session isn't here are answered 503: nobody is taken for a stranger. See docs/migrating.md.
   */
  migrateFrom?: FormerStore | undefined;
  /** The cookie's settings, or a function that gives them for a request. */
  cookie?: CookieSettings | ((req: Req) => CookieSettings) | undefined;
  /** Whether every response sets the cookie, so that it lasts for another `maxAge`. Default false. */
  rolling?: boolean | undefined;
  /** Whether a new session is stored although it is empty. Default false: anonymous visitors store nothing. */
  saveUninitialized?: boolean | undefined;
  /** Taken for compatibility. A session that didn't change is never written again: what others stored meanwhile stays. */
  resave?: boolean | undefined;
  /** Makes ids, instead of anynode. Keep them unguessable, of 128 random bits or more. */
  genid?: ((req: Req) => string) | undefined;
  /** The longer pair of timeouts of a `login(user, { remember: true })`, in ms. Default 14 days without a request, 30 days at the most. */
  remember?: { readonly idleMs: number; readonly absoluteMs: number } | undefined;
  /** What a request answers whose session ended while it worked on it: as if nothing was (default), or 401 (SESSION_ENDED). */
  onEnded?: 401 | "ignore" | undefined;
  /** Requests that only read: nothing is committed, no cookie is set, the session's life isn't extended. */
  readonly?: Route<Req> | readonly Route<Req>[] | undefined;
  /** Requests without any session. */
  none?: Route<Req> | readonly Route<Req>[] | undefined;
}

export const FRONT_OPTIONS = [
  ...["secret", "name", "adopt", "cookie", "rolling", "saveUninitialized", "resave", "genid", "onEnded", "readonly", "none"],
  ...["remember", "migrateFrom"],
];

export interface FrontSettings<Req> {
  readonly signer: CookieSigner;
  /** The same for all requests, or made for each. */
  readonly cookie: CookieSettings | ((req: Req) => CookieSettings);
  readonly rolling: boolean;
  readonly saveUninitialized: boolean;
  readonly genid: ((req: Req) => string) | undefined;
  readonly refusesEnded: boolean;
  readonly migration: Migration | undefined;
  readonly remember: { readonly idleMs: number; readonly absoluteMs: number };
  readonly readonly: ((req: Req) => boolean) | undefined;
  readonly none: ((req: Req) => boolean) | undefined;
}

export function frontSettingsOf<Req extends Incoming>(
  sessions: Sessions,
  options: FrontOptions<Req>,
  known: readonly string[],
): FrontSettings<Req> {
  knownOptions(options, known);
  const { cookie = {}, rolling, saveUninitialized, genid, onEnded = "ignore" } = options;
  if (typeof cookie !== "function") checkSettings(cookie);
  if (genid !== undefined && typeof genid !== "function") {
    throw invalid(`The option genid is ${shown(genid)}; it must be a function (req) => id.`);
  }
  if (onEnded !== 401 && onEnded !== "ignore")
    throw invalid(`The option onEnded is ${shown(onEnded)}; it must be 401 or "ignore".`);
  yesOrNo("resave", options.resave);
  return {
    signer: signerOf(options, cookie),
    cookie,
    rolling: yesOrNo("rolling", rolling),
    saveUninitialized: yesOrNo("saveUninitialized", saveUninitialized),
    genid,
    refusesEnded: onEnded === 401,
    migration: migrationGiven(sessions, options.migrateFrom),
    remember: rememberGiven(options.remember),
    readonly: pickerOf("readonly", options.readonly),
    none: pickerOf("none", options.none),
  };
}

const DAY_MS = 86_400_000;
const MAX_MS = 1000 * 365 * DAY_MS;

function rememberGiven(remember: FrontOptions<unknown>["remember"]): FrontSettings<unknown>["remember"] {
  if (remember === undefined) return { idleMs: 14 * DAY_MS, absoluteMs: 30 * DAY_MS };
  knownOptions(remember, ["idleMs", "absoluteMs"], "remember.");
  return {
    idleMs: whole("remember.idleMs", remember.idleMs, 1, MAX_MS),
    absoluteMs: whole("remember.absoluteMs", remember.absoluteMs, 1, MAX_MS),
  };
}

const COOKIE_SETTINGS = [
  ...["maxAge", "expires", "path", "domain", "httpOnly", "secure", "sameSite", "partitioned", "priority"],
  // What a cookie of express-session may carry besides.
  ...["signed", "originalMaxAge"],
];

export function checkSettings(cookie: CookieSettings): void {
  knownOptions(cookie, COOKIE_SETTINGS, "cookie.");
  const { maxAge, expires, secure } = cookie;
  if (maxAge !== undefined && maxAge !== null && !(typeof maxAge === "number" && maxAge >= 1)) {
    throw invalid(`The option cookie.maxAge is ${shown(maxAge)}; it must be a number of milliseconds, or null.`);
  }
  if (expires !== undefined && expires !== null && !(expires instanceof Date)) {
    throw invalid(`The option cookie.expires is ${shown(expires)}; it must be a Date. maxAge is what you want, mostly.`);
  }
  if (secure !== undefined && secure !== "auto" && typeof secure !== "boolean") {
    throw invalid(`The option cookie.secure is ${shown(secure)}; it must be true, false or "auto".`);
  }
}

function signerOf<Req>({ secret, name, adopt }: FrontOptions<Req>, cookie: CookieSettings | ((req: Req) => CookieSettings)) {
  const secrets = isList(secret) ? [...secret] : [secret];
  if (secrets.length === 0 || !secrets.every(isSecret)) {
    throw invalid(
      "The option secret is missing or empty; pass a text that nobody can guess, or several: the first signs, all verify.",
    );
  }
  const own = name ?? defaultName(typeof cookie === "function" ? {} : cookie);
  if (typeof own !== "string") throw invalid(`The option name is ${shown(own)}; it must be a text.`);
  checkCookie(own, typeof cookie === "function" ? { secure: true } : cookie);
  const adopted = adopt === undefined && name === undefined ? "connect.sid" : adopt;
  if (adopted === undefined || adopted === false || adopted === own) return new CookieSigner(own, secrets);
  checkCookie(adopted, { secure: true });
  return new CookieSigner(own, secrets, adopted);
}

function defaultName({ secure, domain, path }: CookieSettings): string {
  return secure === true && domain === undefined && (path === undefined || path === "/") ? "__Host-sid" : "sid";
}

function isList(secret: Secret | readonly Secret[]): secret is readonly Secret[] {
  return Array.isArray(secret);
}

function isSecret(secret: unknown): boolean {
  if (typeof secret === "string") return secret.length > 0;
  if (ArrayBuffer.isView(secret)) return secret.byteLength > 0;
  return typeof secret === "object" && secret !== null && Reflect.get(secret, "type") === "secret";
}

export function yesOrNo(name: string, value: boolean | undefined): boolean {
  if (value === undefined || typeof value === "boolean") return value === true;
  throw invalid(`The option ${name} is ${shown(value)}; it must be true or false.`);
}

function pickerOf<Req extends Incoming>(name: string, routes: Route<Req> | readonly Route<Req>[] | undefined) {
  if (routes === undefined) return undefined;
  const pickers = (isRoutes(routes) ? routes : [routes]).map((route): ((req: Req) => boolean) => {
    if (typeof route === "function") return route;
    if (typeof route === "string" && route.startsWith("/")) return (req) => isBelow(pathOf(req), route);
    throw invalid(
      `The option ${name} is ${shown(route)}; it must be a path like "/health", a function (req) => boolean, or a list of them.`,
    );
  });
  return (req: Req) => pickers.some((picks) => picks(req));
}
function isRoutes<Req>(routes: Route<Req> | readonly Route<Req>[]): routes is readonly Route<Req>[] {
  return Array.isArray(routes);
}

/** The path that the browser asked for, wherever in the application the middleware is mounted. */
export function pathOf(req: Incoming): string {
  const original: unknown = Reflect.get(req, "originalUrl");
  const url = typeof original === "string" ? original : (req.url ?? "/");
  const end = url.search(/[?#]/);
  const path = end < 0 ? url : url.slice(0, end);
  // An absolute URL, as proxies send it.
  return path.startsWith("/") ? path : path.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/]*/i, "") || "/";
}

/** Whether a path is this one or below it, as browsers match a cookie's path. */
export function isBelow(path: string, above: string): boolean {
  return path.startsWith(above) && (path.length === above.length || above.endsWith("/") || path[above.length] === "/");
}
