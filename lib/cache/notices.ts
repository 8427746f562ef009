/**
 * What comes in on a node's channel, as text: the echo of its own beat, a drop, or an ack to a drop of its own. The engine writes the
 * first two (engines/redis/lua), nodes the third. What can't be read is none: counts and leases then find out that something is missing.
 */
import { isKey, type Key } from "../names.js";

export type Notice =
  | { readonly kind: "echo"; readonly serial: number; readonly epoch: number; readonly count: number; readonly now: number }
  /** Somebody wrote `version` under a key that this node may have a copy of, or ended it; the writer waits for our answer. */
  | {
      readonly kind: "drop";
      readonly key: Key;
      readonly version: number;
      readonly writer: number;
      readonly epoch: number;
      readonly ended: boolean;
    }
  /** The node of that number and epoch (`by`) has nothing older than `version` of that key any more; for the writer of `epoch`. */
  | {
      readonly kind: "acks";
      readonly number: number;
      readonly by: number;
      readonly epoch: number;
      readonly acked: readonly Acked[];
    };

export interface Acked {
  readonly key: Key;
  readonly version: number;
  /** How many live things of the session it closed, if the session ended by that. */
  readonly closed: number;
}

export function parseNotice(text: string): Notice | undefined {
  const [kind, ...rest] = text.split(" ");
  if (kind === "echo") {
    const [serial = 0, epoch = 0, count = 0, now = 0] = rest.map(Number);
    return { kind, serial, epoch, count, now };
  }
  if (kind === "drop") {
    const [key = "", version, writer, epoch, what] = rest;
    if (!isKey(key)) return undefined;
    return { kind, key, version: Number(version), writer: Number(writer), epoch: Number(epoch), ended: what === "end" };
  }
  if (kind === "acks") {
    const [number, by, epoch, ...triples] = rest;
    const acked: Acked[] = [];
    for (let i = 0; i + 2 < triples.length; i += 3) {
      const key = triples[i] ?? "";
      if (isKey(key)) acked.push({ key, version: Number(triples[i + 1]), closed: Number(triples[i + 2]) });
    }
    return { kind, number: Number(number), by: Number(by), epoch: Number(epoch), acked };
  }
  return undefined;
}

/** `number`, `by`: who answers, and its epoch; `epoch`: of the writer that is answered. */
export function acksText(number: number, by: number, epoch: number, acked: readonly Acked[]): string {
  return `acks ${number} ${by} ${epoch} ${acked.map(({ key, version, closed }) => `${key} ${version} ${closed}`).join(" ")}`;
}

/** What an engine that tells nobody by itself is given to publish, when a session with holders ended: as lua/copies.lua writes it. */
export function endedText(key: Key, version: number, writer: number, epoch: number): string {
  return `drop ${key} ${version} ${writer} ${epoch} end`;
}
