/**
 * The client port: all that the engine needs of a Redis client. One `Client` is one connection (or a client that the application
 * owns): when it is over, everything under way on it fails, nothing is ever sent again, and another one takes its place (link.ts).
 */

export type Argument = string | Buffer;

export interface Client {
  /** Settles once it can be used, or can't. */
  readonly opened: Promise<void>;
  /** Sends one command at once, or rejects with NotSent. Bulk replies come as Buffers. */
  call(args: Argument[]): Promise<unknown>;
  /** Resolves when the subscription stands, with what ends it. One subscription a channel. */
  subscribe(channel: string, onMessage: (message: string) => void): Promise<() => Promise<void>>;
  /** Lets go of the connection at once; of a client that the application owns, only of our listeners. */
  close(): void;
}

/** Makes one client. `onLost` is told when its connection is over, but not after `close()`. */
export type Dial = (onLost: (reason: unknown) => void) => Client;

/** Where the connections of an engine come from. */
export interface Source {
  readonly commands: Dial;
  /** For subscriptions, or commands that hold up their connection: always one of our own. */
  readonly separate: Dial;
  /** False for an application's client, which reconnects as it was told to. */
  readonly own: boolean;
  /** Sentinels say which server is the primary: it may change. */
  readonly sentinel?: boolean;
}
