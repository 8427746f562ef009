/**
 * This node's coming and going: it opens once the engine answers and the registry has its row, drains, and closes. A node announces itself
 * even before its first request; whoever wants to know how that went asks `ready`.
 */
import type { Copies } from "./cache/copies.js";
import type { Touches } from "./cache/touches.js";
import type { EngineClock } from "./clock.js";
import type { Engine } from "./engines/engine.js";
import { AnynodeError } from "./errors.js";
import type { Events } from "./events.js";
import type { Settings } from "./options.js";
import type { Connections } from "./registry/connections.js";
import { BEAT_MS, type Registry } from "./registry/registry.js";

/** What of a node comes and goes with it. */
export interface Belongings {
  readonly registry: Registry;
  readonly connections: Connections;
  readonly copies: Copies;
  readonly touches: Touches;
}

export class Presence {
  readonly #engine: Engine;
  /** The engine is ours to close. */
  readonly #owned: boolean;
  readonly #settings: Settings;
  readonly #engineClock: EngineClock;
  readonly #events: Events;
  readonly #belongings: Belongings;
  #state: "new" | "open" | "closed" = "new";
  #opening: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  #cancelRetry: () => void = () => {};

  constructor(
    engine: Engine,
    owned: boolean,
    settings: Settings,
    engineClock: EngineClock,
    events: Events,
    belongings: Belongings,
  ) {
    this.#engine = engine;
    this.#owned = owned;
    this.#settings = settings;
    this.#engineClock = engineClock;
    this.#events = events;
    this.#belongings = belongings;
    this.#cancelRetry = settings.clock.after(0, () => this.#keepOpening());
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }
  get isClosed(): boolean {
    return this.#state === "closed";
  }

  /** See Sessions. */
  ready(): Promise<void> {
    // Nobody would ever close what is opened from now on.
    if (this.#closing !== undefined) return Promise.reject(closed());
    this.#opening ??= this.#open();
    return this.#opening;
  }

  async #open(): Promise<void> {
    try {
      await this.#belongings.registry.join();
      if (this.#state === "new") this.#sayUnsealed();
      if (this.#state === "new") this.#state = "open";
    } catch (error) {
      this.#opening = undefined;
      throw error;
    }
  }

  #keepOpening(): void {
    if (this.#state !== "new") return;
    this.ready().catch(() => {
      this.#cancelRetry = this.#settings.clock.after(BEAT_MS, () => this.#keepOpening());
    });
  }

  /** Once, and not for engines that keep nothing; the library can't tell production from a developer's machine. */
  #sayUnsealed(): void {
    if (this.#settings.keyring.length > 0 || this.#engine.kind === "memory") return;
    if (this.#events.emit("unsealed", { engine: this.#engine.kind })) return;
    process.emitWarning(
      `Sessions are stored unsealed: whoever can read the ${this.#engine.kind} engine can read them, and whoever can write to it can make them. ` +
        'Give anynode({ keyring: [{ id, key }] }), or keyring: ["plain"] to say that this is meant.',
      { code: "ANYNODE_UNSEALED" },
    );
  }

  /** See Sessions. */
  async drain(): Promise<void> {
    const { registry, connections, touches } = this.#belongings;
    await this.#opening?.catch(() => {});
    if (this.#state !== "open" || registry.state === "left") return;
    await registry.drain().catch(() => {});
    await connections.drain();
    await touches.flush(this.#engine, () => this.#engineClock.latest()).catch(() => {});
    await registry.leave().catch(() => {});
  }

  /** See Sessions. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#cancelRetry();
    await this.drain();
    this.#state = "closed";
    this.#belongings.connections.stop();
    await this.#belongings.copies.stop();
    if (this.#owned) await this.#engine.close();
  }
}

export function closed(): AnynodeError {
  return new AnynodeError("CLOSED", "These sessions were closed. Make new ones with anynode().");
}
