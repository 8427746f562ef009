/** The child process of one subject: serves its application on the loopback, and tells its own CPU time when asked. */
import { once } from "node:events";
import { createServer } from "node:http";
import { application } from "./application.js";
import { isSubjectName } from "./subjects.js";

async function main(): Promise<void> {
  const [, , name, redisUrl = "", directory = ""] = process.argv;
  if (!isSubjectName(name)) throw new Error(`no subject ${name}`);
  const server = createServer(await application(name, { redisUrl, directory }));
  // Connections stay open between the slices of a run, however long the others take.
  server.keepAliveTimeout = 0;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  process.on("message", () => process.send?.({ cpu: process.cpuUsage() }));
  process.on("disconnect", () => process.exit(0));
  process.send?.({ port: typeof address === "object" ? address?.port : undefined });
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
