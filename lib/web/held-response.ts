/**
 * A response that doesn't begin before its session is stored. The first of writeHead, write, end and flushHeaders asks the session to
 * settle. If that is done at once, as it is when nothing changed, everything passes through from then on. Else what the handler says is
 * held, in order, and said once the session is stored; if that fails it is forgotten, status and headers are as they were before the
 * handler, and somebody else answers with the error. 1xx responses pass.
 */
import type { MaybePromise } from "../engines/engine.js";
import { AnynodeError } from "../errors.js";

/** What a held response needs of a request's session: see lifecycle.ts. */
export interface Settling {
  settle(status: number): MaybePromise<void>;
  settleLate(): MaybePromise<void>;
  readonly cookieLine: string | undefined;
}

type Method = (...args: unknown[]) => unknown;
/** The members of node's responses, HTTP/1 and HTTP/2, that this relies on. */
interface Response {
  statusCode: number;
  statusMessage?: string | undefined;
  /** HTTP/1 only: the head as it is sent. While it is set node says that headers were sent, and refuses to change them. */
  _header?: string | null;
  readonly headersSent: boolean;
  writeHead: Method;
  write: Method;
  end: Method;
  flushHeaders: Method;
  getHeader(name: string): unknown;
  getHeaders(): Record<string, unknown>;
  getHeaderNames(): string[];
  setHeader(name: string, value: unknown): unknown;
  removeHeader(name: string): unknown;
  emit(event: string): boolean;
  once(event: string, listener: () => void): unknown;
  [HELD]?: HeldResponse;
}
type Verb = "writeHead" | "write" | "end" | "flushHeaders";

const HELD = Symbol("anynode");
const HEAD_HELD = "held by anynode";

interface Head {
  readonly status: number;
  readonly message: string | undefined;
  readonly headers: Record<string, unknown>;
}

export class HeldResponse {
  readonly #response: Response;
  readonly #settling: Settling;
  readonly #refuse: (error: unknown) => void;
  /** What these did when the session came: the methods of those mounted before, or node's own. */
  readonly #writeHead: Method;
  readonly #write: Method;
  readonly #end: Method;
  readonly #flushHeaders: Method;
  readonly #before: Head;
  #state: "waiting" | "holding" | "passing" | "forgotten" = "waiting";
  #held: [Verb, unknown[]][] = [];
  #mustDrain = false;
  #ended = false;

  constructor(response: Response, settling: Settling, refuse: (error: unknown) => void) {
    this.#response = response;
    this.#settling = settling;
    this.#refuse = refuse;
    this.#writeHead = response.writeHead;
    this.#write = response.write;
    this.#end = response.end;
    this.#flushHeaders = response.flushHeaders;
    this.#before = headOf(response);
    response[HELD] = this;
    response.writeHead = writeHead;
    response.write = write;
    response.end = end;
    response.flushHeaders = flushHeaders;
  }

  /** Whether nothing of the response was said yet. */
  get isWaiting(): boolean {
    return this.#state === "waiting";
  }

  /** Status and headers are as they were before the handler. */
  reset(): void {
    restore(this.#response, this.#before);
  }

  writeHead(status: unknown, message: unknown, headers: unknown): unknown {
    if (this.#isHeld(typeof status === "number" ? status : this.#response.statusCode)) {
      return this.#hold("writeHead", [status, message, headers]);
    }
    const line = this.#response[HELD] === this ? this.#settling.cookieLine : undefined;
    return line === undefined || this.#response.headersSent
      ? this.#writeHead.call(this.#response, status, message, headers)
      : this.#writeHeadWith(line, status, message, headers);
  }

  write(chunk: unknown, encoding: unknown, callback: unknown): unknown {
    if (!this.#isHeld(this.#response.statusCode)) return this.#write.call(this.#response, chunk, encoding, callback);
    this.#mustDrain = true;
    this.#hold("write", [chunk, encoding, callback]);
    return false;
  }

  end(chunk: unknown, encoding: unknown, callback: unknown): unknown {
    const isFirst = this.#state === "waiting";
    if (this.#isHeld(this.#response.statusCode)) return this.#hold("end", [chunk, encoding, callback]);
    if (!isFirst && !this.#ended) {
      const late = this.#settling.settleLate();
      if (late instanceof Promise) {
        this.#ended = true;
        void late.then(() => this.#end.call(this.#response, chunk, encoding, callback));
        return this.#response;
      }
    }
    if (!this.#ended) process.nextTick(settleLate, this.#settling);
    this.#ended = true;
    return this.#end.call(this.#response, chunk, encoding, callback);
  }

  flushHeaders(): unknown {
    return this.#isHeld(this.#response.statusCode) ? this.#hold("flushHeaders", []) : this.#flushHeaders.call(this.#response);
  }

  /** Whether what is said now waits, or is said for nobody. The first time it asks the session to settle. */
  #isHeld(status: number): boolean {
    if (this.#state !== "waiting") return this.#state !== "passing";
    let settling: MaybePromise<void>;
    try {
      settling = this.#settling.settle(status);
    } catch (error) {
      settling = Promise.reject(error);
    }
    if (!(settling instanceof Promise)) {
      this.#pass();
      return false;
    }
    this.#state = "holding";
    const asHeld = headOf(this.#response);
    hideHead(this.#response);
    settling.then(
      () => this.#release(asHeld),
      (error: unknown) => this.#forget(error),
    );
    return true;
  }

  #pass(): void {
    this.#state = "passing";
    const line = this.#settling.cookieLine;
    if (line !== undefined) addCookie(this.#response, line);
  }

  #hold(verb: Verb, args: unknown[]): unknown {
    if (this.#state === "holding") this.#held.push([verb, args]);
    else tell(args, abandoned(undefined));
    return this.#response;
  }

  /** The session is stored: what was held is said, in order. */
  #release(asHeld: Head): void {
    const response = this.#response;
    showHead(response);
    restore(response, asHeld);
    this.#pass();
    let room: unknown = true;
    for (const [verb, args] of this.#held.splice(0)) {
      const [first, second, third] = args;
      // A second head, by a middleware that can't see that the first one was held, says nothing new.
      if (verb === "writeHead" && response.headersSent) continue;
      const answer = this[verb](first, second, third);
      if (verb === "write") room = answer;
    }
    if (this.#mustDrain && room === true && !this.#ended) process.nextTick(emitDrain, response);
  }

  /** Nothing is stored: what was held is forgotten, and so is whatever still comes from those who were mounted after the session. */
  #forget(error: unknown): void {
    const response = this.#response;
    this.#state = "forgotten";
    showHead(response);
    restore(response, this.#before);
    new Afterwards(response, this.#writeHead, this.#write, this.#end, this.#flushHeaders);
    for (const [, args] of this.#held.splice(0)) tell(args, abandoned(error));
    this.#refuse(error);
  }

  #writeHeadWith(line: string, status: unknown, message: unknown, headers: unknown): unknown {
    const [reason, given] = typeof message === "string" ? [message, headers] : [undefined, headers ?? message];
    const merged = withCookie(given, line);
    return reason === undefined
      ? this.#writeHead.call(this.#response, status, merged)
      : this.#writeHead.call(this.#response, status, reason, merged);
  }
}

/** The response after a failure: it is the error's. What a slow handler still has to say comes too late once that one has ended. */
class Afterwards {
  #over = false;

  constructor(response: Response, writeHead: Method, write: Method, end: Method, flushHeaders: Method) {
    response.writeHead = writeHead;
    response.flushHeaders = flushHeaders;
    response.write = (...args) => (this.#over ? this.#dropped(args, false) : write.apply(response, args));
    response.end = (...args) => {
      if (this.#over) return this.#dropped(args, response);
      this.#over = true;
      return end.apply(response, args);
    };
  }

  #dropped(args: unknown[], answer: unknown): unknown {
    tell(args, abandoned(undefined));
    return answer;
  }
}

// Shared by all responses: one shape, no closures.
function writeHead(this: Response, status: unknown, message?: unknown, headers?: unknown): unknown {
  return this[HELD]?.writeHead(status, message, headers);
}
function write(this: Response, chunk: unknown, encoding?: unknown, callback?: unknown): unknown {
  return this[HELD]?.write(chunk, encoding, callback);
}
function end(this: Response, chunk?: unknown, encoding?: unknown, callback?: unknown): unknown {
  return this[HELD]?.end(chunk, encoding, callback);
}
function flushHeaders(this: Response): unknown {
  return this[HELD]?.flushHeaders();
}
function settleLate(settling: Settling): void {
  void settling.settleLate();
}
function emitDrain(response: Response): void {
  response.emit("drain");
}

/** A response that can be held; what Socket.IO or an upgrade brings in its place can't. */
export function isHoldable(response: object): response is Response {
  return METHODS.every((name) => typeof Reflect.get(response, name) === "function") && !Reflect.get(response, "headersSent");
}
const METHODS = ["writeHead", "write", "end", "flushHeaders", "getHeaders", "getHeaderNames", "setHeader", "removeHeader"];

function headOf(response: Response): Head {
  const headers = response.getHeaders();
  for (const name in headers) {
    // appendHeader grows the very array.
    const value = headers[name];
    if (Array.isArray(value)) headers[name] = [...value];
  }
  return { status: response.statusCode, message: isHttp1(response) ? response.statusMessage : undefined, headers };
}

function restore(response: Response, { status, message, headers }: Head): void {
  for (const name of response.getHeaderNames()) if (!(name in headers)) response.removeHeader(name);
  for (const name in headers) if (!isSame(response.getHeader(name), headers[name])) response.setHeader(name, headers[name]);
  response.statusCode = status;
  if (isHttp1(response)) response.statusMessage = message;
}

function isSame(a: unknown, b: unknown): boolean {
  return a === b || (Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((item, i) => item === b[i]));
}

function isHttp1(response: Response): boolean {
  return "_header" in response;
}

/** Makes headers read as sent. */
function hideHead(response: Response): void {
  if (isHttp1(response)) response._header = HEAD_HELD;
  else Object.defineProperty(response, "headersSent", { value: true, configurable: true });
}
function showHead(response: Response): void {
  if (!isHttp1(response)) Reflect.deleteProperty(response, "headersSent");
  else if (response._header === HEAD_HELD) response._header = null;
}

function addCookie(response: Response, line: string): void {
  const before = response.getHeader("Set-Cookie");
  response.setHeader(
    "Set-Cookie",
    Array.isArray(before) ? [...before, line] : before === undefined ? line : [String(before), line],
  );
}

/** Headers that are given to writeHead take the place of those set before, the cookies too: ours goes with them. */
function withCookie(headers: unknown, line: string): unknown {
  if (Array.isArray(headers)) {
    const nth = headers.findIndex((name, i) => i % 2 === 0 && isSetCookie(name));
    return nth < 0 ? headers : [...headers, headers[nth], line];
  }
  if (typeof headers !== "object" || headers === null) return headers;
  const name = Object.keys(headers).find(isSetCookie);
  if (name === undefined) return headers;
  const theirs: unknown = Reflect.get(headers, name);
  return { ...headers, [name]: [...(Array.isArray(theirs) ? theirs : [theirs]), line] };
}
function isSetCookie(name: unknown): boolean {
  return typeof name === "string" && name.toLowerCase() === "set-cookie";
}

/** Tells whoever waits for one of these calls that it came to nothing. */
function tell(args: unknown[], error: AnynodeError): void {
  const callback = args.find((arg) => typeof arg === "function");
  if (typeof callback === "function") process.nextTick(callback, error);
}
function abandoned(cause: unknown): AnynodeError {
  return cause instanceof AnynodeError
    ? cause
    : new AnynodeError("SESSION_ENDED", "The response was given up: its session couldn't be stored.", { cause });
}
