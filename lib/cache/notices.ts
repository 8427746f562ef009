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
      readonly serial: number;
      readonly ended: boolean;
    }
  /** A node (its number, and its epoch `by`) has nothing any more of what those drops were about; for the writer of `epoch`, by its own serials. */
  | {
      readonly kind: "acks";
      readonly number: number;
      readonly by: number;
      readonly epoch: number;
      readonly acked: readonly Acked[];
    };

export interface Acked {
  /** The writer's own, as the drop had it. */
  readonly serial: number;
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
    const [key = "", version, writer, epoch, serial, what] = rest;
    if (!isKey(key)) return undefined;
    const ended = what === "end";
    return { kind, key, version: Number(version), writer: Number(writer), epoch: Number(epoch), serial: Number(serial), ended };
  }
  if (kind === "acks") {
    const [number = 0, by = 0, epoch = 0, ...pairs] = rest.map(Number);
    const acked: Acked[] = [];
    for (let i = 0; i + 1 < pairs.length; i += 2) acked.push({ serial: pairs[i] ?? 0, closed: pairs[i + 1] ?? 0 });
    return { kind, number, by, epoch, acked };
  }
  return undefined;
}

/** `number`, `by`: who answers, and its epoch; `epoch`: of the writer that is answered. */
export function acksText(number: number, by: number, epoch: number, acked: readonly Acked[]): string {
  return `acks ${number} ${by} ${epoch} ${acked.map(({ serial, closed }) => `${serial} ${closed}`).join(" ")}`;
}

/** What is published for an engine that tells nobody by itself, when a session with holders ended: as lua/copies.lua writes it. */
export function endedText(key: Key, version: number, writer: number, epoch: number, serial: number): string {
  return `drop ${key} ${version} ${writer} ${epoch} ${serial} end`;
}
