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
  /** A node has nothing any more of what those drops were about; for the writer of that epoch, by its own serials. */
  | { readonly kind: "acks"; readonly number: number; readonly epoch: number; readonly serials: readonly number[] };

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
    const [number = 0, epoch = 0, ...serials] = rest.map(Number);
    return { kind, number, epoch, serials };
  }
  return undefined;
}

/** `number`: who answers; `epoch`: of the writer that is answered. */
export function acksText(number: number, epoch: number, serials: readonly number[]): string {
  return `acks ${number} ${epoch} ${serials.join(" ")}`;
}
