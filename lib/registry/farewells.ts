/**
 * How a node stops being a session's holder: the engine is told, again if it couldn't be, and until then the node's channel is heard.
 * The invariant: whoever may be given this node as a holder, by an end, finds it listening.
 */
import type { Clock } from "../clock.js";
import type { Engine, Holder } from "../engines/engine.js";
import type { Key } from "../names.js";
import type { Held } from "./held.js";

/** Forgetting one makes `locate` name this node in vain, until the session is over. */
const MAX_OWED = 10_000;
/** An end that ran before our last detach may be about to tell us. */
const LINGER_MS = 2_000;

export class Farewells {
  readonly #engine: Engine;
  readonly #clock: Clock;
  readonly #hear: () => Promise<() => void>;
  readonly #isHolder: () => boolean;
  readonly #saying = new Set<Promise<void>>();
  readonly #owed = new Map<Key, Holder>();
  #listening: Promise<() => void> | undefined;
  #cancelQuiet: () => void = () => {};

  /** `hear`: has this node's channel heard. `isHolder`: whether anything is held now. */
  constructor(engine: Engine, clock: Clock, hear: () => Promise<() => void>, isHolder: () => boolean) {
    this.#engine = engine;
    this.#clock = clock;
    this.#hear = hear;
    this.#isHolder = isHolder;
  }

  /** How many holders the engine still has to be told of. */
  get owed(): number {
    return this.#owed.size;
  }

  /** To be called before anything is held. */
  async listen(): Promise<void> {
    this.#listening ??= this.#hear();
    await this.#listening;
  }

  /** Tells the engine, once nothing is being asked for it, that this node is no holder any more. Never rejects. */
  say(held: Held): Promise<void> {
    const saying = this.#say(held).finally(() => {
      this.#saying.delete(saying);
      this.#hearNoMore();
    });
    this.#saying.add(saying);
    return saying;
  }

  /** Resolves when fewer than so many are under way, or the engine is away anyway. */
  async room(most: number): Promise<void> {
    if (this.#saying.size >= most && this.#owed.size === 0) await Promise.race(this.#saying);
  }

  /** Resolves when all are said. What the engine couldn't be told is forgotten: it expires with its session. */
  async said(): Promise<void> {
    await Promise.all(this.#saying);
    this.#owed.clear();
    this.#hearNoMore();
  }

  /** Tries again; gives up with the first that fails. */
  async sayOwed(): Promise<void> {
    for (const [key, holder] of this.#owed) {
      try {
        await this.#engine.detach(key, holder);
      } catch {
        return;
      }
      if (this.#owed.get(key) === holder) this.#owed.delete(key);
    }
    this.#hearNoMore();
  }

  /** Leaves nothing behind that would run later. */
  stop(): void {
    this.#cancelQuiet();
    void this.#listening?.then((quiet) => quiet());
    this.#listening = undefined;
  }

  async #say(held: Held): Promise<void> {
    await held.settled();
    const { key, written } = held;
    if (written === undefined) return;
    try {
      await this.#engine.detach(key, written);
    } catch {
      if (this.#owed.size < MAX_OWED) this.#owed.set(key, written);
    }
  }

  #hearNoMore(): void {
    this.#cancelQuiet();
    if (this.#listening === undefined) return;
    this.#cancelQuiet = this.#clock.after(LINGER_MS, () => {
      if (!this.#isHolder() && this.#owed.size === 0 && this.#saying.size === 0) this.stop();
    });
  }
}
