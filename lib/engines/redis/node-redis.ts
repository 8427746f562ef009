/**
 * The client port over node-redis 5 and later, told by what a client can do. No type of the package leaves this file:
 * an application may have another version of it, or none.
 */
import { AnynodeError } from "../../errors.js";
import type { Address } from "./address.js";
import type { Argument, Client, Dial, Source } from "./client.js";
import { NotSent } from "./failure.js";

/** What we use of a node-redis client. */
export interface NodeRedisClient {
  readonly isOpen: boolean;
  readonly isReady: boolean;
  readonly options?: { readonly socket?: object | undefined; readonly keyPrefix?: unknown } | undefined;
  sendCommand(args: Argument[], options?: object): Promise<unknown>;
  subscribe(channel: string, listener: (message: string) => void): Promise<void>;
  unsubscribe(channel: string): Promise<void>;
  duplicate(overrides?: object): NodeRedisClient;
  connect(): Promise<unknown>;
  destroy(): void;
  on(event: "error", listener: (error: Error) => void): unknown;
}

/**
 * Whatever the client maps replies to, ours are Buffers (36 is "$", a bulk string) and plain numbers. And no timer per command: by
 * default the package makes an AbortSignal for each, which costs more than the rest of the command.
 */
const PLAIN = { typeMapping: { 36: Buffer }, timeout: undefined, abortSignal: undefined, asap: undefined };

/** A connection ends with its first error: link.ts makes the next one. */
const ONE_CONNECTION = { disableOfflineQueue: true, maintNotifications: "disabled" } as const;

export function isNodeRedis(client: object): client is NodeRedisClient {
  return (
    "sendCommand" in client &&
    "isReady" in client &&
    "withTypeMapping" in client &&
    !("execute" in client || "nodeClient" in client)
  );
}

export function nodeRedisAt(create: (options: object) => NodeRedisClient, address: Address, deadlineMs: number): Source {
  const { place, username, password, database } = address;
  const dial: Dial = (onLost) =>
    connection(
      create({
        socket: { ...socketOf(place), connectTimeout: deadlineMs, keepAliveInitialDelay: 5_000, reconnectStrategy: false },
        ...(username === undefined ? {} : { username }),
        ...(password === undefined ? {} : { password }),
        database,
        ...ONE_CONNECTION,
      }),
      onLost,
    );
  return { commands: dial, separate: dial, own: true };
}

function socketOf(place: Address["place"]): object {
  return "path" in place ? place : { ...place.tls, host: place.host, port: place.port, tls: place.tls !== undefined };
}

export function givenNodeRedis(client: NodeRedisClient, deadlineMs: number): Source {
  return {
    own: false,
    commands: () => ({ ...verbs(client), opened: usable(client), close() {} }),
    separate: (onLost) => {
      const socket = { ...client.options?.socket, connectTimeout: deadlineMs, reconnectStrategy: false };
      return connection(client.duplicate({ socket, ...ONE_CONNECTION }), onLost);
    },
  };
}

function connection(client: NodeRedisClient, onLost: (reason: unknown) => void): Client {
  client.on("error", onLost);
  return {
    ...verbs(client),
    opened: client.connect().then(() => {}),
    close() {
      try {
        client.destroy();
      } catch {
        // Version 5 throws when it is closed already.
      }
    },
  };
}

function verbs(client: NodeRedisClient): Pick<Client, "call" | "subscribe"> {
  return {
    call: (args) => (client.isReady ? client.sendCommand(args, PLAIN) : Promise.reject(new NotSent("the client isn't ready"))),
    async subscribe(channel, onMessage) {
      await client.subscribe(channel, onMessage);
      return () => client.unsubscribe(channel);
    },
  };
}

/** An application's client that is still connecting is waited for, in its own queue. */
async function usable(client: NodeRedisClient): Promise<void> {
  if (!client.isOpen)
    throw new AnynodeError(
      "ENGINE_UNSUPPORTED",
      "The Redis client isn't open. Call `await client.connect()` before anynode uses it.",
    );
  await client.sendCommand(["PING"], PLAIN);
}
