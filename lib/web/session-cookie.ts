/**
 * The cookie of a session as a handler sees it (`session.cookie`), with the members of express-session's Cookie. Its `maxAge` is the
 * session's idle timeout; without one the cookie lasts as long as the browser.
 */

/** What a cookie may be told; what is left out has its default: `{ path: "/", httpOnly: true }`. */
export interface CookieSettings {
  /** How long the session lives without a request, in ms, and the cookie without a new one. Default: a browser-session cookie. */
  maxAge?: number | null | undefined;
  expires?: Date | null | undefined;
  path?: string | undefined;
  domain?: string | undefined;
  httpOnly?: boolean | undefined;
  /** `"auto"`: as the connection is. */
  secure?: boolean | "auto" | undefined;
  /** `"auto"`: `"none"` on secure connections, else `"lax"`. */
  sameSite?: boolean | "lax" | "strict" | "none" | "auto" | undefined;
  partitioned?: boolean | undefined;
  priority?: "low" | "medium" | "high" | undefined;
}

export class SessionCookie {
  path: string | undefined;
  domain: string | undefined;
  httpOnly: boolean | undefined;
  secure: boolean | undefined;
  sameSite: boolean | "lax" | "strict" | "none" | undefined;
  partitioned: boolean | undefined;
  priority: "low" | "medium" | "high" | undefined;
  /** The `maxAge` that every request gives anew; null = a browser-session cookie. */
  originalMaxAge: number | null = null;
  _expires: Date | null = null;

  /** `isSecure`: what "auto" becomes. `leftMs`: how long the session has yet to live. */
  constructor(settings: CookieSettings & { originalMaxAge?: number | null | undefined }, isSecure: boolean, leftMs?: number) {
    const { path = "/", domain, httpOnly = true, secure, sameSite, partitioned, priority } = settings;
    this.path = path;
    this.domain = domain;
    this.httpOnly = httpOnly;
    this.secure = secure === "auto" ? isSecure : secure;
    this.sameSite = sameSite === "auto" ? (isSecure ? "none" : "lax") : sameSite;
    this.partitioned = partitioned;
    this.priority = priority;
    const lasting = lastingOf(settings);
    if (typeof lasting === "number") {
      this.maxAge = lasting;
      if (leftMs !== undefined) this._expires = new Date(Date.now() + leftMs);
    } else if (lasting instanceof Date) this.expires = lasting;
  }

  get expires(): Date | null {
    return this._expires;
  }
  /** `false`, as express-session documents it, or null: as long as the browser. */
  set expires(date: Date | false | null | undefined) {
    this._expires = date instanceof Date ? date : null;
    this.originalMaxAge = this.maxAge;
  }

  /** How long the cookie lasts from now, in ms; null = as long as the browser. */
  get maxAge(): number | null {
    return this._expires === null ? null : this._expires.getTime() - Date.now();
  }
  set maxAge(ms: number | null | undefined) {
    this._expires = typeof ms === "number" ? new Date(Date.now() + ms) : null;
    this.originalMaxAge = ms ?? null;
  }

  /** Begins its `originalMaxAge` anew. `mostMs`: how long its session lives at the most. */
  reset(mostMs = Number.POSITIVE_INFINITY): void {
    if (this.originalMaxAge !== null) this._expires = new Date(Date.now() + Math.min(this.originalMaxAge, mostMs));
  }

  /** The settings as plain data, in the order of express-session's: what both store of a cookie is one text. */
  get data() {
    const { originalMaxAge, partitioned, priority, secure, httpOnly, domain, path, sameSite } = this;
    return { originalMaxAge, partitioned, priority, expires: this._expires, secure, httpOnly, domain, path, sameSite };
  }

  toJSON(): SessionCookie["data"] {
    return this.data;
  }
}

/**
 * How long a cookie lasts, in ms or until then; null = as long as the browser. Of several settings that say so the last one counts, as it
 * does with express-session; but `originalMaxAge` says more than the `expires` that came of it.
 */
function lastingOf(settings: CookieSettings & { originalMaxAge?: number | null | undefined }): number | Date | null | undefined {
  const { maxAge, expires, originalMaxAge } = settings;
  let lasting: number | Date | null | undefined;
  for (const name of Object.keys(settings)) {
    if (name === "maxAge" && maxAge !== undefined) lasting = maxAge;
    if (name === "originalMaxAge" && originalMaxAge !== undefined) lasting = originalMaxAge;
    if (name === "expires" && expires !== undefined && typeof originalMaxAge !== "number") lasting = expires;
  }
  // An instance of a class, or what inherits from other settings.
  return lasting === undefined ? (originalMaxAge ?? maxAge ?? expires) : lasting;
}

/** A cookie from whatever the application put in the place of one, e.g. that of another session. */
export function cookieFrom(value: object, isSecure: boolean): SessionCookie {
  return value instanceof SessionCookie ? value : new SessionCookie({ ...value }, isSecure);
}
