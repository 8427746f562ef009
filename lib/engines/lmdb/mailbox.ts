/**
 * The channel: messages are numbered rows of the environment, which every process with a subscription reads every 20 ms, and when the
 * bell rings.
 * The invariant: rows are numbered in commit order, and a reader goes on at the number after its last one, so each subscriber
 * gets each message once and in order. A process that doesn't read for {@link KEEP_MS} misses what was removed meanwhile.
 */
import type { Clock } from "../../clock.js";
import type { Bell } from "./bell.js";
import type { Environment } from "./environment.js";
import type { Writer } from "./writer.js";

const POLL_MS = 20;
const KEEP_MS = 10_000;
/** Old messages that one publish removes: more than the one that it adds, so the mailbox shrinks to what is young. */
const REMOVED_PER_PUBLISH = 4;

const RANGE = Buffer.from("m:mail");

interface Listener {
  readonly channel: string;
  readonly onMessage: (message: string) => void;
  /** The number of the first message that was published after it subscribed. */
  readonly from: number;
}

export class Mailbox {
  readonly #environment: Environment;
  readonly #writer: Writer;
  readonly #clock: Clock;
  readonly #bell: Bell;
  readonly #listeners = new Set<Listener>();
  /** The number of the next message to read. */
  #next = 0;
  #cancelPoll: (() => void) | undefined;
  #mute: (() => void) | undefined;

  constructor(environment: Environment, writer: Writer, clock: Clock, bell: Bell) {
    this.#environment = environment;
    this.#writer = writer;
    this.#clock = clock;
    this.#bell = bell;
  }

  async publish(channel: string, message: string): Promise<void> {
    await this.#writer.write("none", () => {
      const now = this.#clock.now();
      const { first, next } = decodeRange(this.#environment.get(RANGE));
      this.#writer.put(keyOf(next), encodeMessage(now, channel, message));
      const kept = this.#removeOld(first, next, now, REMOVED_PER_PUBLISH);
      this.#writer.put(RANGE, encodeRange(kept, next + 1));
    });
    this.#bell.ring();
    this.#deliver();
  }

  /** Inside of a batch: removes up to `limit` messages that are too old. */
  sweep(limit: number): void {
    const { first, next } = decodeRange(this.#environment.get(RANGE));
    const kept = this.#removeOld(first, next, this.#clock.now(), limit);
    if (kept > first) this.#writer.put(RANGE, encodeRange(kept, next));
  }

  /** It stands at once: `from` is read fresh, and whatever is published later has that number or a higher one. */
  subscribe(channel: string, onMessage: (message: string) => void): () => void {
    const { next } = decodeRange(this.#environment.peek(RANGE));
    if (this.#listeners.size === 0) {
      this.#next = next;
      this.#pollLater();
      this.#mute = this.#bell.listen(() => this.#deliver());
    }
    const listener: Listener = { channel, onMessage, from: next };
    this.#listeners.add(listener);
    return () => {
      if (this.#listeners.delete(listener) && this.#listeners.size === 0) this.close();
    };
  }

  close(): void {
    this.#listeners.clear();
    this.#cancelPoll?.();
    this.#cancelPoll = undefined;
    this.#mute?.();
    this.#mute = undefined;
  }

  #pollLater(): void {
    this.#cancelPoll = this.#clock.after(POLL_MS, () => {
      this.#pollLater();
      this.#deliver();
    });
  }

  #deliver(): void {
    if (this.#listeners.size === 0) return;
    const { first, next } = decodeRange(this.#environment.peek(RANGE));
    for (let number = Math.max(this.#next, first); number < next; number++) {
      const mail = decodeMessage(this.#environment.get(keyOf(number)));
      for (const listener of this.#listeners) {
        if (mail?.channel !== listener.channel || number < listener.from) continue;
        // In a microtask of its own: a listener that throws holds up neither the others nor the reading.
        queueMicrotask(() => {
          if (this.#listeners.has(listener)) listener.onMessage(mail.message);
        });
      }
    }
    this.#next = next;
  }

  #removeOld(first: number, next: number, now: number, limit: number): number {
    const end = Math.min(next, first + limit);
    let number = first;
    while (number < end) {
      const mail = decodeMessage(this.#environment.get(keyOf(number)));
      // A message of the future was written before the clock went back: it is as old as any.
      if (mail !== undefined && Math.abs(now - mail.at) <= KEEP_MS) break;
      this.#writer.remove(keyOf(number++));
    }
    return number;
  }
}

function keyOf(number: number): Buffer {
  const key = Buffer.alloc(10);
  key.write("p:");
  key.writeDoubleBE(number, 2);
  return key;
}

function encodeMessage(at: number, channel: string, message: string): Buffer {
  return Buffer.from(JSON.stringify([at, channel, message]));
}

function decodeMessage(bytes: Buffer | undefined): { at: number; channel: string; message: string } | undefined {
  const parts: unknown = bytes === undefined ? undefined : JSON.parse(bytes.toString());
  if (!Array.isArray(parts)) return undefined;
  const [at, channel, message]: unknown[] = parts;
  if (typeof at !== "number" || typeof channel !== "string" || typeof message !== "string") return undefined;
  return { at, channel, message };
}

/** The messages there are: from `first` to before `next`. */
function encodeRange(first: number, next: number): Buffer {
  const bytes = Buffer.allocUnsafe(16);
  bytes.writeDoubleBE(first, 0);
  bytes.writeDoubleBE(next, 8);
  return bytes;
}

function decodeRange(bytes: Buffer | undefined): { first: number; next: number } {
  return bytes === undefined ? { first: 1, next: 1 } : { first: bytes.readDoubleBE(0), next: bytes.readDoubleBE(8) };
}
