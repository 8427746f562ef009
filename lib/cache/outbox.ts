/** Acks that go out with the end of this turn, together, one message a writer. */
import { type Dropped, type Engine, nodeChannel } from "../engines/engine.js";
import { type Acked, acksText } from "./notices.js";
import type { Standing } from "./standing.js";

export class Outbox {
  readonly #engine: Engine;
  readonly #standing: Standing;
  readonly #onSend: () => void;
  readonly #waiting = new Map<string, { number: number; epoch: number; acked: Acked[]; dropped: Dropped[] }>();

  /** `onSend`: a message goes out. */
  constructor(engine: Engine, standing: Standing, onSend: () => void) {
    this.#engine = engine;
    this.#standing = standing;
    this.#onSend = onSend;
  }

  /** To the node of that number and epoch. `dropped`: what this node has nothing of any more. */
  put(number: number, epoch: number, acked: Acked, dropped: Dropped): void {
    const to = `${number} ${epoch}`;
    if (this.#waiting.size === 0) queueMicrotask(() => this.#send());
    const waiting = this.#waiting.get(to);
    if (waiting === undefined) this.#waiting.set(to, { number, epoch, acked: [acked], dropped: [dropped] });
    else {
      waiting.acked.push(acked);
      waiting.dropped.push(dropped);
    }
  }

  #send(): void {
    const from = this.#standing;
    for (const { number, epoch, acked, dropped } of this.#waiting.values()) {
      this.#onSend();
      const [channel, text] = [nodeChannel(number), acksText(from.number, from.epoch, epoch, acked)];
      const sent = this.#engine.answer?.(channel, text, from.number, dropped) ?? this.#engine.publish(channel, text);
      // One that is lost costs the writer a wait, no more.
      sent.catch(() => {});
    }
    this.#waiting.clear();
  }
}
