/** A node as the others see it: its row, read. */
import type { Row } from "../engines/engine.js";

/** One node, as everybody sees it. */
export interface Node {
  readonly nodeId: string;
  /** 0 … 62, unique among the nodes at any one time. */
  readonly number: number;
  /** Grows with every join, fleet-wide: tells a node from what had its number, or its address, before. */
  readonly epoch: number;
  readonly name: string;
  /** Where the others reach it; "" = it didn't say. */
  readonly address: string;
  readonly state: "live" | "draining";
  /** When its process opened its sessions; wall-clock milliseconds of that node. */
  readonly startedAt: number;
  /** Of this library. */
  readonly version: string;
  /** How it reads: from copies that it holds on lease, or by asking the engine each time. */
  readonly reads: "leased" | "checked";
  /** The ids of the keys with which it opens records, `"plain"` among them if it reads what isn't sealed. */
  readonly keys: readonly string[];
}
/** What a row says besides. */
export type About = Pick<Node, "name" | "address" | "state" | "startedAt" | "version" | "reads">;

/** What a node reads that doesn't say: it is of a version before keyrings. */
const NO_KEYS: readonly string[] = ["plain"];

/** A row as a node. The text may come from another version of this library: what is missing or odd gets a neutral value. */
export function nodeOf({ nodeId, number, epoch, about }: Row): Node {
  const read = parsed(about);
  const text = (value: unknown) => (typeof value === "string" ? value : "");
  return {
    nodeId,
    number,
    epoch,
    name: text(read["name"]),
    address: text(read["address"]),
    state: read["state"] === "draining" ? "draining" : "live",
    startedAt: typeof read["startedAt"] === "number" ? read["startedAt"] : 0,
    version: text(read["version"]),
    reads: read["reads"] === "checked" ? "checked" : "leased",
    keys: textsIn(read["keys"]) ?? NO_KEYS,
  };
}

function textsIn(value: unknown): readonly string[] | undefined {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : undefined;
}

function parsed(about: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(about);
    return typeof value === "object" && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}
