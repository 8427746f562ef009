/**
 * Forgets expired records and ended marks whose time is over, in steps of bounded size, whichever process gets there first.
 * The claim is a row with an owner, an end and the cursor: a process that was killed is followed where it stopped.
 * The invariant: only what is over is removed, looked at again inside of the batch, and its version is remembered.
 */
import { randomUUID } from "node:crypto";
import type { Clock } from "../../clock.js";
import * as register from "../register.js";
import type { Environment } from "./environment.js";
import { rowOf } from "./holdings.js";
import type { Mailbox } from "./mailbox.js";
import { decodeSlot } from "./slots.js";
import type { Writer } from "./writer.js";

/** Slots that a step looks at (about 1 ms), the pause between two, and the one when more than a quarter was over. */
const STEP = 250;
const PAUSE_MS = 500;
const HURRY_MS = 5;
/** How long a claim lasts; also how often the others look, and how often the owner stores its cursor when nothing is over. */
const CLAIM_MS = 10_000;

/** Old messages that the owner of the claim removes each time it renews it. */
const MAIL_STEP = 1_000;

const SLOT_PREFIX_BYTES = 2;
const CLAIM = Buffer.from("m:sweep");
const FORGOTTEN = Buffer.from("m:forgotten");

interface Claim {
  readonly owner: string;
  readonly until: number;
  readonly cursor: Buffer;
}

/** The highest version that a sweep has forgotten. */
export function forgottenVersion(environment: Pick<Environment, "get">): number {
  return environment.get(FORGOTTEN)?.readDoubleBE(0) ?? 0;
}

export class Sweep {
  readonly #environment: Environment;
  readonly #writer: Writer;
  readonly #mailbox: Mailbox;
  readonly #clock: Clock;
  readonly #slots: { readonly start: Buffer; readonly end: Buffer };
  readonly #owner = randomUUID();
  #cursor: Buffer;
  /** Until when our claim stands as stored; 0: it isn't ours. */
  #claimedUntil = 0;
  #cancel: (() => void) | undefined;

  constructor(
    environment: Environment,
    writer: Writer,
    mailbox: Mailbox,
    clock: Clock,
    slots: { readonly start: Buffer; readonly end: Buffer },
  ) {
    this.#environment = environment;
    this.#writer = writer;
    this.#mailbox = mailbox;
    this.#clock = clock;
    this.#slots = slots;
    this.#cursor = slots.start;
  }

  start(): void {
    this.#plan(PAUSE_MS);
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #plan(ms: number): void {
    this.#cancel = this.#clock.after(ms, async () => {
      // Whatever a step fails with (a stuck writer, a full disk) concerns the requests more, and they report it.
      const pauseMs = await this.#step().catch(() => CLAIM_MS);
      if (this.#cancel !== undefined) this.#plan(pauseMs);
    });
  }

  /** Gives back how long to pause. */
  async #step(): Promise<number> {
    const halfOver = this.#claimedUntil - this.#clock.now() < CLAIM_MS / 2;
    if (halfOver && !(await this.#claim())) return CLAIM_MS;
    const entries = this.#environment.range(this.#cursor, this.#slots.end, STEP);
    const over = entries.filter((entry) => this.#isOver(entry.value)).map((entry) => entry.key);
    this.#cursor = entries.length < STEP ? this.#slots.start : (entries.at(-1)?.key ?? this.#slots.start);
    if (over.length > 0) await this.#writer.write("none", () => this.#forget(over));
    return over.length > STEP / 4 ? HURRY_MS : PAUSE_MS;
  }

  /** Whether the claim is ours now. Writes nothing while it is another's, or while there is nothing to sweep. */
  async #claim(): Promise<boolean> {
    const nothing = this.#environment.range(this.#slots.start, this.#slots.end, 1).length === 0;
    if (nothing || this.#isAnothers(decodeClaim(this.#environment.get(CLAIM)))) {
      this.#claimedUntil = 0;
      return false;
    }
    this.#claimedUntil = await this.#writer.write("none", () => {
      const claim = decodeClaim(this.#environment.get(CLAIM));
      if (this.#isAnothers(claim)) return 0;
      if (claim !== undefined && claim.owner !== this.#owner) this.#cursor = claim.cursor;
      const until = this.#clock.now() + CLAIM_MS;
      this.#writer.put(CLAIM, encodeClaim({ owner: this.#owner, until, cursor: this.#cursor }));
      this.#mailbox.sweep(MAIL_STEP);
      return until;
    });
    this.#environment.forgetDeadReaders();
    return this.#claimedUntil > 0;
  }

  #isAnothers(claim: Claim | undefined): boolean {
    if (claim === undefined || claim.owner === this.#owner) return false;
    const leftMs = claim.until - this.#clock.now();
    // More than a claim can have left was written before the clock went back.
    return leftMs > 0 && leftMs <= CLAIM_MS;
  }

  #forget(keys: readonly Buffer[]): void {
    let forgotten = forgottenVersion(this.#environment);
    for (const key of keys) {
      const value = this.#environment.get(key);
      if (value === undefined || !this.#isOver(value)) continue;
      forgotten = Math.max(forgotten, decodeSlot(value)?.version ?? 0);
      this.#writer.remove(key);
      const holders = rowOf(key.toString("latin1", SLOT_PREFIX_BYTES));
      if (this.#environment.get(holders) !== undefined) this.#writer.remove(holders);
    }
    const bytes = Buffer.allocUnsafe(8);
    bytes.writeDoubleBE(forgotten);
    this.#writer.put(FORGOTTEN, bytes);
  }

  #isOver(value: Buffer): boolean {
    try {
      const slot = decodeSlot(value);
      return slot !== undefined && register.isOver(slot, this.#clock.now());
    } catch {
      // Unreadable: of a newer format, perhaps. It is left as it is.
      return false;
    }
  }
}

const OWNER_BYTES = 36;

function encodeClaim({ owner, until, cursor }: Claim): Buffer {
  const head = Buffer.alloc(8 + OWNER_BYTES);
  head.writeDoubleBE(until, 0);
  head.write(owner, 8, "latin1");
  return Buffer.concat([head, cursor]);
}

function decodeClaim(bytes: Buffer | undefined): Claim | undefined {
  if (bytes === undefined) return undefined;
  const owner = bytes.toString("latin1", 8, 8 + OWNER_BYTES);
  return { owner, until: bytes.readDoubleBE(0), cursor: bytes.subarray(8 + OWNER_BYTES) };
}
