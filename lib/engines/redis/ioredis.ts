/**
 * The client port over ioredis 5 and later, told by what a client can do. No type of the package leaves this file:
 * an application may have another version of it, or none.
 */
import type { Address } from "./address.js";
import type { Argument, Client, Dial, Source } from "./client.js";
import { NotSent } from "./failure.js";

// As it is now: an application's tests may put a fake in its place, which never runs.
const { nextTick } = process;

/** What we use of an ioredis client. */
export interface IoredisClient {
  readonly status: string;
  readonly options: object;
  /** The connection; ioredis makes a new one when it reconnects. */
  readonly stream?: { cork(): void; uncork(): void } | undefined;
  callBuffer(...args: Argument[]): Promise<unknown>;
  subscribe(channel: string): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  duplicate(overrides?: object): IoredisClient;
  connect(): Promise<void>;
  disconnect(): void;
  on(event: string, listener: (...args: string[]) => void): unknown;
  off(event: string, listener: (...args: string[]) => void): unknown;
}

/** A connection ends with its first error, and nothing is sent again: link.ts makes the next one. */
const ONE_CONNECTION = {
  lazyConnect: true,
  enableOfflineQueue: false,
  enableReadyCheck: false,
  autoResubscribe: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  retryStrategy: () => null,
  reconnectOnError: null,
  enableAutoPipelining: false,
};

export function isIoredis(client: object): client is IoredisClient {
  return (
    "callBuffer" in client && "status" in client && "options" in client && !("isCluster" in client && client.isCluster === true)
  );
}

export function ioredisAt(create: (options: object) => IoredisClient, address: Address, deadlineMs: number): Source {
  const { place, username, password, database } = address;
  const { tls, ...where } = "path" in place ? { ...place, tls: undefined } : place;
  const dial: Dial = (onLost) =>
    connection(
      create({
        ...where,
        ...(tls === undefined ? {} : { tls }),
        ...(username === undefined ? {} : { username }),
        ...(password === undefined ? {} : { password }),
        db: database,
        connectTimeout: deadlineMs,
        keepAlive: 5_000,
        ...ONE_CONNECTION,
      }),
      onLost,
    );
  return { commands: dial, separate: dial, own: true };
}

export function givenIoredis(client: IoredisClient, deadlineMs: number): Source {
  const sentinels = "sentinels" in client.options ? client.options.sentinels : undefined;
  return {
    own: false,
    sentinel: Array.isArray(sentinels) && sentinels.length > 0,
    commands: () => given(client),
    separate: (onLost) => connection(client.duplicate({ ...ONE_CONNECTION, connectTimeout: deadlineMs }), onLost),
  };
}

function connection(client: IoredisClient, onLost: (reason: unknown) => void): Client {
  let reason: unknown;
  client.on("error", (error: unknown) => {
    reason = error;
  });
  client.on("close", () => onLost(reason));
  const pack = packing(client);
  return {
    ...verbs(client),
    call: (args) => {
      if (client.status !== "ready") return Promise.reject(new NotSent("the client isn't ready"));
      pack();
      return client.callBuffer(...args);
    },
    // connect() says "Connection is closed", the event before it says why.
    opened: client.connect().catch((error) => {
      throw reason ?? error;
    }),
    close: () => client.disconnect(),
  };
}

/**
 * An application's client may send a command again after it reconnected: the reply then says nothing about the first time
 * (a commit that succeeded reads as a conflict), so no reply counts that came after a break.
 */
function given(client: IoredisClient): Client {
  let breaks = 0;
  const onClose = () => {
    breaks++;
  };
  client.on("close", onClose);
  const pack = packing(client);
  const call = (args: Argument[]) => {
    const before = breaks;
    pack();
    const known = () => {
      if (before !== breaks) throw new Error("The connection broke");
    };
    return client.callBuffer(...args).then(
      (reply) => {
        known();
        return reply;
      },
      (error) => {
        known();
        throw error;
      },
    );
  };
  return {
    ...verbs(client),
    call: (args) => (client.status === "ready" ? call(args) : Promise.reject(new NotSent("the client isn't ready"))),
    // Still connecting, or lazy: waited for in its own queue.
    opened: client.callBuffer("PING").then(() => {}),
    close: () => void client.off("close", onClose),
  };
}

/**
 * ioredis sends each command by itself, a system call each: what is called in one go is held, and sent as one. To be called before each
 * command.
 */
function packing(client: IoredisClient): () => void {
  let packed = false;
  return () => {
    const { stream } = client;
    if (packed || stream === undefined) return;
    packed = true;
    stream.cork();
    nextTick(() => {
      packed = false;
      stream.uncork();
    });
  };
}

function verbs(client: IoredisClient): Pick<Client, "subscribe"> {
  return {
    async subscribe(channel, onMessage) {
      const listener = (from: string, message: string) => {
        if (from === channel) onMessage(message);
      };
      client.on("message", listener);
      try {
        await client.subscribe(channel);
      } catch (error) {
        client.off("message", listener);
        throw error;
      }
      return async () => {
        client.off("message", listener);
        await client.unsubscribe(channel);
      };
    },
  };
}
