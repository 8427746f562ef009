// Builds dist/: one CommonJS build by tsc, and the Lua scripts beside the code that loads them.
import { execFileSync } from "node:child_process";
import { cpSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const tsc = fileURLToPath(new URL("../node_modules/typescript/bin/tsc", import.meta.url));
rmSync(new URL("../dist", import.meta.url), { recursive: true, force: true });
execFileSync(process.execPath, [tsc, "-p", "tsconfig.build.json"], { cwd: root, stdio: "inherit" });
cpSync(new URL("../lib/engines/redis/lua", import.meta.url), new URL("../dist/engines/redis/lua", import.meta.url), {
  recursive: true,
});
