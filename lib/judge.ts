/**
 * Bytes from the engine are judged, not trusted. The engine has judged the idle deadline; here it is said whether what it found can be
 * read, is a session still by its absolute deadline, and wasn't ended with everyone's.
 */
import type { EngineClock } from "./clock.js";
import type { Found, Listed } from "./engines/engine.js";
import type { EventMap, Events } from "./events.js";
import type { Key } from "./names.js";
import type { Watermark } from "./registry/watermark.js";
import type { Codec, Unreadable } from "./session/codec.js";
import type { Loaded } from "./session/record.js";
import { isUserKey } from "./session/user-key.js";

export class Judge {
  readonly #codec: Codec;
  readonly #engineClock: EngineClock;
  readonly #watermark: Watermark;
  readonly #events: Events;

  constructor(codec: Codec, engineClock: EngineClock, watermark: Watermark, events: Events) {
    this.#codec = codec;
    this.#engineClock = engineClock;
    this.#watermark = watermark;
    this.#events = events;
  }

  /** What can't be read counts as no session, is reported once, and left as it is; what only this node can't read, for lack of a key, comes back as that. */
  readable(key: Key, { version, idleAt, body }: Omit<Found, "outcome"> | Listed): Loaded | Unreadable | undefined {
    const decoded = this.#codec.decode(body, key);
    if (decoded.outcome !== "record") {
      this.report(`${key}${version}`, decoded.outcome);
      return decoded.outcome === "key-missing" ? decoded : undefined;
    }
    return this.unexpired({ key, version, idleAt, record: decoded.record });
  }

  /** What is there, whoever may read it: an index, a session that is over, or one that goes on elsewhere. Reported to nobody. */
  seen(key: Key, { version, idleAt, body }: Omit<Found, "outcome">): Loaded | Unreadable {
    const decoded = this.#codec.decode(body, key);
    return decoded.outcome === "record" ? { key, version, idleAt, record: decoded.record } : decoded;
  }

  unexpired(loaded: Loaded): Loaded | undefined {
    const { absoluteAt } = loaded.record.header;
    if (this.isOver(loaded)) return undefined;
    return absoluteAt > 0 && this.#engineClock.latest() >= absoluteAt ? undefined : loaded;
  }

  /** Whether everyone's sessions were ended since this one began. */
  isOver({ key, record }: Loaded): boolean {
    return this.#watermark.covers(record.header.createdAt) && !isUserKey(key);
  }

  report(which: string, why: EventMap["unreadable"]["why"]): void {
    this.#events.emitOnce(which, "unreadable", { why });
  }
}
