// npm test: everything that has to hold, each bar at about a tenth of its full figure. `--full`: the whole figure.
// Other arguments go to Jest, e.g. `npm test -- test/unit`.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ensureTools } from "./tools.mjs";

const given = process.argv.slice(2);
if (given.includes("--help")) {
  console.log(`npm test [-- <jest arguments>]        each bar at about a tenth (minutes)
npm run test:full [-- <jest arguments>]   the whole figure (about 25 minutes)
Needs redis-server and chromium; on Debian, as root, installs them itself.`);
  process.exit(0);
}
ensureTools();
const full = given.includes("--full");
const jest = fileURLToPath(new URL("../node_modules/jest/bin/jest.js", import.meta.url));
// One after the other: the process tests use both cores of a small machine, and their deadlines shall not depend on their neighbours.
const args = [jest, "--runInBand", ...(full ? ["--testTimeout=3600000"] : []), ...given.filter((arg) => arg !== "--full")];
const scratch = mkdtempSync(join(tmpdir(), "anynode-test-"));
const tally = join(scratch, "tally");
const { status } = spawnSync(process.execPath, args, {
  cwd: fileURLToPath(new URL("..", import.meta.url)),
  stdio: "inherit",
  env: { ...process.env, ANYNODE_TALLY: tally, ...(full ? { ANYNODE_FULL: "1" } : {}) },
});
try {
  process.stdout.write(`\n${readFileSync(tally, "utf8")}`);
} catch {
  // Jest didn't get as far as running a test, and said why.
}
rmSync(scratch, { recursive: true, force: true });
process.exit(status ?? 1);
