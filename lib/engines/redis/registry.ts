/**
 * The registry's verbs on Redis: a row a node, one script a verb. lua/registry.lua has the layout and the rules.
 */
import { isNodeId, type NodeId } from "../../names.js";
import { type Beaten, type Joined, MAX_NODES, REGISTRY_LEASE_MS, type Row } from "../engine.js";
import type { Keys } from "./keys.js";
import type { Scripts } from "./scripts.js";

const LEASE = String(REGISTRY_LEASE_MS);

export class Registry {
  readonly #scripts: Scripts;
  readonly #keys: Keys;

  constructor(scripts: Scripts, keys: Keys) {
    this.#scripts = scripts;
    this.#keys = keys;
  }

  async join(nodeId: NodeId, lastEpoch: number, about: string): Promise<Joined> {
    const args = [...this.#keys.registry, nodeId, String(lastEpoch), about, LEASE, String(MAX_NODES)];
    const reply = await this.#scripts.run("join-3", args);
    if (!Array.isArray(reply)) return { outcome: String(reply) === "full" ? "full" : "taken" };
    const [number = 0, epoch = 0, now = 0, revision = 0] = reply.map(Number);
    return { outcome: "joined", number, epoch, now, revision };
  }

  async beat(nodeId: NodeId, epoch: number, about: string): Promise<Beaten> {
    const reply = await this.#scripts.run("beat-3", [...this.#keys.registry, nodeId, String(epoch), about, LEASE]);
    const [now = 0, revision, grace] = numbers(reply);
    return revision === undefined ? { outcome: "fenced", now } : { outcome: "beaten", now, revision, grace: grace === 1 };
  }

  async leave(nodeId: NodeId, epoch: number): Promise<void> {
    await this.#scripts.run("leave-3", [...this.#keys.registry, nodeId, String(epoch), LEASE]);
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

function numbers(reply: unknown): number[] {
  return Array.isArray(reply) ? reply.map(Number) : [];
}
