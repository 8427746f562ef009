/**
 * The cookie of a session as its host knows it, kept in the record's header: settings as they are, `expires` by the engine's clock.
 * `maxAge` is the session's idle timeout. Without it the cookie lasts as long as the browser, and the session for the default.
 */
import { hidden } from "../hidden.js";
import type { Header } from "../session/record.js";
import type { HeaderPatch } from "../sessions.js";

/** Plain, as JSON keeps it. `originalMaxAge` null = a browser-session cookie. */
export interface StoredCookie {
  readonly [setting: string]: unknown;
  readonly originalMaxAge: number | null;
}

/** Times are stored in six bytes; a thousand years will do. */
const MAX_MS = 1000 * 365 * 86_400_000;

/**
 * express-session's Cookie reads the clock twice when its maxAge is set: what it shows may be a little less than what was set, by a
 * millisecond or two, and more if the process was paused just then.
 */
const MAX_LOSS_MS = 100;

/**
 * What a host's cookie says, for the record's header. Takes express-session's Cookie as well as plain data, or nothing.
 * `known`: the header's text that the host's cookie was made from; a maxAge that only rounding moved away from it hasn't changed.
 */
export function patchOf(cookie: unknown, known = ""): HeaderPatch {
  const { originalMaxAge, expires, maxAge, ...settings } = plainOf(cookie);
  const saidMs = [originalMaxAge, untilMs(expires), maxAge].find((ms) => typeof ms === "number" && !Number.isNaN(ms));
  if (typeof saidMs !== "number") return { idleMs: "default", cookie: textOf(settings, null) };
  const text = textOf(settings, saidMs);
  const livesMs = text === known ? saidMs : withoutLoss(saidMs, known);
  return {
    idleMs: Math.max(1, Math.min(Math.ceil(livesMs), MAX_MS)),
    cookie: livesMs === saidMs ? text : textOf(settings, livesMs),
  };
}

function withoutLoss(saidMs: number, known: string): number {
  const { originalMaxAge: knownMs } = parsed(known);
  if (knownMs === null) return saidMs;
  const lossMs = knownMs - saidMs;
  return lossMs >= 0 && lossMs <= Math.max(2, Math.min(MAX_LOSS_MS, knownMs / 100)) ? knownMs : saidMs;
}

/** One text for the same settings, whether the host told its defaults or left them out: what hasn't changed must not look so. */
function textOf(settings: object, originalMaxAge: number | null): string {
  return JSON.stringify({ httpOnly: true, path: "/", ...settings, originalMaxAge });
}

/** The settings of a stored session; those of express-session's defaults where nothing was stored. */
export function cookieOf(header: Header): StoredCookie {
  let cookie = cookies.get(header);
  if (cookie === undefined) {
    cookie = parsed(header.cookie);
    cookies.set(header, cookie);
  }
  return cookie;
}
/** Headers are shared by the requests of a session: each is parsed once. */
const cookies = hidden<StoredCookie>();

function parsed(text: string): StoredCookie {
  if (text === "") return { originalMaxAge: null, httpOnly: true, path: "/" };
  const settings = plainOf(JSON.parse(text));
  const { originalMaxAge } = settings;
  return { ...settings, originalMaxAge: typeof originalMaxAge === "number" ? originalMaxAge : null };
}

function plainOf(cookie: unknown): Record<string, unknown> {
  if (typeof cookie !== "object" || cookie === null) return {};
  if ("toJSON" in cookie && typeof cookie.toJSON === "function") return { ...Reflect.apply(cookie.toJSON, cookie, []) };
  return { ...cookie };
}

function untilMs(expires: unknown): number | undefined {
  if (typeof expires === "string" || expires instanceof Date) return new Date(expires).getTime() - Date.now();
  return undefined;
}
