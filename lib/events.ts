/** What a node tells its application. No event carries a session id, a key or an attribute's value. */
import { EventEmitter } from "node:events";
import type { AnynodeError } from "./errors.js";
import type { Node } from "./registry/node.js";

export interface EventMap {
  /** Another node joined the registry. */
  "node-joined": { node: Node };
  /** Another node said goodbye. */
  "node-left": { node: Node };
  /** Another node's lease ran out: it crashed, was paused or cut off. */
  "node-lost": { node: Node };
  /** This node's own row was lost (it was paused, or the engine forgot it); it joins again by itself. */
  fenced: { nodeId: string };
  /** Opening or a beat failed: the engine can't be reached. Told once per outage. */
  "engine-down": { error: AnynodeError };
  /** A beat succeeded again. */
  "engine-up": { downMs: number };
  /** Two requests changed the same attributes to different ends; the conflict policy decided. */
  conflict: { attributes: readonly string[] };
  /** A change or a touch came after the session's end, or its expiry, and was dropped. */
  "write-dropped": { ended: boolean };
  /**
   * A request changed its session after the first byte of its response. `stored`: the change was committed all the same; else it is lost,
   * and `error` says why. Commit before answering: the response can't take back what it said.
   */
  "late-change": { stored: boolean; error: unknown };
  /** This node reads in another way from now on: `checked`, asking the engine each time, since it can't hear its channel; or `leased` again. */
  reads: { mode: "leased" | "checked"; why: string };
  /** What was to close something live (the `dispose` given to `hold`) failed. */
  "dispose-failed": { error: unknown };
  /**
   * A stored record that this node can't read was taken for none: `damaged`, `unknown` (a newer format), `plain` (not sealed, where it must
   * be), `key-revoked`; or, `key-missing`, requests for it fail on this node. Told once a record.
   */
  unreadable: { why: "damaged" | "unknown" | "plain" | "key-missing" | "key-revoked" };
  /** A signed-in session is used by a client with another address or agent than it had at sign-in (option `record`). Once a session on each node. */
  "client-changed": { changed: readonly ("address" | "agent")[] };
  /** Opened without a keyring, on an engine that keeps what it is given: said once, as a process warning if nobody listens. */
  unsealed: { engine: string };
}
export type EventName = keyof EventMap;

export class Events {
  readonly #emitter = new EventEmitter();
  readonly #told = new Set<string>();

  on<N extends EventName>(name: N, listener: (event: EventMap[N]) => void): void {
    this.#emitter.on(name, listener);
  }
  off<N extends EventName>(name: N, listener: (event: EventMap[N]) => void): void {
    this.#emitter.off(name, listener);
  }
  /** Listeners run after the current turn, so that one that throws can't break a request or a beat of ours. Whether there are any. */
  emit<N extends EventName>(name: N, event: EventMap[N]): boolean {
    if (this.#emitter.listenerCount(name) === 0) return false;
    process.nextTick(() => this.#emitter.emit(name, event));
    return true;
  }

  /** Only the first time for `which`, as far as this remembers. */
  emitOnce<N extends EventName>(which: string, name: N, event: EventMap[N]): void {
    if (this.#told.has(which)) return;
    if (this.#told.size >= 1000) this.#told.clear();
    this.#told.add(which);
    this.emit(name, event);
  }
}
