/** An engine with copies on a `CopiesServer`, over a wire of the test's choosing: a direct one, or an unruly one (unruly-wire.ts). */
import { type Engine, NO_NODE, type Subscription } from "../../lib/engines/engine.js";
import { AnynodeError } from "../../lib/errors.js";
import { CopiesServer, Full } from "./copies-server.js";

/** What is between a node and the server. */
export interface Wire {
  /** Runs a command at the server and brings its reply back, or not. */
  call<T>(command: () => T): Promise<T>;
  /** A message comes to this node's subscription. */
  deliver(run: () => void): void;
  /** The subscriptions' connection is made anew. */
  renew?(): void;
}
interface Listener {
  readonly wire: Wire;
  readonly hear: (message: string) => void;
}

export class CopiesMedium {
  readonly server: CopiesServer;
  readonly #listeners = new Map<string, Set<Listener>>();

  constructor(now: () => number) {
    this.server = new CopiesServer(now, (channel, message) => this.publish(channel, message));
  }

  publish(channel: string, message: string): void {
    const listeners = this.#listeners.get(channel);
    for (const listener of listeners ?? []) {
      listener.wire.deliver(() => {
        if (listeners?.has(listener)) listener.hear(message);
      });
    }
  }

  engine(wire: Wire = direct): Engine {
    const { server } = this;
    let closed = false;
    const call = async <T>(command: () => T): Promise<T> => {
      if (closed) throw new AnynodeError("CLOSED", "This engine was closed.");
      try {
        return await wire.call(command);
      } catch (error) {
        if (error instanceof Full) throw new AnynodeError("ENGINE_FULL", "There is no room.");
        throw error;
      }
    };
    const mine = new Set<() => void>();
    const subscribe = async (channel: string, hear: (message: string) => void): Promise<Subscription> => {
      const listener: Listener = { wire, hear: (message) => hear(message) };
      const all = this.#listeners.get(channel) ?? new Set();
      const leave = () => void all.delete(listener);
      const enter = () => {
        if (server.mute) throw new AnynodeError("ENGINE_UNAVAILABLE", "It may not subscribe.");
        if (!gaveUp) this.#listeners.set(channel, all.add(listener));
      };
      let gaveUp = false;
      try {
        await call(enter);
      } catch (error) {
        gaveUp = true;
        leave();
        throw error;
      }
      mine.add(leave);
      return { close: async () => leave(), renew: async () => wire.renew?.() };
    };
    return {
      kind: "leased",
      namespace: "leased",
      open: () => call(() => {}),
      read: (key, known) => call(() => server.read(key, known)),
      fill: (key, by, known) => call(() => server.fill(key, by, known)),
      create: (key, body, deadlines, by = NO_NODE, fresh = false) => {
        const copy = Buffer.from(body);
        return call(() => server.create(key, copy, deadlines, by, fresh));
      },
      commit: (key, expected, body, deadlines, by = NO_NODE) => {
        const copy = Buffer.from(body);
        return call(() => server.commit(key, expected, copy, deadlines, by));
      },
      touch: (key, expected, deadlines) => call(() => server.touch(key, expected, deadlines)),
      end: (key, by = NO_NODE) => call(() => server.end(key, by)),
      regenerate: (from, expected, to, body, deadlines, by = NO_NODE, stays) => {
        const copy = Buffer.from(body);
        return call(() => server.regenerate(from, expected, to, copy, deadlines, by, stays));
      },
      attach: (key, holder) => call(() => server.attach(key, holder)),
      detach: (key, holder) => call(() => server.detach(key, holder)),
      holders: (key) => call(() => server.holders(key)),
      async *list() {
        for (const key of await call(() => [...server.values.keys()])) {
          const read = await call(() => server.read(key));
          if (read.outcome === "found") yield { key, version: read.version, idleAt: read.idleAt, body: read.body };
        }
      },
      join: (nodeId, lastEpoch, about) => call(() => server.join(nodeId, lastEpoch, about)),
      beat: (nodeId, epoch, about, echo) => call(() => server.beat(nodeId, epoch, about, echo)),
      leave: (nodeId, epoch) => call(() => server.leave(nodeId, epoch)),
      nodes: () => call(() => server.nodes()),
      publish: (channel, message) =>
        call(() => {
          if (server.mute) throw new AnynodeError("ENGINE_UNAVAILABLE", "It may not publish.");
          this.publish(channel, message);
        }),
      subscribe,
      async close() {
        closed = true;
        for (const leave of mine) leave();
      },
    };
  }
}

/** Nothing goes wrong on it. */
const direct: Wire = { call: async (command) => command(), deliver: (run) => queueMicrotask(run) };
