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
npm run test:full [-- <jest arguments>]   the whole figure (about an hour)
Needs redis-server and chromium; on Debian, as root, installs them itself.`);
  process.exit(0);
}
ensureTools();
const full = given.includes("--full");
const jest = fileURLToPath(new URL("../node_modules/jest/bin/jest.js", import.meta.url));
// The process tests one after the other: they use both cores of a small machine, and their deadlines shall not depend on their neighbours.
const tests = fileURLToPath(new URL("../test/", import.meta.url));
const apart = ["--runInBand", `--testPathIgnorePatterns=${tests}process/model`, "--", `${tests}process/`];
const together = ["--maxWorkers=2", `--testPathIgnorePatterns=${tests}process/(?!model)`];
const asked = given.filter((arg) => arg !== "--full");
const scratch = mkdtempSync(join(tmpdir(), "anynode-test-"));
let [passed, failed, status] = [0, 0, 0];
for (const args of asked.length > 0 ? [["--runInBand", ...asked]] : [together, apart]) {
  const tally = join(scratch, "tally");
  const jested = spawnSync(process.execPath, [jest, ...(full ? ["--testTimeout=3600000"] : []), ...args], {
    cwd: fileURLToPath(new URL("..", import.meta.url)),
    stdio: "inherit",
    env: { ...process.env, ANYNODE_TALLY: tally, ...(full ? { ANYNODE_FULL: "1" } : {}) },
  });
  status ||= jested.status ?? 1;
  try {
    const counts = JSON.parse(readFileSync(tally, "utf8"));
    passed += counts.passed;
    failed += counts.failed;
    rmSync(tally);
  } catch {
    // Jest didn't get as far as running a test, and said why.
    failed += 1;
  }
}
console.log(`\n${passed} passed, ${failed} failed`);
rmSync(scratch, { recursive: true, force: true });
process.exit(status || (failed > 0 ? 1 : 0));
