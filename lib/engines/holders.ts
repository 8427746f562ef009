/**
 * The holders beside one record: the nodes with something live of a session, for engines that keep them in this process' reach.
 * Pure, and small: a list has an entry a node. The invariant: one entry a node, the last that it wrote.
 */
import { isNodeId } from "../names.js";
import type { Holder } from "./engine.js";

export function withHolder(holders: readonly Holder[], holder: Holder): readonly Holder[] {
  return [...holders.filter(({ nodeId }) => nodeId !== holder.nodeId), holder];
}

/** Without that very holder; the list itself if it isn't there. */
export function withoutHolder(holders: readonly Holder[], { nodeId, epoch, turn }: Holder): readonly Holder[] {
  const left = holders.filter((one) => one.nodeId !== nodeId || one.epoch !== epoch || one.turn !== turn);
  return left.length === holders.length ? holders : left;
}

/** A holder's facts as engines store them beside its nodeId: "number epoch turn". */
export function factsOf({ number, epoch, turn }: Holder): string {
  return `${number} ${epoch} ${turn}`;
}

/** What was stored; undefined if it isn't of our make. */
export function holderOf(nodeId: string, facts: string): Holder | undefined {
  const [number, epoch, turn] = facts.split(" ").map(Number);
  if (!isNodeId(nodeId) || !isWhole(number) || !isWhole(epoch) || !isWhole(turn)) return undefined;
  return { nodeId, number, epoch, turn };
}

function isWhole(value: number | undefined): value is number {
  return Number.isSafeInteger(value);
}
