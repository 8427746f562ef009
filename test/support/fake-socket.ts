/** A WebSocket as `ws` makes them, by shape, without a network: what came in while it is paused is emitted once it is resumed. */
import { EventEmitter } from "node:events";
import type { Socket } from "../../lib/registry/socket.js";

export class FakeSocket extends EventEmitter implements Socket {
  readyState = 1;
  paused = false;
  terminated = false;
  closedWith: number | undefined;
  /** What the application was given. */
  readonly heard: string[] = [];

  constructor() {
    super();
    this.on("message", (text: string) => this.heard.push(text));
  }
  close(code: number): void {
    this.closedWith ??= code;
    this.readyState = 2;
  }
  terminate(): void {
    this.terminated = true;
    this.gone();
  }
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
  /** A message comes in. */
  receive(text: string): void {
    this.emit("message", text);
  }
  /** The other side is gone. */
  gone(): void {
    this.readyState = 3;
    this.emit("close");
  }
}
