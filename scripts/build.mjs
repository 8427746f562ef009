// Builds dist/, or the directory that is given: one CommonJS build by tsc, the Lua scripts beside the code that loads them, and the
// declarations that are written by hand, each with a module that does nothing.
import { execFileSync } from "node:child_process";
import { cpSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const tsc = fileURLToPath(new URL("../node_modules/typescript/bin/tsc", import.meta.url));
const dist = resolve(process.argv[2] ?? join(root, "dist"));
rmSync(dist, { recursive: true, force: true });
execFileSync(process.execPath, [tsc, "-p", "tsconfig.build.json", "--outDir", dist], { cwd: root, stdio: "inherit" });
cpSync(join(root, "lib/engines/redis/lua"), join(dist, "engines/redis/lua"), { recursive: true });
for (const name of ["express-types", "express-types-compat"]) {
  cpSync(join(root, `lib/web/${name}.d.ts`), join(dist, `web/${name}.d.ts`));
  writeFileSync(join(dist, `web/${name}.js`), '"use strict";\n');
}
