/** Stops itself while it holds the writer lock: in the middle of a batch, as an unlucky SIGSTOP would hit it. */
import { writeSync } from "node:fs";
import { Environment } from "../../../lib/engines/lmdb/environment.js";

const [, , dir = ""] = process.argv;

async function main(): Promise<void> {
  const environment = await Environment.open(dir);
  await environment.transaction(() => {
    writeSync(1, "holding\n");
    process.kill(process.pid, "SIGSTOP");
  });
  writeSync(1, "released\n");
  await environment.close();
}
void main();
