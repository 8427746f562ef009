/**
 * Where a host's session object comes from: the record that was loaded, and what the object showed of it. So a save stores what the
 * request changed, not the whole object, and one object's saves happen one after the other: never a conflict with itself.
 */
import type { CommitOutcome } from "../commits.js";
import type { MaybePromise } from "../engines/engine.js";
import { type AttributeTexts, type Changes, changesBetween } from "../session/attributes.js";
import type { Header, Loaded } from "../session/record.js";
import type { HeaderPatch, Sessions } from "../sessions.js";

export class Origin {
  readonly sid: string;
  readonly #sessions: Sessions;
  /** The host made the id for this very object. */
  readonly #fresh: boolean;
  #loaded: Loaded | undefined;
  /** The attributes as the object shows them: after a merge the record holds more. */
  #shown: AttributeTexts;
  /** Likewise the cookie settings, as the header's text. */
  #cookie: string;
  #tail: Promise<unknown> = Promise.resolve();
  /** How many saves and touches are under way or wait for their turn. */
  #turns = 0;

  /** Without `loaded`: an object that was never stored; its first save replaces whatever the id holds. `fresh`: its id was made for it. */
  constructor(sessions: Sessions, sid: string, loaded?: Loaded, shown: AttributeTexts = new Map(), fresh = false) {
    this.#sessions = sessions;
    this.#fresh = fresh;
    this.sid = sid;
    this.#loaded = loaded;
    this.#shown = shown;
    this.#cookie = loaded?.record.header.cookie ?? "";
  }

  /** Whether there was a record behind the object. */
  get stored(): boolean {
    return this.#loaded !== undefined;
  }

  /** The cookie settings as the object showed them when it was loaded or last saved: the header's text, "" = none. */
  get cookie(): string {
    return this.#cookie;
  }

  /** What was stored of it besides the attributes. */
  get header(): Header | undefined {
    return this.#loaded?.record.header;
  }

  save(texts: AttributeTexts, patch: HeaderPatch): Promise<void> {
    return this.#inTurn(async () => {
      const outcome =
        this.#loaded === undefined
          ? await (this.#fresh ? this.#sessions.create(this.sid, texts, patch) : this.#sessions.replace(this.sid, texts, patch))
          : await this.#sessions.save(this.#loaded, changesBetween(this.#shown, texts), this.#news(patch));
      if (outcome.outcome === "committed") this.#loaded = outcome.loaded;
      this.#shown = texts;
      this.#cookie = patch.cookie ?? this.#cookie;
    });
  }

  /** Done at once, without a promise, where there is nothing to store: a host can then answer in one piece. */
  touch(patch: HeaderPatch): MaybePromise<void> {
    if (this.#turns > 0 || this.#loaded === undefined) return this.#inTurn(() => this.#touch(patch));
    const outcome = this.#sessions.save(this.#loaded, NOTHING, this.#news(patch));
    if (outcome instanceof Promise) return this.#inTurn(async () => this.#settled(await outcome, patch));
    this.#settled(outcome, patch);
  }

  async #touch(patch: HeaderPatch): Promise<void> {
    const loaded = this.#loaded ?? (await this.#sessions.load(this.sid));
    if (loaded === undefined) return;
    this.#settled(await this.#sessions.save(loaded, NOTHING, this.#news(patch)), patch);
  }

  #settled(outcome: CommitOutcome, patch: HeaderPatch): void {
    // An object of other make doesn't show what was loaded for its touch: its save goes on replacing the whole.
    if (this.#loaded !== undefined && outcome.outcome === "committed") this.#loaded = outcome.loaded;
    this.#cookie = patch.cookie ?? this.#cookie;
  }

  /** What the request itself changed: settings that it left alone must not undo another request's. */
  #news(patch: HeaderPatch): HeaderPatch {
    if (patch.cookie !== this.#cookie) return patch;
    return patch.idleMs === "default" ? { idleMs: "default" } : {};
  }

  #inTurn(task: () => Promise<void>): Promise<void> {
    const turn = this.#turns === 0 ? task() : this.#tail.then(task);
    this.#turns += 1;
    const over = () => {
      this.#turns -= 1;
    };
    this.#tail = turn.then(over, over);
    return turn;
  }
}

const NOTHING: Changes = new Map();
