/** One node of the test application: an HTTP server on a free port. Its gates are opened through routes outside of any session. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { Sessions } from "anynode";
import { Gates } from "./gates.js";
import type { Host, HostOptions } from "./hosts.js";

export interface Serving {
  readonly url: string;
  close(): Promise<void>;
}

export async function serve(host: Host, sessions: Sessions, options: HostOptions = {}): Promise<Serving> {
  const gates = new Gates();
  const app = host.app(sessions, gates, options);
  const server = createServer((req, res) => {
    const [, verb, name = ""] = /^\/gates\/(arrived|open)\/(.+)$/.exec(req.url ?? "") ?? [];
    if (verb === undefined) return app(req, res);
    if (verb === "open") gates.open(name);
    (verb === "open" ? Promise.resolve() : gates.arrived(name)).then(() => res.end("{}"));
  });
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

function urlOf(server: Server): string {
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("The server has no port.");
  return `http://127.0.0.1:${address.port}`;
}
