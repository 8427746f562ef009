/**
 * The registry's verbs on Redis: a row a node, one script a verb. lua/registry.lua has the layout and the rules.
 */
import { isNodeId, type NodeId } from "../../names.js";
import {
  type Beaten,
  COPY_LEASE_MS,
  type Echo,
  type Joined,
  LEASE_MARGIN_MS,
  MAX_NODES,
  REGISTRY_LEASE_MS,
  type Row,
} from "../engine.js";
import type { Keys } from "./keys.js";
import type { Scripts } from "./scripts.js";

const LEASE = String(REGISTRY_LEASE_MS);
const COPY_LEASE = String(COPY_LEASE_MS + LEASE_MARGIN_MS);

export class Registry {
  readonly #scripts: Scripts;
  readonly #keys: Keys;

  constructor(scripts: Scripts, keys: Keys) {
    this.#scripts = scripts;
    this.#keys = keys;
  }

  async join(nodeId: NodeId, lastEpoch: number, about: string): Promise<Joined> {
    const args = [...this.#keys.registry, this.#keys.ledger, nodeId, String(lastEpoch), about, LEASE, String(MAX_NODES)];
    const reply = await this.#scripts.run("join-4", args);
    if (!Array.isArray(reply)) return { outcome: String(reply) === "full" ? "full" : "taken" };
    const [number = 0, epoch = 0, now = 0, revision = 0, endedBefore = 0] = reply.map(Number);
    return { outcome: "joined", number, epoch, now, revision, endedBefore };
  }

  async beat(nodeId: NodeId, epoch: number, about: string, echo?: Echo): Promise<Beaten> {
    const echoed = [String(echo?.serial ?? 0), echo?.trusts ? COPY_LEASE : "0"];
    const reply = await this.#scripts.run("beat-4", [
      ...this.#keys.registry,
      this.#keys.ledger,
      nodeId,
      String(epoch),
      about,
      LEASE,
      ...echoed,
    ]);
    const parts: unknown[] = Array.isArray(reply) ? reply : [];
    const [now, revision, grace, mute] = parts.map(Number);
    if (revision === undefined) return { outcome: "fenced", now: now ?? 0 };
    const [server = "", endedBefore = 0] = [String(parts[4] ?? ""), Number(parts[5])];
    return { outcome: "beaten", now: now ?? 0, revision, grace: grace === 1, mute: mute === 1, server, endedBefore };
  }

  async endedBefore(raise: boolean): Promise<number> {
    return Number(await this.#scripts.run("ended-before-3", [...this.#keys.registry, raise ? "1" : "0"]));
  }

  async leave(nodeId: NodeId, epoch: number): Promise<void> {
    await this.#scripts.run("leave-4", [...this.#keys.registry, this.#keys.ledger, nodeId, String(epoch), LEASE]);
  }

  async nodes(): Promise<{ readonly rows: readonly Row[]; readonly revision: number }> {
    const reply = await this.#scripts.run("nodes-3", this.#keys.registry);
    const [revision, ...pairs] = Array.isArray(reply) ? reply : [0];
    const rows: Row[] = [];
    for (let i = 0; i + 1 < pairs.length; i += 2) {
      const row = rowOf(String(pairs[i]), String(pairs[i + 1]));
      if (row !== undefined) rows.push(row);
    }
    return { rows: rows.sort((a, b) => a.number - b.number), revision: Number(revision) };
  }
}

function rowOf(nodeId: string, text: string): Row | undefined {
  const match = /^(\d+) (\d+) ([01]) (.*)$/s.exec(text);
  if (match === null || !isNodeId(nodeId)) return undefined;
  const [, number, epoch, left, about = ""] = match;
  return { nodeId, number: Number(number), epoch: Number(epoch), left: left === "1", about };
}
