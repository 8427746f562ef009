/**
 * One process is one node: serves the application on Express or Koa, joins the registry under its name and advertises its address.
 * Run it alone:  SESSION_SECRET=… SESSION_ENGINE=lmdb:./data/sessions npx tsx example-app/node.ts --framework koa --name A --port 3001
 */
import { once } from "node:events";
import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { anynode } from "anynode";
import type { NodeSettings } from "./answers.js";
import { expressApp } from "./express.js";
import { koaApp } from "./koa.js";
import { serveLive } from "./live.js";

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      framework: { type: "string", default: "express" },
      name: { type: "string", default: "A" },
      port: { type: "string", default: "0" }, // 0 = any that is free
    },
  });
  const { SESSION_ENGINE: engine, SESSION_SECRET: secret, SESSION_KEY: key } = process.env;
  if (!secret) throw new Error("Set SESSION_SECRET: it signs the session cookie, and is the same on all nodes.");

  const node: NodeSettings = { name: values.name, framework: values.framework === "koa" ? "Koa" : "Express", secret };
  // Sealed, what is stored is worth nothing to whoever steals it.
  const sessions = anynode({ engine, name: node.name, keyring: key ? [{ id: "1", key }] : [] });
  const { listener, sidOf } = node.framework === "Koa" ? koaApp(sessions, node) : expressApp(sessions, node);
  const server = createServer(listener);
  serveLive(server, sessions, node.name, sidOf);

  server.listen(Number(values.port), "127.0.0.1");
  await once(server, "listening");
  const bound = server.address();
  const address = typeof bound === "object" && bound !== null ? `http://127.0.0.1:${bound.port}` : "";
  sessions.registry.advertise(address);
  await sessions.ready();

  let stopping = false;
  /** Says no to balancers and good-bye to WebSockets first, takes no new connection next, leaves last. */
  async function stop(): Promise<void> {
    if (stopping) return;
    stopping = true;
    await sessions.drain().catch(() => {}); // an engine that is down can't be told; the end of the lease will tell
    server.close();
    await once(server, "close");
    await sessions.close();
    process.exit(0);
  }
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);

  if (process.send === undefined) console.log(`Node ${node.name} (${node.framework}) listens on ${address}`);
  else {
    process.send({ address });
    sessions.on("node-lost", (event) => process.send?.({ lost: event.node.address }));
    process.on("disconnect", stop); // whoever started this node is gone
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
