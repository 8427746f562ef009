/**
 * One live thing of a session: a socket, an event stream, a long handler. The invariant: its `dispose` runs once at the most, and never
 * after `release()`.
 */
import type { MaybePromise } from "../engines/engine.js";

/** Why something live is closed. `outage`: the engine can't be asked whether the session lives, and `onOutage` says "close". */
export type DisposeReason = "ended" | "expired" | "draining" | "outage";
export type Dispose = (reason: DisposeReason) => unknown;

export interface HoldOptions {
  /** Whether traffic (a message that comes in, a call of `live()`) extends the session as a request does. Default false. */
  readonly keepAlive?: boolean | undefined;
  /** What happens while the engine can't be asked: it stays open, and waits (`"keep"`, default), or is closed (`"close"`). */
  readonly onOutage?: "keep" | "close" | undefined;
}

/** What a hold asks of what keeps it. */
export interface Keeper {
  live(keepAlive: boolean): MaybePromise<boolean>;
  release(hold: Hold): void;
  failed(error: unknown): void;
}

export class Hold {
  readonly #keeper: Keeper;
  readonly #dispose: Dispose;
  readonly #options: HoldOptions;
  #abort: AbortController | undefined;
  #over: DisposeReason | "released" | undefined;

  /** @internal Made by `sessions.hold()`. */
  constructor(keeper: Keeper, dispose: Dispose, options: HoldOptions) {
    this.#keeper = keeper;
    this.#dispose = dispose;
    this.#options = options;
  }

  /** Whether it was closed, or released. */
  get over(): boolean {
    return this.#over !== undefined;
  }

  /** Aborted, as by `AbortController`, when it is closed: for `fetch` and whatever else takes a signal. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.#over !== undefined) this.#abortNow(this.#over);
    return this.#abort.signal;
  }

  /**
   * Whether the session is live: at once while this node can prove it, else after asking the engine. Ask before serving something
   * that must not go to a visitor who signed out while this node was stopped. Rejects while the engine can't be asked.
   */
  async live(): Promise<boolean> {
    return this.lives();
  }

  /** @internal Without a promise where none is needed. */
  lives(): MaybePromise<boolean> {
    return this.over ? false : this.#keeper.live(this.#options.keepAlive === true);
  }

  /** It is over by itself: the socket closed, the handler is done. May be repeated. */
  release(): void {
    if (this.over) return;
    this.#over = "released";
    this.#keeper.release(this);
  }

  /** @internal */
  get closesOnOutage(): boolean {
    return this.#options.onOutage === "close";
  }

  /** @internal Closes it. What `dispose` throws, or its promise rejects with, is told as an event, and keeps nobody from being closed. */
  close(reason: DisposeReason): boolean {
    if (this.over) return false;
    this.#over = reason;
    try {
      const disposing = this.#dispose(reason);
      if (disposing instanceof Promise) disposing.catch((error) => this.#keeper.failed(error));
    } catch (error) {
      this.#keeper.failed(error);
    }
    this.#abortNow(reason);
    return true;
  }

  #abortNow(why: string): void {
    if (this.#abort === undefined || this.#abort.signal.aborted) return;
    this.#abort.abort(new DOMException(`What the session kept open is over: ${why}.`, "AbortError"));
  }
}
