/** The options of the native Koa front end, with the names of koa-session's. */
import { invalid, shown } from "../options.js";
import { makeSid } from "../session/id.js";
import type { Sessions } from "../sessions.js";
import { checkCookie } from "./cookie.js";
import {
  checkSettings,
  FRONT_OPTIONS,
  type FrontOptions,
  type FrontSettings,
  frontSettingsOf,
  type Incoming,
  type Secret,
  yesOrNo,
} from "./front-options.js";
import type { KoaSession } from "./koa-object.js";
import type { CookieSettings } from "./session-cookie.js";

/** The cookie's settings stand beside the others, as in koa-session; `maxAge` is one day if left out, "session" = as long as the browser. */
export interface KoaOptions<Ctx>
  extends Omit<FrontOptions<Ctx>, "secret" | "resave">,
    Omit<CookieSettings, "maxAge" | "expires"> {
  /** Signs the cookie. Default: `app.keys`. */
  secret?: Secret | readonly Secret[] | undefined;
  /** Another name for `name`. */
  key?: string | undefined;
  maxAge?: number | "session" | undefined;
  /** Whether a request's changes are stored when its handlers are through. Default true; else only what `save`, `manuallyCommit` and the like are called for. */
  autoCommit?: boolean | undefined;
  /** Whether the cookie is set anew from time to time while its visitor comes: at most once a tenth of `maxAge`. Default false. */
  renew?: boolean | undefined;
  /** Whether a stored session may be used; if not the visitor gets a new one (event `session:invalid`). Synchronous. */
  valid?: ((ctx: Ctx, attributes: Record<string, unknown>) => unknown) | undefined;
  /** Called before a session is stored; may change it. Synchronous. */
  beforeSave?: ((ctx: Ctx, session: KoaSession) => void) | undefined;
  /** Another way for the id to travel than our cookie. Nobody verifies it but `get`. */
  externalKey?: { get(ctx: Ctx): string | undefined; set(ctx: Ctx, key: string): void } | undefined;
  /** What ids begin with. */
  prefix?: string | undefined;
  /** Taken for compatibility; there is no other way. */
  overwrite?: boolean | undefined;
  signed?: true | undefined;
}

const DAY_MS = 86_400_000;
const COOKIE = ["path", "domain", "httpOnly", "secure", "sameSite", "partitioned", "priority"] as const;
const KNOWN = [
  ...FRONT_OPTIONS.filter((name) => name !== "resave"),
  ...COOKIE,
  ...["maxAge", "key", "autoCommit", "renew", "valid", "beforeSave", "externalKey", "prefix", "overwrite", "signed"],
];

export interface KoaSettings<Ctx> extends FrontSettings<Ctx> {
  readonly options: KoaOptions<Ctx>;
  readonly commits: boolean;
  readonly renews: boolean;
}

export function koaSettingsOf<Ctx extends Incoming>(
  sessions: Sessions,
  options: KoaOptions<Ctx>,
  secret: Secret | readonly Secret[],
): KoaSettings<Ctx> {
  const { key, name = key, prefix, genid, autoCommit, renew, signed, externalKey } = options;
  if (signed !== undefined && signed !== true) throw invalid("The option signed is false; the cookie is always signed.");
  if (externalKey !== undefined && (typeof externalKey.get !== "function" || typeof externalKey.set !== "function")) {
    throw invalid(`The option externalKey is ${shown(externalKey)}; it must be an object with the functions get and set.`);
  }
  const made = prefix === undefined ? undefined : () => `${prefix}${makeSid()}`;
  const settings = frontSettingsOf(
    sessions,
    { ...options, secret, name, cookie: cookieOf(options), genid: genid ?? made },
    KNOWN,
  );
  return {
    ...settings,
    options,
    commits: autoCommit === undefined || yesOrNo("autoCommit", autoCommit),
    renews: yesOrNo("renew", renew),
  };
}

/** What stands in `cookie` counts, then what stands beside it. `secure` is as the connection is, unless said otherwise. */
function cookieOf<Ctx>(options: KoaOptions<Ctx>): CookieSettings | ((ctx: Ctx) => CookieSettings) {
  const { cookie, maxAge = DAY_MS } = options;
  const beside: CookieSettings = { secure: "auto", maxAge: maxAge === "session" ? null : maxAge };
  for (const name of COOKIE) if (options[name] !== undefined) Reflect.set(beside, name, options[name]);
  if (typeof cookie !== "function") return over(beside, cookie);
  checkSettings(beside);
  checkCookie(options.name ?? options.key ?? "sid", { ...beside, secure: true });
  return (ctx) => over(beside, cookie(ctx));
}

/** `settings` in their order, and what they leave out. */
function over(beside: CookieSettings, settings: CookieSettings = {}): CookieSettings {
  const said = Object.entries(settings).filter(([, value]) => value !== undefined);
  const left = Object.entries(beside).filter(([name]) => !said.some(([other]) => other === name));
  return Object.fromEntries([...left, ...said]);
}

/** The secrets that `app.keys` holds. */
export function keysOf(keys: unknown): string[] {
  const texts = Array.isArray(keys) ? keys.filter((key) => typeof key === "string") : [];
  if (texts.length > 0) return texts;
  throw invalid("There is no secret to sign the session's cookie with: set the option secret, or app.keys to a list of texts.");
}
