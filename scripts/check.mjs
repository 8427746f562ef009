// npm run check: types, format and import rules, dead code, and whether the package works for every kind of importer.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const cwd = fileURLToPath(new URL("..", import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), "anynode-check-"));
let failed = 0;

function step(name, command, args) {
  const { status, stdout } = spawnSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  console.log(`${status === 0 ? "✓" : "✗"} ${name}`);
  if (status !== 0) {
    failed += 1;
    console.log(stdout);
  }
}

step("types (tsc)", "npx", ["tsc", "-p", "tsconfig.json"]);
step("format, lint, imports one way (biome)", "npx", ["biome", "ci", "--colors=off", "--error-on-warnings", "."]);
step("no dead code, no stray dependency (knip)", "npx", ["knip"]);
step("build", process.execPath, ["scripts/build.mjs"]);
const [{ filename }] = JSON.parse(
  execFileSync("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", scratch], { cwd, encoding: "utf8" }),
);
const tarball = join(scratch, filename);
step("package (publint)", "npx", ["publint", "--strict", tarball]);
step("types for every importer (arethetypeswrong)", "npx", ["attw", tarball, "--profile", "node16"]);
rmSync(scratch, { recursive: true, force: true });
process.exit(failed === 0 ? 0 : 1);
