/**
 * A WebSocket that lives no longer than its session: the gate in front of its messages. By shape, not by package: what `ws` makes, or the like.
 * The invariant: a message that came in is delivered, in order, only once the session was live at some instant after it came.
 */
import type { Clock } from "../clock.js";
import type { MaybePromise } from "../engines/engine.js";
import type { Dispose, DisposeReason, Hold } from "./hold.js";

/** A WebSocket of `ws`, by what is used of it. */
export interface Socket {
  readonly readyState: number;
  close(code: number, reason: string): void;
  terminate(): void;
  emit(event: string | symbol, ...args: unknown[]): boolean;
  on(event: "close", listener: () => void): unknown;
  pause(): void;
  resume(): void;
}

const CLOSED = 3;
/** How a socket is closed, by why. */
const CLOSES: Record<DisposeReason, readonly [code: number, reason: string]> = {
  ended: [4401, "session ended"],
  expired: [4401, "session expired"],
  draining: [1001, "node is going away, reconnect"],
  outage: [1013, "try again later"],
};
/** How long the other side has to say goodbye too. */
const GOODBYE_MS = 2_000;
/** How long to wait before the engine is asked again. */
const AGAIN_MS = 500;

type Emitted = readonly [event: string | symbol, ...args: unknown[]];

class Gate {
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #emit: Socket["emit"];
  readonly #waiting: Emitted[] = [];
  #hold: Hold | undefined;
  #over = false;
  #flushing = false;

  constructor(socket: Socket, clock: Clock) {
    this.#socket = socket;
    this.#clock = clock;
    this.#emit = socket.emit.bind(socket);
    socket.emit = (...emitted) => this.#arrived(emitted);
    socket.pause();
  }

  close(reason: DisposeReason): void {
    this.#over = true;
    const [code, text] = CLOSES[reason];
    const cancel = this.#clock.after(GOODBYE_MS, () => this.#socket.terminate());
    this.#socket.on("close", cancel);
    // Paused, it would never hear the other side's goodbye.
    this.#socket.resume();
    this.#socket.close(code, text);
    this.#letGo();
  }

  opened(hold: Hold): void {
    this.#hold = hold;
    if (this.#waiting.length > 0) void this.#flush();
    else this.#socket.resume();
  }

  #arrived(emitted: Emitted): boolean {
    const [event] = emitted;
    if (event === "message" && this.#over) return false;
    // What comes behind a message that waits, waits too.
    if (event !== "message" && (event !== "close" || this.#waiting.length === 0)) return this.#emit(...emitted);
    const live = this.#waiting.length > 0 || this.#flushing ? undefined : this.#hold?.lives();
    if (live === true) return this.#emit(...emitted);
    if (live === false) return false;
    this.#waiting.push(emitted);
    if (live !== undefined) void this.#flush(live);
    return true;
  }

  /** Delivers what waits: each once an answer has come that was asked for after it came in. `first`: one that was asked for just now. */
  async #flush(first?: Promise<boolean>): Promise<void> {
    this.#flushing = true;
    this.#socket.pause();
    let asked = first;
    while (this.#waiting.length > 0 && !this.#over) {
      const count = this.#waiting.length;
      const live = await this.#answer(asked ?? this.#hold?.lives());
      asked = undefined;
      if (live === false) break;
      if (live === true) this.#deliver(count);
      // The engine is away: what waits goes on waiting, and the socket stays paused.
      else await new Promise<void>((resolve) => this.#clock.after(AGAIN_MS, resolve));
    }
    this.#flushing = false;
    if (this.#over || this.#hold?.over === true) this.#letGo();
    this.#socket.resume();
  }

  async #answer(live: MaybePromise<boolean> | undefined): Promise<boolean | undefined> {
    try {
      return await live;
    } catch {
      return undefined;
    }
  }

  /** What is delivered may end the session, or throw: then as `ws` does, and the rest waits no longer for that. */
  #deliver(count: number): void {
    for (const emitted of this.#waiting.splice(0, count)) {
      if (this.#over && emitted[0] === "message") continue;
      try {
        this.#emit(...emitted);
      } catch (error) {
        process.nextTick(() => {
          throw error;
        });
      }
    }
  }

  /** Messages are dropped, a close is not. */
  #letGo(): void {
    for (const emitted of this.#waiting.splice(0)) if (emitted[0] !== "message") this.#emit(...emitted);
  }
}

/** Gates a socket from now on, and opens the gate once it is held. Undefined: it was closed instead. Never rejects. */
export async function attachSocket(
  socket: Socket,
  clock: Clock,
  holding: (dispose: Dispose) => Promise<Hold | undefined>,
): Promise<Hold | undefined> {
  const gate = new Gate(socket, clock);
  try {
    const hold = await holding((reason) => gate.close(reason));
    if (hold === undefined) return undefined;
    socket.on("close", () => hold.release());
    if (socket.readyState === CLOSED) hold.release();
    else gate.opened(hold);
    return hold;
  } catch {
    gate.close("outage");
    return undefined;
  }
}
