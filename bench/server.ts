/** The child process of one subject: serves its application on the loopback, and tells its own CPU time, or its profile, when asked. */
import { once } from "node:events";
import { createServer } from "node:http";
import { application } from "./application.js";
import { isSubjectName } from "./subjects.js";

const PROFILE_EVERY_MICROS = 100;

async function main(): Promise<void> {
  const [, , name, redisUrl = "", directory = ""] = process.argv;
  if (!isSubjectName(name)) throw new Error(`no subject ${name}`);
  const server = createServer(await application(name, { redisUrl, directory }));
  // Connections stay open between the slices of a run, however long the others take.
  server.keepAliveTimeout = 0;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  let endProfile: () => Promise<string> = async () => "";
  process.on("message", async (question) => {
    const { ask } = Object(question);
    if (ask === "cpu") process.send?.({ cpu: process.cpuUsage() });
    if (ask === "profile") {
      endProfile = await profiling();
      process.send?.({ profiling: true });
    }
    if (ask === "end profile") process.send?.({ profile: await endProfile() });
  });
  process.on("disconnect", () => process.exit(0));
  process.send?.({ port: typeof address === "object" ? address?.port : undefined });
}

/** Begins a CPU profile; gives what ends it. */
async function profiling(): Promise<() => Promise<string>> {
  const { Session } = await import("node:inspector/promises");
  const session = new Session();
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.setSamplingInterval", { interval: PROFILE_EVERY_MICROS });
  await session.post("Profiler.start");
  return async () => {
    const { profile } = await session.post("Profiler.stop");
    session.disconnect();
    return JSON.stringify(profile);
  };
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
