/**
 * A node of the test application with sealing keys. Arguments: host, engine, ids of its keys, first the one that shall seal. Prints the
 * URLs of its application and of its operator's entrance: `/replace?keys=…`, `/primary`.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import { anynode } from "anynode";
import { hostNamed } from "../../support/app/hosts.js";
import { serve } from "../../support/app/server.js";
import { keyringOf } from "../../support/keys.js";

async function main(): Promise<void> {
  const [, , host = "", engine = "", ids = ""] = process.argv;
  const sessions = anynode({ engine, keyring: keyringOf(ids) });
  await sessions.ready();
  const { url } = await serve(hostNamed(host), sessions, { rolling: true });
  const operator = createServer((req, res) => {
    const asked = new URL(req.url ?? "", "http://localhost");
    if (asked.pathname === "/replace") sessions.keyring.replace(keyringOf(asked.searchParams.get("keys") ?? ""));
    res.end(JSON.stringify({ primary: sessions.keyring.primary }));
  }).listen(0, "127.0.0.1");
  await once(operator, "listening");
  const address = operator.address();
  if (typeof address !== "object" || address === null) throw new Error("no port");
  console.log(url);
  console.log(`http://127.0.0.1:${address.port}`);
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) process.exit(1);
  }, 500);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
