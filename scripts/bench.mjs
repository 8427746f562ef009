// Builds dist/, then runs the bench against it: bench/tsconfig.json has no `paths`, so `anynode/…` means the package, not the sources.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const options = process.argv.slice(2);
const env = {
  ...process.env,
  BENCH_COMPILED: fileURLToPath(new URL("../build/bench", import.meta.url)),
  NODE_ENV: "production",
  TSX_TSCONFIG_PATH: fileURLToPath(new URL("../bench/tsconfig.json", import.meta.url)),
};

const tsc = "node_modules/typescript/bin/tsc";
for (const args of options.includes("--help") ? [] : [["scripts/build.mjs"], [tsc, "-p", "bench/tsconfig.build.json"]]) run(args);
const program = options.includes("--profile") && !options.includes("--help") ? "bench/profile.ts" : "bench/run.ts";
run(["--import", "tsx", program, ...options]);

function run(args) {
  const { status } = spawnSync(process.execPath, args, { cwd: root, env, stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}
