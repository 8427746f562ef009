/** What TypeScript users of the native front ends write compiles, with and without @types/express-session, under strict, skipLibCheck off. */
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";

const root = resolve(__dirname, "../..");
const modules = join(root, "node_modules");
let scratch: string;

beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), "anynode-types-"));
  execFileSync(process.execPath, ["scripts/build.mjs", join(scratch, "anynode/dist")], { cwd: root, stdio: "inherit" });
  cpSync(join(root, "package.json"), join(scratch, "anynode/package.json"));
}, 120_000);
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** A project with one of the fixtures, our package, and the type packages but for those left out. */
function compiled(fixture: string, without: readonly string[]): string {
  const dir = join(scratch, basename(fixture, ".ts"));
  mkdirSync(join(dir, "node_modules"), { recursive: true });
  cpSync(join(modules, "@types"), join(dir, "node_modules/@types"), {
    recursive: true,
    filter: (path) => !without.includes(basename(path)),
  });
  cpSync(join(scratch, "anynode"), join(dir, "node_modules/anynode"), { recursive: true });
  for (const name of ["undici-types", "typescript"]) symlinkSync(join(modules, name), join(dir, "node_modules", name));
  cpSync(join(root, "test/package/fixtures/types", fixture), join(dir, fixture));
  const compilerOptions = {
    ...{ strict: true, skipLibCheck: false, noEmit: true, esModuleInterop: true, types: ["node"] },
    ...{ module: "nodenext", target: "es2022", lib: ["es2023"] },
  };
  writeFileSync(join(dir, "tsconfig.json"), JSON.stringify({ compilerOptions, files: [fixture] }));
  const { stdout, stderr } = spawnSync(process.execPath, [join(modules, "typescript/bin/tsc"), "-p", dir], { encoding: "utf8" });
  return stdout + stderr;
}

test.each<[string, string[]]>([
  ["alone.ts", ["express-session"]],
  ["compat.ts", []],
  ["koa.ts", ["express-session"]],
])(
  "%s",
  (fixture, without) => {
    expect(compiled(fixture, without)).toBe("");
  },
  60_000,
);
