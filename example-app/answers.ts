/** What a node answers, whatever its framework: the state for the page, its health, its errors. */
import type { RequestListener } from "node:http";
import type { Sessions } from "anynode";
import type { SidOf } from "./live.js";
import { show, type Visit } from "./shop.js";

export interface NodeApp {
  readonly listener: RequestListener;
  readonly sidOf: SidOf;
}

export interface NodeSettings {
  readonly name: string;
  readonly framework: "Express" | "Koa";
  /** Signs the cookie; the same on all nodes. */
  readonly secret: string;
}

export interface Reply {
  readonly status: number;
  readonly body: object;
}

/** GET /api/state, and the answer to every action: the session and the nodes of the registry. */
export async function state(sessions: Sessions, node: NodeSettings, visit: Visit): Promise<object> {
  const nodes = await sessions.registry.nodes();
  return {
    framework: node.framework,
    ...show(visit),
    nodes: nodes
      .map(({ name, address, state, startedAt }) => ({ name, address, state, since: startedAt }))
      .sort((a, b) => a.name.localeCompare(b.name)),
  };
}

/** The header that tells it, for the page. */
export const ROUND_TRIPS = "x-round-trips";

/**
 * How often this node has asked the engine for a session from here on; LMDB and memory are no trip away.
 * Requests that run at the same moment count each other's, too.
 */
export function roundTrips(sessions: Sessions): () => string {
  const before = sessions.reads.asked;
  return () => String(sessions.local ? 0 : sessions.reads.asked - before);
}

/** GET /health, for balancers: no to a node that is about to go. */
export function health(sessions: Sessions): Reply {
  const { state } = sessions.registry;
  return { status: state === "live" ? 200 : 503, body: { state } };
}

/** An error as an answer. Refusals, Express' parser and anynode's errors all carry their HTTP status. */
export function failure(error: unknown): Reply {
  const status = error instanceof Error && "status" in error && typeof error.status === "number" ? error.status : 500;
  if (status === 500) console.error(error);
  return { status, body: { error: error instanceof Error ? error.message : "Something went wrong." } };
}
