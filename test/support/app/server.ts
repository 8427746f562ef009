/**
 * One node of the test application: an HTTP server on a free port. Its gates are opened, its event loop blocked, the events of its sessions
 * and its reads counted, through routes outside of any session, so that tests speak alike with a node in their own process and with one of
 * its own.
 */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { Sessions } from "anynode";
import { Gates } from "./gates.js";
import type { HostOptions } from "./host.js";
import type { Host } from "./hosts.js";

export interface Serving {
  readonly url: string;
  close(): Promise<void>;
}

export async function serve(host: Host, sessions: Sessions, options: HostOptions = {}): Promise<Serving> {
  const gates = new Gates();
  const app = host.app(sessions, gates, options);
  const events: Record<string, number> = {};
  for (const name of ["conflict", "write-dropped", "unreadable", "reads"] as const) {
    events[name] = 0;
    sessions.on(name, () => {
      events[name] = (events[name] ?? 0) + 1;
    });
  }
  const server = createServer((req, res) => {
    if (req.url === "/events") return res.end(JSON.stringify(events));
    if (req.url === "/reads") return res.end(JSON.stringify(sessions.reads));
    const [, ms] = /^\/block\/(\d+)$/.exec(req.url ?? "") ?? [];
    if (ms !== undefined) return res.end(JSON.stringify({ blockedMs: block(Number(ms)) }));
    const [, verb, name = ""] = /^\/gates\/(arrived|open)\/(.+)$/.exec(req.url ?? "") ?? [];
    if (verb === undefined) return app(req, res);
    if (verb === "open") gates.open(name);
    (verb === "open" ? Promise.resolve() : gates.arrived(name)).then(() => res.end("{}"));
  });
  // A node that was stopped would close what it kept, just when somebody sends on it.
  server.keepAliveTimeout = 0;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: urlOf(server),
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

/** What a long computation does to a node: nothing else happens meanwhile. */
function block(ms: number): number {
  const startedAt = performance.now();
  while (performance.now() - startedAt < ms);
  return performance.now() - startedAt;
}

function urlOf(server: Server): string {
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("The server has no port.");
  return `http://127.0.0.1:${address.port}`;
}
