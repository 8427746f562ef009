/**
 * The cookie on the wire: `name=s:<sid>.<signature>`, as express-session signs it (HMAC-SHA256), so that both read each other's. What
 * comes in is verified before anybody looks for a session, every candidate of the name; what was verified lately is known by its text.
 */
import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from "node:crypto";
import type { Sid } from "../names.js";
import { invalid } from "../options.js";
import { isSid } from "../session/id.js";
import type { SessionCookie } from "./session-cookie.js";

/** A cookie that came in and whose signature is right. */
export interface Presented {
  readonly sid: Sid;
  /** Its text, as the browser has it. */
  readonly text: string;
  /** Signed by an old secret or found under the adopted name: the browser gets a new one. */
  readonly reissue: boolean;
}

const MAX_BYTES = 4096;
const MAX_KNOWN = 10_000;
/** 32 bytes as base64 without padding. */
const SIGNATURE_LENGTH = 43;
const SPACE = 32;
const SEMICOLON = 59;
const EQUALS = 61;
const LONG_AGO = "Thu, 01 Jan 1970 00:00:00 GMT";

export class CookieSigner {
  readonly name: string;
  /** Whether browsers take a cookie of that name over secure connections alone. */
  readonly isSecure: boolean;
  readonly #adopted: string | undefined;
  readonly #secrets: readonly KeyObject[];
  readonly #known = new Map<string, Presented>();
  readonly #knownAdopted = new Map<string, Presented>();

  /** The first secret signs, all of them verify. `adopted`: another name under which a cookie counts if there is none of ours. */
  constructor(name: string, secrets: readonly (string | NodeJS.ArrayBufferView | KeyObject)[], adopted?: string) {
    this.name = name;
    this.isSecure = IS_SECURE.test(name);
    this.#adopted = adopted;
    this.#secrets = secrets.map(keyObjectOf);
  }

  /** The next verified cookie of a Cookie header, from the one numbered `nth` on: a browser may send several of one name. */
  find(header: string | undefined, nth = 0): Presented | undefined {
    if (header === undefined) return undefined;
    const own = this.#verified(header, this.name, this.#known, nth);
    if (typeof own !== "number" || this.#adopted === undefined) return typeof own === "number" ? undefined : own;
    const adopted = this.#verified(header, this.#adopted, this.#knownAdopted, own);
    return typeof adopted === "number" ? undefined : adopted;
  }

  /** The one numbered `nth`, or how many are missing to that. */
  #verified(header: string, name: string, known: Map<string, Presented>, nth: number): Presented | number {
    let left = nth;
    for (let at = placeOf(header, name, 0); at >= 0; at = placeOf(header, name, at)) {
      const text = valueAt(header, at);
      const presented = known.get(text) ?? this.#verify(text, known);
      if (presented !== undefined && left-- === 0) return presented;
    }
    return left;
  }

  #verify(text: string, known: Map<string, Presented>): Presented | undefined {
    if (text.length > MAX_BYTES) return undefined;
    const plain = decoded(text);
    const dot = plain.length - SIGNATURE_LENGTH - 1;
    if (!plain.startsWith("s:") || plain[dot] !== ".") return undefined;
    const sid = plain.slice(2, dot);
    if (!isSid(sid)) return undefined;
    const signature = Buffer.from(plain.slice(dot + 1));
    const nth = this.#secrets.findIndex((secret) => {
      const right = Buffer.from(signatureOf(sid, secret));
      return right.length === signature.length && timingSafeEqual(right, signature);
    });
    if (nth < 0) return undefined;
    const presented = { sid, text, reissue: nth > 0 || known === this.#knownAdopted };
    if (known.size >= MAX_KNOWN) known.clear();
    known.set(text, presented);
    return presented;
  }

  /**
   * The Set-Cookie line for a session. `presented`: what the browser has, whose signature needn't be made again. Throws OPTION_INVALID
   * for settings that no browser would take; those that the name rules out are left out, since a session may bring them along from a time
   * when its cookie had another name.
   */
  line(sid: Sid, cookie: SessionCookie, presented?: Presented): string {
    const known = presented?.sid === sid && !presented.reissue ? presented.text : undefined;
    return lineOf(this.name, known ?? this.#textOf(sid), cookie, cookie.expires?.toUTCString());
  }

  /** The line that makes the browser forget the cookie: it must have the same path and domain. */
  clearing(cookie: SessionCookie): string {
    return lineOf(this.name, "", cookie, LONG_AGO);
  }

  #textOf(sid: Sid): string {
    const [secret] = this.#secrets;
    if (secret === undefined) throw invalid("There is no secret to sign the session's cookie with.");
    return encodeURIComponent(`s:${sid}.${signatureOf(sid, secret)}`);
  }
}

/** Where the value of the next cookie of that name begins; -1 = there is none. */
function placeOf(header: string, name: string, from: number): number {
  for (let at = header.indexOf(name, from); at >= 0; at = header.indexOf(name, at + 1)) {
    let before = at - 1;
    while (before >= 0 && header.charCodeAt(before) === SPACE) before -= 1;
    if (before >= 0 && header.charCodeAt(before) !== SEMICOLON) continue;
    let after = at + name.length;
    while (header.charCodeAt(after) === SPACE) after += 1;
    if (header.charCodeAt(after) === EQUALS) return after + 1;
  }
  return -1;
}

function valueAt(header: string, at: number): string {
  const end = header.indexOf(";", at);
  const value = header.slice(at, end < 0 ? undefined : end).trim();
  return value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
}

function decoded(text: string): string {
  if (!text.includes("%")) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}

function signatureOf(sid: Sid, secret: KeyObject): string {
  return createHmac("sha256", secret).update(sid).digest("base64").slice(0, SIGNATURE_LENGTH);
}

function keyObjectOf(secret: string | NodeJS.ArrayBufferView | KeyObject): KeyObject {
  if (typeof secret === "string") return createSecretKey(secret, "utf8");
  return ArrayBuffer.isView(secret) ? createSecretKey(secret) : secret;
}

const IS_SECURE = /^__(host|secure)-/i;
const IS_HOST = /^__host-/i;
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const DOMAIN = /^\.?[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/i;
const PATH = /^[\u0020-\u003A\u003D-\u007E]*$/;
const SAME_SITE: ReadonlyMap<unknown, string> = new Map<unknown, string>([
  [true, "; SameSite=Strict"],
  [false, ""],
  ["auto", ""],
  ["strict", "; SameSite=Strict"],
  ["lax", "; SameSite=Lax"],
  ["none", "; SameSite=None"],
]);
const PRIORITY: ReadonlyMap<unknown, string> = new Map<unknown, string>([
  ["low", "; Priority=Low"],
  ["medium", "; Priority=Medium"],
  ["high", "; Priority=High"],
]);

/** What a cookie's name and settings say to a browser, checked. */
export function checkCookie(name: string, { path, domain, secure, sameSite, priority }: CookieShape): void {
  if (!TOKEN.test(name)) throw invalid(`"${name}" can't be the name of a cookie; use letters, digits and - _ .`);
  if (path !== undefined && !PATH.test(path)) throw invalid("cookie.path has characters that a cookie can't carry.");
  if (domain !== undefined && !DOMAIN.test(domain)) throw invalid("cookie.domain isn't a domain name.");
  if (sameSite !== undefined && !SAME_SITE.has(lower(sameSite))) {
    throw invalid('cookie.sameSite must be true, false, "lax", "strict", "none" or "auto".');
  }
  if (priority !== undefined && !PRIORITY.has(lower(priority)))
    throw invalid('cookie.priority must be "low", "medium" or "high".');
  if (IS_SECURE.test(name) && secure !== true) {
    throw invalid(`Browsers refuse a cookie named "${name}" unless it has secure: true. Set it, or choose another name.`);
  }
  if (IS_HOST.test(name) && (domain !== undefined || (path !== undefined && path !== "/"))) {
    throw invalid(`Browsers refuse a cookie named "${name}" with a domain or a path other than "/". Choose another name.`);
  }
}
interface CookieShape {
  readonly path?: string | undefined;
  readonly domain?: string | undefined;
  readonly secure?: unknown;
  readonly sameSite?: unknown;
  readonly priority?: unknown;
}

function lineOf(name: string, text: string, cookie: SessionCookie, expires: string | undefined): string {
  const { domain, path } = IS_HOST.test(name) ? { domain: undefined, path: "/" } : cookie;
  const secure = cookie.secure || IS_SECURE.test(name);
  checkCookie(name, { domain, path, secure, sameSite: cookie.sameSite, priority: cookie.priority });
  let line = `${name}=${text}`;
  if (domain) line += `; Domain=${domain}`;
  if (path) line += `; Path=${path}`;
  if (expires !== undefined) line += `; Expires=${expires}`;
  if (cookie.httpOnly) line += "; HttpOnly";
  if (secure) line += "; Secure";
  if (cookie.partitioned) line += "; Partitioned";
  line += PRIORITY.get(lower(cookie.priority)) ?? "";
  line += SAME_SITE.get(lower(cookie.sameSite)) ?? "";
  if (line.length > MAX_BYTES) {
    throw invalid(`The session's cookie has ${line.length} bytes; browsers take ${MAX_BYTES}. Shorten its name, path or id.`);
  }
  return line;
}

/** express-session takes and stores them in any case. */
function lower(setting: unknown): unknown {
  return typeof setting === "string" ? setting.toLowerCase() : setting;
}
