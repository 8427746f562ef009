/**
 * The channel of this node's own, heard: on a remote engine always, for it costs nothing but a connection; on others while somebody wants
 * it. The invariant: only the messages of the last subscription count. Heard twice, a drop could stand in for one that was lost.
 */
import { type Engine, nodeChannel, type Subscription } from "../engines/engine.js";
import { type Notice, parseNotice } from "./notices.js";

/** Whom it tells. */
export interface Ears {
  heard(notice: Notice | undefined): void;
  /** It can't be subscribed to. */
  deaf(): void;
}

export class OwnChannel {
  readonly #engine: Engine;
  readonly #ears: Ears;
  #number = -1;
  #subscription: Subscription | undefined;
  /** How many want the channel heard although this node has no copies. */
  #listeners = 0;
  #following: Promise<void> = Promise.resolve();
  /** Counts attempts to subscribe. */
  #attempt = 0;

  constructor(engine: Engine, ears: Ears) {
    this.#engine = engine;
    this.#ears = ears;
  }

  /** Whether a subscription stands. */
  get stands(): boolean {
    return this.#subscription !== undefined;
  }

  /** This node has (another) number. */
  joined(number: number): Promise<void> {
    const moved = number !== this.#number;
    this.#number = number;
    return this.#follow(moved);
  }

  /** Has it heard, with copies or without, until the caller is done with it: then it calls what this gives. */
  async listen(): Promise<() => void> {
    this.#listeners += 1;
    await this.#follow();
    let done = false;
    return () => {
      if (done) return;
      done = true;
      this.#listeners -= 1;
      void this.#follow();
    };
  }

  /** Nothing comes in. A subscription that looks alive proves nothing: it may hang on a demoted primary. */
  renew(): void {
    if (this.#subscription === undefined) void this.#follow();
    else void this.#subscription.renew?.().catch(() => {});
  }

  /** No message comes in any more. */
  async stop(): Promise<void> {
    this.#attempt += 1;
    const subscription = this.#subscription;
    this.#subscription = undefined;
    await subscription?.close().catch(() => {});
  }

  get #isWanted(): boolean {
    return this.#engine.fill !== undefined || this.#listeners > 0;
  }

  /** Subscribes or unsubscribes as is wanted when its turn comes; `anew`: even if a subscription stands. */
  #follow(anew = false): Promise<void> {
    this.#following = this.#following.then(() => {
      if (!this.#isWanted) return this.stop();
      return this.#number >= 0 && (anew || this.#subscription === undefined) ? this.#subscribe() : undefined;
    });
    return this.#following;
  }

  async #subscribe(): Promise<void> {
    const number = this.#number;
    this.#attempt += 1;
    const attempt = this.#attempt;
    await this.#subscription?.close().catch(() => {});
    this.#subscription = undefined;
    try {
      const onMessage = (text: string) => {
        if (attempt === this.#attempt) this.#ears.heard(parseNotice(text));
      };
      const subscription = await this.#engine.subscribe(nodeChannel(number), onMessage);
      if (attempt === this.#attempt) this.#subscription = subscription;
      else await subscription.close();
    } catch {
      if (attempt === this.#attempt) this.#ears.deaf();
    }
  }
}
