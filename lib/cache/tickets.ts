/**
 * Fill tickets: the guard after the await. A ticket is opened before a read or a write is sent, inside a run of the lease; what comes
 * back is copied only if it is clean then: no drop for its key came in meanwhile, and the run goes on.
 */
import type { Key } from "../names.js";
import type { Loaded } from "../session/record.js";
import type { Lease } from "./lease.js";

export interface Ticket {
  readonly key: Key;
  readonly run: number;
  /** This node's number in that run, and its generation at that time. */
  readonly number: number;
  readonly generation: number;
}
/** What a fill found. `counts`: the engine has written down that this node has a copy, so whoever writes tells it. */
export interface Reading {
  readonly loaded: Loaded | undefined;
  readonly counts: boolean;
}

export class Tickets {
  readonly #lease: Lease;
  /** The clean ones, and the reading that requests may share under each. */
  readonly #open = new Map<Key, Map<Ticket, Promise<Reading> | undefined>>();

  constructor(lease: Lease) {
    this.#lease = lease;
  }

  open(key: Key, number: number, generation: number): Ticket {
    const ticket: Ticket = { key, run: this.#lease.run, number, generation };
    const all = this.#open.get(key);
    if (all === undefined) this.#open.set(key, new Map([[ticket, undefined]]));
    else all.set(ticket, undefined);
    return ticket;
  }

  share(ticket: Ticket, reading: Promise<Reading>): void {
    const all = this.#open.get(ticket.key);
    if (all?.has(ticket)) all.set(ticket, reading);
  }

  /** A reading whose ticket is clean: nothing was written since that isn't told here yet, so it is as good as one that starts now. */
  reading(key: Key): Promise<Reading> | undefined {
    const all = this.#open.get(key);
    if (all === undefined || !this.#lease.trusted()) return undefined;
    for (const reading of all.values()) if (reading !== undefined) return reading;
    return undefined;
  }

  clean(ticket: Ticket): boolean {
    return this.#lease.trusted() && ticket.run === this.#lease.run && this.#open.get(ticket.key)?.has(ticket) === true;
  }

  close(ticket: Ticket): void {
    const all = this.#open.get(ticket.key);
    if (all?.delete(ticket) && all.size === 0) this.#open.delete(ticket.key);
  }

  void(key: Key): void {
    this.#open.delete(key);
  }

  voidAll(): void {
    this.#open.clear();
  }
}
