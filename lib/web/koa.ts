/**
 * Sessions for Koa: `app.use(session(sessions, { secret }))`. The same `ctx.session` as koa-session's, with promise G4: what a request
 * changed is stored before Koa responds, and if that fails the middleware throws.
 */
import type { IncomingHttpHeaders } from "node:http";
import type { Sid } from "../names.js";
import { invalid, shown } from "../options.js";
import type { AttributeTexts } from "../session/attributes.js";
import { makeSid } from "../session/id.js";
import { Sessions } from "../sessions.js";
import {
  FRONT_OPTIONS,
  type FrontOptions,
  type FrontSettings,
  frontSettingsOf,
  isBelow,
  pathOf,
  type Secret,
  yesOrNo,
} from "./front-options.js";
import { HeldResponse, isHoldable } from "./held-response.js";
import { KoaSession } from "./koa-object.js";
import { type Carrier, type Host, Lifecycle } from "./lifecycle.js";
import type { CookieSettings } from "./session-cookie.js";

export type { FrontOptions, Route, Secret } from "./front-options.js";
export { KoaSession } from "./koa-object.js";
export type { CookieSettings } from "./session-cookie.js";

/** Where a context keeps its session. */
const HOST = Symbol("anynode");

/** What this needs of Koa's context. */
export interface Context {
  /** @internal */
  [HOST]?: { readonly shown: object | null; put(value: unknown): void };
  readonly headers: IncomingHttpHeaders;
  readonly res: object;
  readonly app: { readonly keys?: unknown; emit(event: string, ...args: unknown[]): boolean };
  readonly secure: boolean;
  url: string;
  status: number;
  body: unknown;
  onerror(error: Error): void;
  append(name: string, value: string): void;
}

/** The cookie's settings stand beside the others, as in koa-session; `maxAge` is one day if left out, "session" = as long as the browser. */
export interface KoaOptions<Ctx>
  extends Omit<FrontOptions<Ctx>, "secret" | "resave">,
    Omit<CookieSettings, "maxAge" | "expires"> {
  /** Signs the cookie. Default: `app.keys`. */
  secret?: Secret | readonly Secret[] | undefined;
  /** Another name for `name`. */
  key?: string | undefined;
  maxAge?: number | "session" | undefined;
  /** Whether a request's changes are stored when its handlers are through. Default true; else see `session.manuallyCommit()`. */
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

export type Middleware<Ctx> = (ctx: Ctx, next: () => Promise<unknown>) => Promise<unknown>;

const DAY_MS = 86_400_000;
const COOKIE = ["path", "domain", "httpOnly", "secure", "sameSite", "partitioned", "priority"] as const;
const KNOWN = [
  ...FRONT_OPTIONS.filter((name) => name !== "resave"),
  ...COOKIE,
  ...["maxAge", "key", "autoCommit", "renew", "valid", "beforeSave", "externalKey", "prefix", "overwrite", "signed"],
];

interface KoaSettings<Ctx> extends FrontSettings<Ctx> {
  readonly options: KoaOptions<Ctx>;
  readonly commits: boolean;
  readonly renews: boolean;
}

/** The middleware. Throws OPTION_INVALID for options that can't work. A context that has a session of ours already keeps it. */
export function session<Ctx extends Context = Context>(sessions: Sessions, options: KoaOptions<Ctx> = {}): Middleware<Ctx> {
  if (!(sessions instanceof Sessions)) {
    throw invalid(`The first argument is ${shown(sessions)}; pass the sessions that anynode() made, then the options.`);
  }
  let settings = options.secret === undefined ? undefined : koaSettingsOf(options, options.secret);
  return function anynodeSession(ctx, next) {
    settings ??= koaSettingsOf(options, keysOf(ctx.app.keys));
    if (ctx[HOST] !== undefined || settings.none?.(ctx)) return next();
    const host = new KoaHost(sessions, settings, ctx);
    const { path } = host.lifecycle.cookieSettings;
    if (path !== undefined && path !== "/" && !isBelow(pathOf(ctx), path)) return next();
    return host.handle(next);
  };
}

function koaSettingsOf<Ctx extends Context>(options: KoaOptions<Ctx>, secret: Secret | readonly Secret[]): KoaSettings<Ctx> {
  const { key, name = key, cookie = cookieOf(options), prefix, genid, autoCommit, renew, signed, externalKey } = options;
  if (signed !== undefined && signed !== true) throw invalid("The option signed is false; the cookie is always signed.");
  if (externalKey !== undefined && (typeof externalKey.get !== "function" || typeof externalKey.set !== "function")) {
    throw invalid(`The option externalKey is ${shown(externalKey)}; it must be an object with the functions get and set.`);
  }
  const made = prefix === undefined ? undefined : () => `${prefix}${makeSid()}`;
  const settings = frontSettingsOf({ ...options, secret, name, cookie, genid: genid ?? made }, KNOWN);
  return {
    ...settings,
    options,
    commits: autoCommit === undefined || yesOrNo("autoCommit", autoCommit),
    renews: yesOrNo("renew", renew),
  };
}

/** `secure` is as the connection is, unless said otherwise. */
function cookieOf<Ctx>(options: KoaOptions<Ctx>): CookieSettings {
  const settings: CookieSettings = { secure: "auto", maxAge: options.maxAge === "session" ? null : (options.maxAge ?? DAY_MS) };
  for (const name of COOKIE) if (options[name] !== undefined) Reflect.set(settings, name, options[name]);
  return settings;
}

function keysOf(keys: unknown): string[] {
  const texts = Array.isArray(keys) ? keys.filter((key) => typeof key === "string") : [];
  if (texts.length > 0) return texts;
  throw invalid("There is no secret to sign the session's cookie with: set the option secret, or app.keys to a list of texts.");
}

/** Shared by all contexts. */
const SESSION: PropertyDescriptor = {
  get(this: Context) {
    return this[HOST]?.shown;
  },
  set(this: Context, value: unknown) {
    this[HOST]?.put(value);
  },
  configurable: true,
};

class KoaHost<Ctx extends Context> implements Host<KoaSession> {
  readonly lifecycle: Lifecycle<Ctx, KoaSession>;
  readonly own = undefined;
  readonly endsUnset = true;
  readonly renews: boolean;
  readonly carrier: Carrier | undefined;
  readonly #ctx: Ctx;
  readonly #settings: KoaSettings<Ctx>;
  #shown: KoaSession | undefined;

  constructor(sessions: Sessions, settings: KoaSettings<Ctx>, ctx: Ctx) {
    this.#ctx = ctx;
    this.#settings = settings;
    this.renews = settings.renews;
    const { externalKey } = settings.options;
    this.carrier = externalKey && { get: () => externalKey.get(ctx), set: (sid) => externalKey.set(ctx, sid) };
    this.lifecycle = new Lifecycle(sessions, settings, this, ctx);
  }

  async handle(next: () => Promise<unknown>): Promise<void> {
    const ctx = this.#ctx;
    const opening = this.lifecycle.open();
    if (opening instanceof Promise) await opening;
    this.#validate();
    ctx[HOST] = this;
    Object.defineProperty(ctx, "session", SESSION);
    if (this.#settings.readonly?.(ctx)) this.lifecycle.readonly = true;
    if (this.lifecycle.readonly || !this.#settings.commits) {
      await next();
      return;
    }
    // For handlers that answer by ctx.res, and for what an error handler further out changes.
    const held = isHoldable(ctx.res)
      ? new HeldResponse(ctx.res, this.lifecycle, (error) => ctx.onerror(errorOf(error)))
      : undefined;
    await next();
    try {
      const settling = this.lifecycle.settle(ctx.status);
      if (settling instanceof Promise) await settling;
    } catch (error) {
      if (held?.isWaiting) {
        // The body goes, a stream is closed; what that does to the head goes, too.
        held.reset();
        ctx.body = undefined;
        held.reset();
      }
      throw error;
    }
  }

  #validate(): void {
    const { valid } = this.#settings.options;
    const { session } = this.lifecycle;
    if (session === undefined) return;
    if (this.lifecycle.isNew) {
      if (this.lifecycle.isMissed) this.#tell("missed", undefined);
      return;
    }
    if (valid === undefined) return;
    const value = session.toJSON();
    if (valid(this.#ctx, value)) return;
    this.#tell("invalid", value);
    this.lifecycle.discard();
  }

  #tell(event: string, value: unknown): void {
    const ctx = this.#ctx;
    setImmediate(() => ctx.app.emit(`session:${event}`, { value, ctx }));
  }

  /** What `ctx.session` reads. */
  get shown(): KoaSession | null {
    return this.#shown ?? null;
  }

  /** What is assigned to `ctx.session`: null ends the session, an object gives it other attributes. */
  put(value: unknown): void {
    if (value === null) this.#shown = undefined;
    else if (typeof value !== "object") throw new TypeError("ctx.session can only be set to null or an object.");
    else if (value !== this.#shown) this.#shown = this.lifecycle.become(value);
  }

  async #commit(): Promise<void> {
    const ctx = this.#ctx;
    await this.lifecycle.settle(ctx.status);
    const { cookieLine } = this.lifecycle;
    // Else the response brings it.
    if (!this.#settings.commits && cookieLine !== undefined) ctx.append("Set-Cookie", cookieLine);
  }

  current(): unknown {
    return this.#shown;
  }

  place(session: KoaSession | undefined): void {
    this.#shown = session;
  }

  make(attributes: AttributeTexts, sid: Sid | undefined): KoaSession {
    return new KoaSession(this.lifecycle, () => this.#commit(), attributes, sid);
  }

  isMade(value: object): value is KoaSession {
    return value instanceof KoaSession;
  }

  isSecure(): boolean {
    return this.#ctx.secure;
  }

  storing(session: KoaSession): void {
    this.#settings.options.beforeSave?.(this.#ctx, session);
  }
}

function errorOf(error: unknown): Error {
  return error instanceof Error ? error : new Error("The session couldn't be stored.", { cause: error });
}
