/**
 * A response that doesn't begin before its session is stored. The first of writeHead, write, end and flushHeaders asks the session to
 * settle. If that is done at once, as it is when nothing changed, everything passes through from then on. Else what the handler says is
 * held, in order, and said once the session is stored; if that fails it is forgotten, status and headers are as they were before the
 * handler, and somebody else answers with the error. 1xx responses pass.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { MaybePromise } from "../engines/engine.js";
import { AnynodeError } from "../errors.js";
import {
  addCookie,
  type Head,
  headOf,
  hideEnd,
  hideHead,
  isClosed,
  type Method,
  type NodeResponse,
  restore,
  showHead,
  withCookie,
} from "./response-head.js";

// As it is now: an application's tests may put a fake in its place, which never runs.
const { nextTick } = process;

/** What a held response needs of a request's session: see lifecycle.ts. */
export interface Settling {
  settle(status: number): MaybePromise<void>;
  settleLate(): MaybePromise<void>;
  readonly cookieLine: string | undefined;
}

/** A response that is held, if it is. */
type Response = NodeResponse & { [HELD]?: HeldResponse };
type Verb = "writeHead" | "write" | "end" | "flushHeaders";

const HELD = Symbol("anynode");
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
  #state: "waiting" | "holding" | "passing" | "forgotten" | "left" = "waiting";
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
    if (response[HELD] === undefined) {
      response[HELD] = this;
      response.writeHead = writeHead;
      response.write = write;
      response.end = end;
      response.flushHeaders = flushHeaders;
    } else {
      // A second one, around the first: of another session of the same request.
      response.writeHead = (status, message, headers) => this.writeHead(status, message, headers);
      response.write = (chunk, encoding, callback) => this.write(chunk, encoding, callback);
      response.end = (chunk, encoding, callback) => this.end(chunk, encoding, callback);
      response.flushHeaders = () => this.flushHeaders();
    }
  }

  /** Whether nothing of the response was said yet. */
  get isWaiting(): boolean {
    return this.#state === "waiting";
  }

  /** Status and headers are as they were before the handler. */
  reset(): void {
    restore(this.#response, this.#before);
  }

  /** The session couldn't be stored, and somebody else has been told: the answer is theirs, whatever it is. */
  letGo(): void {
    this.#state = "left";
    this.#ended = true;
  }

  writeHead(status: unknown, message: unknown, headers: unknown): unknown {
    if (this.#isHeld(typeof status === "number" ? status : this.#response.statusCode)) {
      return this.#hold("writeHead", [status, message, headers]);
    }
    const line = this.#settling.cookieLine;
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
        late
          .then(() => this.#end.call(this.#response, chunk, encoding, callback))
          .catch((error: unknown) => nextTick(this.#refuse, error));
        return this.#response;
      }
    }
    if (!this.#ended) nextTick(settleLate, this.#settling);
    this.#ended = true;
    return this.#end.call(this.#response, chunk, encoding, callback);
  }

  flushHeaders(): unknown {
    return this.#isHeld(this.#response.statusCode) ? this.#hold("flushHeaders", []) : this.#flushHeaders.call(this.#response);
  }

  /** Whether what is said now waits, or is said for nobody. The first time it asks the session to settle. */
  #isHeld(status: number): boolean {
    if (this.#state === "left") this.#pass();
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
    // What can't be said (a header with a line break, a chunk of another kind) would have thrown in the handler; it is an error as well.
    settling.then(() => this.#release(asHeld)).catch((error: unknown) => this.#forget(error));
    return true;
  }

  #pass(): void {
    this.#state = "passing";
    const line = this.#settling.cookieLine;
    if (line !== undefined) addCookie(this.#response, line);
  }

  #hold(verb: Verb, args: unknown[]): unknown {
    if (this.#state === "holding") {
      this.#held.push([verb, args]);
      if (verb === "end") hideEnd(this.#response);
    } else tell(args, abandoned(undefined));
    return this.#response;
  }

  /** The session is stored: what was held is said, in order. */
  #release(asHeld: Head): void {
    const response = this.#response;
    showHead(response);
    restore(response, asHeld);
    this.#pass();
    let room: unknown = true;
    for (let next = this.#held.shift(); next !== undefined; next = this.#held.shift()) {
      const [verb, [first, second, third]] = next;
      // A second head, by a middleware that can't see that the first one was held, says nothing new.
      if (verb === "writeHead" && response.headersSent) continue;
      const answer = this[verb](first, second, third);
      if (verb === "write") room = answer;
    }
    if (this.#mustDrain && room === true && !this.#ended) nextTick(emitDrain, response);
  }

  /** Nothing is stored: what was held is forgotten, and so is whatever still comes from those who were mounted after the session. */
  #forget(error: unknown): void {
    const response = this.#response;
    this.#state = "forgotten";
    showHead(response);
    restore(response, this.#before);
    const afterwards = new Afterwards(response, this.#writeHead, this.#write, this.#end, this.#flushHeaders);
    afterwards.cookieLine = this.#settling.cookieLine;
    for (const [, args] of this.#held.splice(0)) tell(args, abandoned(error));
    // Outside of our promise: what error handlers throw is theirs.
    nextTick(() => afterwards.answer(this.#refuse, error));
  }

  #writeHeadWith(line: string, status: unknown, message: unknown, headers: unknown): unknown {
    const [reason, given] = typeof message === "string" ? [message, headers] : [undefined, headers ?? message];
    const merged = withCookie(given, line);
    return reason === undefined
      ? this.#writeHead.call(this.#response, status, merged)
      : this.#writeHead.call(this.#response, status, reason, merged);
  }
}

/**
 * The response after a failure: it is the error's. Error handlers, and whatever they wait for, answer as they like; a slow handler that
 * still has something to say can't say that all went well, and nothing once the answer has ended.
 */
class Afterwards {
  /** Whose error is being answered. It costs every promise of the process a little, so it is switched on only while there are such. */
  static readonly #answering = new AsyncLocalStorage<Afterwards>();
  static #open = 0;
  readonly #response: Response;
  /** Of what is stored all the same. */
  cookieLine: string | undefined;

  constructor(response: Response, writeHead: Method, write: Method, end: Method, flushHeaders: Method) {
    this.#response = response;
    response.writeHead = (...args) => (this.#isAnswer(args[0]) ? writeHead.apply(response, args) : this.#dropped(args, response));
    response.flushHeaders = () => (this.#isAnswer() ? flushHeaders.apply(response) : response);
    response.write = (...args) => (this.#isOpen() ? write.apply(response, args) : this.#dropped(args, false));
    response.end = (...args) => (this.#isOpen() ? end.apply(response, args) : this.#dropped(args, response));
  }

  answer(refuse: (error: unknown) => void, error: unknown): void {
    // One that has closed already tells nobody when to switch it off.
    if (isClosed(this.#response)) {
      refuse(error);
      return;
    }
    Afterwards.#open += 1;
    this.#response.once("close", () => {
      Afterwards.#open -= 1;
      if (Afterwards.#open === 0) Afterwards.#answering.disable();
    });
    Afterwards.#answering.run(this, refuse, error);
  }

  #isOpen(): boolean {
    return !this.#response.writableEnded && this.#isAnswer();
  }

  #isAnswer(status: unknown = this.#response.statusCode): boolean {
    if (Afterwards.#answering.getStore() !== this && !(typeof status === "number" && status >= 400)) return false;
    // Now, since error handlers may have taken all headers back.
    if (this.cookieLine !== undefined && !this.#response.headersSent) addCookie(this.#response, this.cookieLine);
    this.cookieLine = undefined;
    return true;
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

/** A response that can be held; what an upgrade, or Socket.IO for one, brings in its place can't. */
export function isHoldable(response: Partial<Response>): response is Response {
  return typeof response.writeHead === "function" && typeof response.getHeaderNames === "function" && !response.headersSent;
}

/** Tells whoever waits for one of these calls that it came to nothing. */
function tell(args: unknown[], error: AnynodeError): void {
  const callback = args.find((arg) => typeof arg === "function");
  if (typeof callback === "function") nextTick(callback, error);
}
function abandoned(cause: unknown): AnynodeError {
  return cause instanceof AnynodeError
    ? cause
    : new AnynodeError("SESSION_ENDED", "The response was given up: its session couldn't be stored.", { cause });
}
