/**
 * Keeps one connection alive: dials, and when the connection is lost dials again and again, after short waits with jitter.
 * The invariant: while there is no connection a command fails at once and was not sent; nothing is queued, nothing sent twice.
 */

import { type Clock, within } from "../../clock.js";
import { AnynodeError } from "../../errors.js";
import type { Argument, Client, Dial } from "./client.js";
import { NotSent } from "./failure.js";

const MAX_WAIT_MS = 500;

export class Link {
  readonly #dial: Dial;
  readonly #clock: Clock;
  readonly #deadlineMs: number;
  /** Puts a new connection in order before anybody uses it. */
  readonly #prepare: (client: Client) => Promise<void>;
  #client: Client | undefined;
  #attempt: Promise<void> | undefined;
  #cancelWait: (() => void) | undefined;
  #failures = 0;
  #reason: unknown;
  /** Once it stood, it is kept up. */
  #stood = false;
  #closed = false;
  #heard = 0;

  constructor(dial: Dial, clock: Clock, deadlineMs: number, prepare: (client: Client) => Promise<void> = async () => {}) {
    this.#dial = dial;
    this.#clock = clock;
    this.#deadlineMs = deadlineMs;
    this.#prepare = prepare;
  }

  /** How many replies came so far: a connection on which none came for a deadline is half open, or its server frozen. */
  get heard(): number {
    return this.#heard;
  }

  /** Resolves when the connection stands; rejects, within the deadline, when this attempt to make it failed. */
  connect(): Promise<void> {
    if (this.#client !== undefined) return Promise.resolve();
    this.#cancelWait?.();
    this.#attempt ??= this.#connect().finally(() => {
      this.#attempt = undefined;
    });
    return this.#attempt;
  }

  async call(args: Argument[]): Promise<unknown> {
    const reply = await this.current.call(args);
    this.#heard++;
    this.#failures = 0;
    return reply;
  }

  holds(client: Client | undefined): boolean {
    return client !== undefined && client === this.#client;
  }

  get current(): Client {
    if (this.#client === undefined) throw new NotSent("not connected", { cause: this.#reason });
    return this.#client;
  }

  /** Drops the connection, if it stands, and makes a new one. What is under way on the old one fails as unknown. */
  renew(reason: unknown): void {
    if (this.#client !== undefined) this.#lost(this.#client, reason);
  }

  /** Lets go of the connection until it is needed again. */
  rest(): void {
    this.#cancelWait?.();
    this.#stood = false;
    const client = this.#client;
    this.#client = undefined;
    client?.close();
  }

  close(): void {
    this.#closed = true;
    this.#cancelWait?.();
    this.#client?.close();
    this.#client = undefined;
  }

  async #connect(): Promise<void> {
    let lost = false;
    const client = this.#dial((reason) => {
      lost = true;
      this.#lost(client, reason);
    });
    try {
      await within(
        this.#clock,
        this.#deadlineMs,
        client.opened.then(() => this.#prepare(client)),
      );
      if (lost || this.#closed) throw new NotSent("the connection didn't last");
    } catch (error) {
      client.close();
      // Refused for good, e.g. a client that isn't connected: said as it is.
      if (error instanceof AnynodeError && error.code === "ENGINE_UNSUPPORTED") throw error;
      const timedOut = error instanceof AnynodeError && error.code === "ENGINE_TIMEOUT";
      this.#reason = timedOut ? new Error(`no answer within ${this.#deadlineMs} ms`) : error;
      if (this.#stood) this.#connectLater();
      throw new NotSent("not connected", { cause: this.#reason });
    }
    this.#client = client;
    this.#stood = true;
  }

  #lost(client: Client, reason: unknown): void {
    if (this.#client !== client) return;
    this.#client = undefined;
    this.#reason = reason;
    client.close();
    this.#connectLater();
  }

  #connectLater(): void {
    if (this.#closed) return;
    const waitMs = Math.min(MAX_WAIT_MS, 25 * 2 ** this.#failures++) * (0.5 + Math.random() / 2);
    this.#cancelWait = this.#clock.after(waitMs, () => {
      this.connect().catch(() => {}); // it has told the next wait
    });
  }
}
