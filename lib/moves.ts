/**
 * Sessions that go on under another key: a new id in one atomic step, with a grace for the old one or without, and a person who signs in.
 * A session of somebody is in their index under both keys until it has moved.
 */
import type { Copies } from "./cache/copies.js";
import type { CommitOutcome } from "./commits.js";
import type { Ends } from "./ends.js";
import type { Engine, Found } from "./engines/engine.js";
import { AnynodeError } from "./errors.js";
import type { Judge } from "./judge.js";
import type { Key, Sid } from "./names.js";
import type { Settings } from "./options.js";
import type { People } from "./people.js";
import type { Presence } from "./presence.js";
import type { ReadPath } from "./read-path.js";
import type { AttributeTexts } from "./session/attributes.js";
import { type Client, digestOf, recordedOf } from "./session/client.js";
import { type Codec, unreadable } from "./session/codec.js";
import { ABSOLUTE_MS, type HeaderPatch } from "./session/header.js";
import { isRandomSid, sharesTag } from "./session/id.js";
import { deadlinesOf, type Header, type Loaded, NOBODY, type SessionRecord } from "./session/record.js";
import { checkUser } from "./session/user-key.js";
import type { WritePath } from "./write-path.js";

/** A sign-in, as a front end has worked it out. */
export interface SignIn {
  readonly user: string;
  /** What of the session is carried over. */
  readonly attributes: AttributeTexts;
  readonly patch?: HeaderPatch;
  /** How long the session lives at the most. Default: as the options say, or 30 days. */
  readonly absoluteMs?: number | undefined;
  readonly client?: Client;
}

/** What a move is made of. */
export interface Steps {
  readonly presence: Presence;
  readonly judge: Judge;
  readonly reads: ReadPath;
  readonly writes: WritePath;
  readonly ends: Ends;
  readonly people: People;
}

export class Moves {
  readonly #engine: Engine;
  readonly #settings: Settings;
  readonly #copies: Copies;
  readonly #codec: Codec;
  readonly #presence: Presence;
  readonly #judge: Judge;
  readonly #reads: ReadPath;
  readonly #writes: WritePath;
  readonly #ends: Ends;
  readonly #people: People;

  constructor(engine: Engine, settings: Settings, copies: Copies, codec: Codec, steps: Steps) {
    this.#engine = engine;
    this.#settings = settings;
    this.#copies = copies;
    this.#codec = codec;
    this.#presence = steps.presence;
    this.#judge = steps.judge;
    this.#reads = steps.reads;
    this.#writes = steps.writes;
    this.#ends = steps.ends;
    this.#people = steps.people;
  }

  /** See Sessions. */
  async regenerate(from: Sid, loaded: Loaded, to: Sid, attributes: AttributeTexts, patch: HeaderPatch): Promise<CommitOutcome> {
    const record = { header: this.#writes.patched(loaded.record.header, patch), attributes };
    return this.#inPlace(loaded, to, () => this.#move(from, loaded, to, () => record));
  }

  /** See Sessions. */
  async rotate(from: Sid, loaded: Loaded, to: Sid, graceMs: number, patch: HeaderPatch): Promise<CommitOutcome> {
    // Whatever others have stored meanwhile goes along.
    const asItIs = ({ header, attributes }: SessionRecord) => ({ header: this.#writes.patched(header, patch), attributes });
    return this.#inPlace(loaded, to, () => this.#move(from, loaded, to, asItIs, graceMs));
  }

  /** See Sessions. */
  async login(from: Sid | undefined, loaded: Loaded | undefined, to: Sid, signIn: SignIn): Promise<CommitOutcome> {
    const { attributes, patch = {}, client = {}, absoluteMs } = signIn;
    const user = checkUser(signIn.user);
    const key = this.#reads.keyOf(to);
    if (!this.#presence.isOpen) await this.#presence.ready();
    const recorded = recordedOf(client, this.#settings.record);
    const most = absoluteMs ?? (this.#settings.absoluteMs || ABSOLUTE_MS);
    const fresh = this.#writes.patched(this.#writes.fresh(most), patch);
    const header = { ...fresh, user, authenticatedAt: fresh.createdAt, client: digestOf(recorded) };
    const record = { header, attributes };
    const entrance = { user, key, from: loaded?.key, absoluteAt: header.absoluteAt, ...recorded };
    return this.#people.signIn(entrance, () => {
      if (from !== undefined && loaded !== undefined) return this.#move(from, loaded, to, () => record);
      return this.#writes.commit(key, undefined, { mayCreate: true, fresh: isRandomSid(to), apply: () => record });
    });
  }

  /** A session of somebody goes on in the same place of their index. */
  #inPlace(loaded: Loaded, to: Sid, store: () => Promise<CommitOutcome>): Promise<CommitOutcome> {
    const { user } = loaded.record.header;
    return user === "" ? store() : this.#people.move(user, loaded, this.#reads.keyOf(to), store);
  }

  /** `recordOf`: what is stored under `to`, made from what `from` holds at last. */
  async #move(
    from: Sid,
    start: Loaded,
    to: Sid,
    recordOf: (current: SessionRecord) => SessionRecord,
    graceMs = 0,
  ): Promise<CommitOutcome> {
    const key = this.#reads.keyOf(to);
    if (!sharesTag(from, to)) return this.#inTwoSteps(start, key, recordOf);
    let loaded = start;
    const { clock, deadlineMs } = this.#settings;
    const startedAt = clock.monotonic();
    for (;;) {
      const record = recordOf(loaded.record);
      const body = this.#codec.encode(record, key);
      const writing = this.#copies.writing(loaded.key, false);
      const stays = graceMs > 0 ? { body: this.#leading(record.header, key, loaded.key), idleMs: graceMs } : undefined;
      const { header } = record;
      const work = this.#engine.regenerate(loaded.key, loaded.version, key, body, deadlinesOf(header), writing.by, stays);
      const result = await this.#ends.sent(writing, work);
      if (result.outcome !== "committed") this.#copies.refused(writing);
      if (result.outcome === "gone") return this.#writes.settled(loaded.key, { outcome: "gone", ended: result.ended });
      if (result.outcome === "committed") {
        const { version, idleAt, now, waitFor, holders } = result;
        const moved: CommitOutcome = { outcome: "committed", loaded: { key, version, idleAt, record } };
        this.#writes.settled(loaded.key, moved);
        await this.#ends.over(writing, version, now, waitFor, holders);
        return moved;
      }
      // Somebody changed it meanwhile: it moves, or ends, in that version, and from where it is by now.
      const next = await this.#current(loaded, result.current);
      if (typeof next === "string") return this.#writes.settled(loaded.key, { outcome: "gone", ended: next === "ended" });
      // Of two rotations at once one moves it, and that is enough: else two responses would each bring the browser an id.
      if (graceMs > 0 && next.key !== loaded.key) return { outcome: "committed", loaded: next };
      loaded = next;
      if (clock.monotonic() - startedAt >= deadlineMs) {
        throw new AnynodeError(
          "CONTENDED",
          `Others kept committing to the session for ${deadlineMs} ms (deadlineMs); nothing was stored.`,
        );
      }
    }
  }

  /** Between keys that no engine can change in one step. */
  async #inTwoSteps(
    { key, record }: Loaded,
    to: Key,
    recordOf: (current: SessionRecord) => SessionRecord,
  ): Promise<CommitOutcome> {
    const { ended } = await this.#ends.end(key);
    if (!ended) return this.#writes.settled(key, { outcome: "gone", ended: true });
    const stored = await this.#writes.commit(to, undefined, { mayCreate: true, apply: () => recordOf(record) });
    return this.#writes.settled(to, stored);
  }

  async #current(loaded: Loaded, found: Found): Promise<Loaded | "ended" | "missing"> {
    const seen = this.#judge.seen(loaded.key, found);
    if ("outcome" in seen) throw unreadable(seen);
    const { movedTo } = seen.record.header;
    if (movedTo === "") return seen;
    const next = await this.#reads.peek(movedTo);
    if (next === "unreadable") throw unreadable({ outcome: "damaged" });
    return next;
  }

  /** What stays under a key whose session goes on under another one. */
  #leading(header: Header, movedTo: Key, from: Key): Buffer {
    return this.#codec.encode({ header: { ...header, ...NOBODY, cookie: "", movedTo }, attributes: new Map() }, from);
  }
}
