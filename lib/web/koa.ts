/**
 * Sessions for Koa: `app.use(session(sessions, { secret }))`. The same `ctx.session` as koa-session's, with promise G4: what a request
 * changed is stored before Koa responds, and if that fails the middleware throws.
 */
import type { EventEmitter } from "node:events";
import type { IncomingHttpHeaders } from "node:http";
import type { Sid } from "../names.js";
import { invalid, shown } from "../options.js";
import type { AttributeTexts } from "../session/attributes.js";
import type { Client } from "../session/client.js";
import { Session } from "../session/session.js";
import { Sessions } from "../sessions.js";
import { tellVisitor } from "../visitor.js";
import { isBelow, pathOf } from "./front-options.js";
import { HeldResponse, isHoldable } from "./held-response.js";
import type { Carrier, Host } from "./host.js";
import { KoaSession } from "./koa-object.js";
import { type KoaOptions, type KoaSettings, keysOf, koaSettingsOf } from "./koa-options.js";
import { Lifecycle } from "./lifecycle.js";
import { addCookie, removeCookie } from "./response-head.js";
import { together } from "./together.js";
import { lastingOf } from "./watch.js";

export type { FrontOptions, Route, Secret } from "./front-options.js";
export { KoaSession } from "./koa-object.js";
export type { KoaOptions } from "./koa-options.js";
export type { FormerStore } from "./migration.js";
export type { LoginOptions, RotateOptions } from "./person-session.js";
export type { CookieSettings } from "./session-cookie.js";

/** Where a context keeps its session. */
const HOST = Symbol("anynode");

/** What this needs of Koa's context. */
export interface Context {
  /** @internal */
  [HOST]?: { readonly shown: object | null; put(value: unknown): void };
  readonly headers: IncomingHttpHeaders;
  readonly req: object;
  readonly res: object;
  readonly app: { readonly keys?: unknown; emit(event: string, ...args: unknown[]): boolean };
  readonly secure: boolean;
  readonly ip?: string;
  url: string;
  status: number;
  body: unknown;
  /** False: the handler answers by `res`. */
  respond?: boolean | undefined;
  onerror(error: Error): void;
  append(name: string, value: string): void;
}

/** What an application keeps in its sessions: `declare module "anynode/koa" { interface SessionData { views: number } }`. */
// biome-ignore lint/suspicious/noEmptyInterface: applications add to it.
export interface SessionData {}

/** What the middleware adds to a context: `new Koa<Koa.DefaultState, SessionContext>()`. */
export interface SessionContext {
  get session(): (KoaSession & Partial<SessionData>) | null;
  /** null ends the session; an object gives it other attributes. */
  set session(value: object | null);
}

export type Middleware<Ctx> = (ctx: Ctx, next: () => Promise<unknown>) => Promise<unknown>;

/** The middleware. Throws OPTION_INVALID for options that can't work. A context that has a session of ours already keeps it. */
export function session<Ctx extends Context = Context>(sessions: Sessions, options: KoaOptions<Ctx> = {}): Middleware<Ctx> {
  if (!(sessions instanceof Sessions)) {
    throw invalid(`The first argument is ${shown(sessions)}; pass the sessions that anynode() made, then the options.`);
  }
  let settings = options.secret === undefined ? undefined : koaSettingsOf(sessions, options, options.secret);
  return function anynodeSession(ctx, next) {
    settings ??= koaSettingsOf(sessions, options, keysOf(ctx.app.keys));
    if (ctx[HOST] !== undefined || settings.none?.(ctx)) return next();
    const host = new KoaHost(sessions, settings, ctx);
    const { path } = host.lifecycle.cookieSettings;
    if (path !== undefined && path !== "/" && !isBelow(pathOf(ctx), path)) return next();
    return host.handle(next);
  };
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
  readonly answered: (() => void) | undefined;
  /** The Set-Cookie line that was given to the response. */
  #given: string | undefined;
  #shown: KoaSession | undefined;

  constructor(sessions: Sessions, settings: KoaSettings<Ctx>, ctx: Ctx) {
    this.#ctx = ctx;
    this.#settings = settings;
    this.renews = settings.renews;
    const { externalKey } = settings.options;
    this.carrier = externalKey && { get: () => externalKey.get(ctx), set: (sid) => externalKey.set(ctx, sid) };
    this.answered = settings.commits ? undefined : () => this.#setCookie();
    this.lifecycle = new Lifecycle(sessions, settings, this, ctx);
  }

  async handle(next: () => Promise<unknown>): Promise<void> {
    const ctx = this.#ctx;
    const opening = this.lifecycle.open();
    await (opening instanceof Promise ? opening : new Promise<void>(together));
    this.#validate();
    ctx[HOST] = this;
    // The context, its request and its response all lead to it.
    tellVisitor(ctx.req, () => this.#shown && Session.sidOf(this.#shown));
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
    // Who answers by ctx.res, by now or later, is answered by what holds that; who never does commits nothing.
    if (held !== undefined && (ctx.respond === false || !held.isWaiting)) return;
    try {
      const settling = this.lifecycle.settle(ctx.status);
      if (settling instanceof Promise) await settling;
    } catch (error) {
      if (held !== undefined) {
        // The body goes, a stream is closed; what that does to the head goes, too.
        held.reset();
        ctx.body = undefined;
        held.reset();
        held.letGo();
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

  /** With `autoCommit: false` nothing holds the response, to bring the cookie. */
  #setCookie(): void {
    const { res } = this.#ctx;
    this.lifecycle.bakeNow();
    const { cookieLine } = this.lifecycle;
    if (!isHoldable(res)) return;
    if (this.#given !== undefined) removeCookie(res, this.#given);
    if (cookieLine !== undefined) addCookie(res, cookieLine);
    this.#given = cookieLine;
  }

  current(): unknown {
    return this.#shown;
  }

  place(session: KoaSession | undefined): void {
    this.#shown = session;
  }

  make(attributes: AttributeTexts, sid: Sid | undefined, isNew: boolean): KoaSession {
    return new KoaSession(this.lifecycle, isNew, attributes, sid);
  }

  /** Of several the first one serves a context. */
  isOthers(): boolean {
    return false;
  }

  client(): Client {
    const { ip, headers } = this.#ctx;
    return { address: ip, agent: headers["user-agent"] };
  }

  lasting(): EventEmitter | undefined {
    return lastingOf(this.#ctx.req, this.#ctx.res);
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
