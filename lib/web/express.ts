/**
 * Sessions for Express 4 and 5, plain node:http and HTTP/2: `app.use(session(sessions, { secret }))`. The same `req.session` as
 * express-session's, at a fraction of its cost, and with promise G4: a response is sent only once what its request changed is stored.
 */
import type { EventEmitter } from "node:events";
import type { MaybePromise } from "../engines/engine.js";
import type { Sid } from "../names.js";
import { invalid, shown } from "../options.js";
import type { AttributeTexts } from "../session/attributes.js";
import type { Client } from "../session/client.js";
import { Sessions } from "../sessions.js";
import { ExpressSession } from "./express-object.js";
import {
  FRONT_OPTIONS,
  type FrontOptions,
  type FrontSettings,
  frontSettingsOf,
  type Incoming,
  isBelow,
  pathOf,
  yesOrNo,
} from "./front-options.js";
import { HeldResponse, isHoldable } from "./held-response.js";
import type { Host } from "./host.js";
import { Lifecycle } from "./lifecycle.js";
import { makeTabular } from "./tabular.js";
import { together } from "./together.js";
import { lastingOf } from "./watch.js";

export { ExpressSession } from "./express-object.js";
export type { FrontOptions, Incoming, Route, Secret } from "./front-options.js";
export type { FormerStore } from "./migration.js";
export type { LoginOptions, RotateOptions } from "./person-session.js";
export type { CookieSettings, SessionCookie } from "./session-cookie.js";

/** What an application keeps in its sessions: `declare module "anynode/express" { interface SessionData { views: number } }`. */
// biome-ignore lint/suspicious/noEmptyInterface: applications add to it.
export interface SessionData {}

export interface ExpressOptions<Req extends Incoming = Incoming> extends FrontOptions<Req> {
  /** What `req.session = null`, or deleting it, means for the stored session: `"keep"` (default) or `"destroy"`. */
  unset?: "destroy" | "keep" | undefined;
  /** Whether X-Forwarded-Proto tells if a connection is secure. Default: as Express' setting "trust proxy" says. */
  proxy?: boolean | undefined;
}

// An application's tests may put a fake in its place, which never runs.
const { queueMicrotask } = globalThis;

/** The session whose id `req.sessionID` is. */
const OPENED = Symbol("anynode");

/** Shared by all requests that come without a session. */
const ID_WHEN_ASKED: PropertyDescriptor = {
  get(this: WithSession) {
    return this[OPENED]?.id;
  },
  set(this: WithSession, value: unknown) {
    Object.defineProperty(this, "sessionID", { value, writable: true, enumerable: true, configurable: true });
  },
  enumerable: true,
  configurable: true,
};

/** A request as the middleware finds and leaves it. */
export interface WithSession {
  /** @internal */
  [OPENED]?: ExpressSession | undefined;
  session?: unknown;
  sessionID?: string | undefined;
  readonly secure?: boolean | undefined;
  readonly socket?: object | undefined;
  readonly ip?: string | undefined;
}

export type Next = (error?: unknown) => void;
export type Middleware<Req> = (req: Req, res: object, next: Next) => void;

/** The middleware. Throws OPTION_INVALID for options that can't work. A request that has a session already keeps it. */
export function session<Req extends Incoming = Incoming>(
  sessions: Sessions,
  options: ExpressOptions<Req>,
): Middleware<Req & WithSession> {
  if (!(sessions instanceof Sessions)) {
    throw invalid(`The first argument is ${shown(sessions)}; pass the sessions that anynode() made, then the options.`);
  }
  const settings = expressSettingsOf(sessions, options);
  return function anynodeSession(req, res, next) {
    if (req.session || settings.none?.(req)) return next();
    makeTabular(req);
    const host = new ExpressHost(sessions, settings, req, next);
    const { path } = host.lifecycle.cookieSettings;
    if (path !== undefined && path !== "/" && !isBelow(pathOf(req), path)) return next();
    host.begin(res);
  };
}

interface ExpressSettings<Req> extends FrontSettings<Req> {
  readonly endsUnset: boolean;
  readonly proxy: boolean | undefined;
}

function expressSettingsOf<Req extends Incoming>(sessions: Sessions, options: ExpressOptions<Req>): ExpressSettings<Req> {
  const settings = frontSettingsOf(sessions, options, [...FRONT_OPTIONS, "unset", "proxy"]);
  const { unset = "keep", proxy } = options;
  if (unset !== "keep" && unset !== "destroy")
    throw invalid(`The option unset is ${shown(unset)}; it must be "destroy" or "keep".`);
  if (proxy !== undefined) yesOrNo("proxy", proxy);
  return { ...settings, endsUnset: unset === "destroy", proxy };
}

class ExpressHost<Req extends Incoming> implements Host<ExpressSession> {
  readonly lifecycle: Lifecycle<Req & WithSession, ExpressSession>;
  readonly own = "cookie";
  readonly renews = false;
  readonly carrier = undefined;
  readonly answered = undefined;
  readonly endsUnset: boolean;
  readonly #req: Req & WithSession;
  readonly #next: Next;
  readonly #settings: ExpressSettings<Req>;
  #res: object | undefined;

  constructor(sessions: Sessions, settings: ExpressSettings<Req>, req: Req & WithSession, next: Next) {
    this.#req = req;
    this.#next = next;
    this.#settings = settings;
    this.endsUnset = settings.endsUnset;
    this.lifecycle = new Lifecycle(sessions, settings, this, req);
  }

  begin(res: object): void {
    const { lifecycle } = this;
    this.#res = res;
    let opening: MaybePromise<void>;
    try {
      opening = lifecycle.open();
    } catch (error) {
      this.#next(error);
      return;
    }
    // Whatever the handlers throw is theirs: it must not come back here.
    if (!(opening instanceof Promise)) together(() => this.#opened(res));
    else {
      opening.then(
        () => queueMicrotask(() => this.#opened(res)),
        (error: unknown) => queueMicrotask(() => this.#next(error)),
      );
    }
  }

  #opened(res: object): void {
    try {
      if (this.#settings.readonly?.(this.#req)) this.lifecycle.readonly = true;
      else if (isHoldable(res)) new HeldResponse(res, this.lifecycle, this.#next);
    } catch (error) {
      this.#next(error);
      return;
    }
    this.#next();
  }

  current(): unknown {
    return this.#req.session;
  }

  place(session: ExpressSession | undefined, isNew: boolean): void {
    if (session === undefined) {
      delete this.#req.session;
      return;
    }
    this.#req.session = session;
    // Most new sessions are never stored: an id is drawn when somebody asks.
    if (isNew) {
      this.#req[OPENED] = session;
      Object.defineProperty(this.#req, "sessionID", ID_WHEN_ASKED);
    } else this.#req.sessionID = session.id;
  }

  make(attributes: AttributeTexts, sid: Sid | undefined): ExpressSession {
    return new ExpressSession(this.lifecycle, attributes, sid);
  }

  storing(): void {}

  isOthers(session: object): boolean {
    return ExpressSession.isOthers(session, this.lifecycle);
  }

  client(): Client {
    const { ip, socket, headers } = this.#req;
    const remote: unknown = socket === undefined ? undefined : Reflect.get(socket, "remoteAddress");
    return { address: ip ?? (typeof remote === "string" ? remote : undefined), agent: headers["user-agent"] };
  }

  lasting(): EventEmitter | undefined {
    return lastingOf(this.#req, this.#res);
  }

  isSecure(): boolean {
    const { socket, secure } = this.#req;
    const { proxy } = this.#settings;
    if (socket !== undefined && Reflect.get(socket, "encrypted") === true) return true;
    if (proxy === undefined) return secure === true;
    if (!proxy) return false;
    const proto = this.#req.headers["x-forwarded-proto"];
    const [first = ""] = (Array.isArray(proto) ? proto.join() : (proto ?? "")).split(",");
    return first.trim().toLowerCase() === "https";
  }
}
