/** A wire on which a test holds up commands, replies or messages, each kind from when it says so until it lets go, or loses messages. */
import { Gate } from "./engine-double.js";
import type { Wire } from "./leased-engine.js";

export class HeldWire implements Wire {
  /** Messages to this node get lost. */
  deaf = false;
  onRenew: () => void = () => {};
  #commands: Gate | undefined;
  #replies: Gate | undefined;
  #messages: (() => void)[] | undefined;

  async call<T>(command: () => T): Promise<T> {
    const [before, after] = [this.#commands, this.#replies];
    await before?.passed;
    const reply = command();
    await after?.passed;
    return reply;
  }

  renew(): void {
    this.onRenew();
  }

  deliver(run: () => void): void {
    if (this.deaf) return;
    if (this.#messages === undefined) queueMicrotask(run);
    else this.#messages.push(run);
  }

  /** What is asked from now on doesn't reach the server until the test lets go. */
  holdCommands(): () => Promise<void> {
    const gate = new Gate();
    this.#commands = gate;
    return () => {
      this.#commands = undefined;
      return opened(gate);
    };
  }

  /** What is asked from now on runs, and its reply doesn't come until the test lets go. */
  holdReplies(): () => Promise<void> {
    const gate = new Gate();
    this.#replies = gate;
    return () => {
      this.#replies = undefined;
      return opened(gate);
    };
  }

  /** What is held stays held; what is asked from now on passes. */
  pass(): void {
    this.#commands = undefined;
    this.#replies = undefined;
  }

  holdMessages(): () => Promise<void> {
    const held: (() => void)[] = [];
    this.#messages = held;
    return async () => {
      this.#messages = undefined;
      for (const run of held) queueMicrotask(run);
      await settled();
    };
  }
}

async function opened(gate: Gate): Promise<void> {
  gate.open();
  await settled();
}

/** Everything that needs no time has happened. */
export async function settled(): Promise<void> {
  for (let turns = 0; turns < 4; turns++) await new Promise(setImmediate);
}
