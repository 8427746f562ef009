/**
 * What comes in on a node's channel, as text: the echo of its own beat, a drop, or an ack to a drop of its own. The engine writes the
 * first two (engines/redis/lua), nodes the third. What can't be read is none: counts and leases then find out that something is missing.
 */
import type { Acked } from "../engines/engine.js";
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
  /** A node has nothing older than `version` of that key any more; for the writer of that epoch. */
  | { readonly kind: "acks"; readonly number: number; readonly epoch: number; readonly acked: readonly Acked[] };

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
    const [number, epoch, ...pairs] = rest;
    const acked: Acked[] = [];
    for (let i = 0; i + 1 < pairs.length; i += 2) {
      const key = pairs[i] ?? "";
      if (isKey(key)) acked.push({ key, version: Number(pairs[i + 1]) });
    }
    return { kind, number: Number(number), epoch: Number(epoch), acked };
  }
  return undefined;
}

/** `number`: who answers; `epoch`: of the writer that is answered. */
export function acksText(number: number, epoch: number, acked: readonly Acked[]): string {
  return `acks ${number} ${epoch} ${acked.map(({ key, version }) => `${key} ${version}`).join(" ")}`;
}
