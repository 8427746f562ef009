/** A node of the test application as a process. Arguments: host, engine, and "checked" to read by asking. Prints its URL once it is ready, and ends with its parent. */
import { anynode } from "anynode";
import { hostNamed } from "../../support/app/hosts.js";
import { serve } from "../../support/app/server.js";

async function main(): Promise<void> {
  const [, , host = "", engine = "", reads] = process.argv;
  const sessions = anynode({ engine, keyring: ["plain"], reads: reads === "checked" ? "checked" : "leased" });
  await sessions.ready();
  const { url } = await serve(hostNamed(host), sessions, { rolling: true });
  console.log(url);
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) process.exit(1);
  }, 500);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
