// Builds dist/, then runs the bench against it: bench/tsconfig.json has no `paths`, so `anynode/…` means the package, not the sources.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const options = process.argv.slice(2);
const env = {
  ...process.env,
  BENCH_SERVER: fileURLToPath(new URL("../build/bench/server.js", import.meta.url)),
  NODE_ENV: "production",
  TSX_TSCONFIG_PATH: fileURLToPath(new URL("../bench/tsconfig.json", import.meta.url)),
};

const tsc = "node_modules/typescript/bin/tsc";
for (const args of options.includes("--help") ? [] : [["scripts/build.mjs"], [tsc, "-p", "bench/tsconfig.build.json"]]) run(args);
run(["--import", "tsx", "bench/run.ts", ...options]);

function run(args) {
  const { status } = spawnSync(process.execPath, args, { cwd: root, env, stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}
