/**
 * Subscriptions, over a connection of their own that is opened with the first of them and brings them all back when it was lost.
 * What was published meanwhile is lost: nobody may take a subscription for proof of having heard everything.
 */
import type { Clock } from "../../clock.js";
import type { Subscription } from "../engine.js";
import type { Client, Dial } from "./client.js";
import { Link } from "./link.js";

interface Topic {
  readonly listeners: Set<(message: string) => void>;
  readonly onMessage: (message: string) => void;
  /** Resolves when the subscription stands. */
  standing: Promise<void>;
  /** The connection that it stands on. */
  on: Client | undefined;
  unsubscribe: () => Promise<void>;
}

export class Channel {
  readonly #link: Link;
  readonly #topics = new Map<string, Topic>();

  constructor(dial: Dial, clock: Clock, deadlineMs: number) {
    this.#link = new Link(dial, clock, deadlineMs, async (client) => {
      await Promise.all([...this.#topics].map(([name, topic]) => subscribe(client, name, topic)));
    });
  }

  async subscribe(name: string, onMessage: (message: string) => void): Promise<Subscription> {
    const topic = this.#topics.get(name) ?? this.#open(name);
    // A function of its own: one onMessage may be subscribed twice.
    const listener = (message: string) => onMessage(message);
    topic.listeners.add(listener);
    try {
      await topic.standing;
      // It stood once; if the connection was lost since, it stands again with the next one.
      await this.#link.connect();
    } catch (error) {
      this.#leave(name, topic, listener);
      throw error;
    }
    return {
      close: async () => {
        // On a connection that is gone there is nothing to give up.
        if (!this.#leave(name, topic, listener)) return;
        if (this.#link.holds(topic.on)) await topic.unsubscribe();
        // Else it would keep a process from ending whose application keeps the engine open.
        if (this.#topics.size === 0) this.#link.rest();
      },
    };
  }

  /** A subscription command wasn't answered in time: the connection is half open. All subscriptions move to a new one. */
  renew(reason: unknown): void {
    this.#link.renew(reason);
  }

  close(): void {
    // What is on its way still comes in: ioredis closes its half of the connection only.
    for (const { listeners } of this.#topics.values()) listeners.clear();
    this.#topics.clear();
    this.#link.close();
  }

  #open(name: string): Topic {
    const listeners = new Set<(message: string) => void>();
    const onMessage = (message: string) => {
      for (const listener of listeners) listener(message);
    };
    const topic: Topic = { listeners, onMessage, standing: Promise.resolve(), on: undefined, unsubscribe: async () => {} };
    topic.standing = this.#link.connect().then(() => subscribe(this.#link.current, name, topic));
    this.#topics.set(name, topic);
    return topic;
  }

  /** Whether the topic has no listener left. It is forgotten then. */
  #leave(name: string, topic: Topic, listener: (message: string) => void): boolean {
    if (!topic.listeners.delete(listener) || topic.listeners.size > 0) return false;
    if (this.#topics.get(name) === topic) this.#topics.delete(name);
    return true;
  }
}

/** A new connection brings back all topics before it is used: one that it brought back isn't subscribed twice. */
async function subscribe(client: Client, name: string, topic: Topic): Promise<void> {
  if (topic.on === client) return;
  topic.unsubscribe = await client.subscribe(name, topic.onMessage);
  topic.on = client;
}
