/**
 * The package as a user gets it: packed, installed somewhere else, imported from CommonJS, ESM and TypeScript.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const root = resolve(__dirname, "../..");
const { exports: subpaths, devDependencies: versions } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const specifiers = Object.keys(subpaths)
  .filter((path) => path !== "./package.json")
  .map((path) => `anynode${path.slice(1)}`);

let scratch: string;
let tarball: string;

beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), "anynode-package-"));
  execFileSync(process.execPath, ["scripts/build.mjs"], { cwd: root, stdio: "inherit" });
  const packed = execFileSync("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", scratch], {
    cwd: root,
    encoding: "utf8",
  });
  tarball = join(scratch, JSON.parse(packed)[0].filename);
}, 120_000);

afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** A fresh project with the tarball and some of our development dependencies, in the versions that we test with. */
function project(name: string, packages: string[], flags: string[] = []): string {
  const dir = join(scratch, name);
  execFileSync("mkdir", [dir]);
  writeFileSync(join(dir, "package.json"), JSON.stringify({ name, private: true }));
  const specs = packages.map((name) => `${name}@${versions[name]}`);
  execFileSync("npm", ["install", "--silent", "--no-audit", "--no-fund", ...flags, tarball, ...specs], {
    cwd: dir,
    stdio: "pipe",
  });
  return dir;
}

function run(dir: string, file: string, text: string): { status: number | null; out: string } {
  writeFileSync(join(dir, file), text);
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--disable-warning=ANYNODE_UNSEALED", file], {
    cwd: dir,
    encoding: "utf8",
  });
  return { status, out: stdout + stderr };
}

describe("the packed tarball, with the host libraries beside it", () => {
  let dir: string;
  beforeAll(() => {
    dir = project("whole", ["express-session", "koa-session", "typescript", "@types/node", "@types/express-session", "redis"]);
  }, 300_000);

  test("every documented subpath gives the same objects to require and to import", () => {
    const text = `
      const assert = require("node:assert/strict");
      (async () => {
        for (const specifier of ${JSON.stringify(specifiers)}) {
          const required = require(specifier);
          const imported = await import(specifier);
          const names = Object.keys(required);
          assert.ok(names.length > 0 || /\\/types/.test(specifier), specifier);
          for (const name of names) assert.equal(imported[name], required[name], specifier + " " + name);
        }
        console.log("same");
      })();`;
    expect(run(dir, "same.cjs", text)).toEqual({ status: 0, out: "same\n" });
  });

  test("ESM imports by name, and the default engine works: nothing to start, nothing to configure", () => {
    const text = `
      import { AnynodeStore } from "anynode/express-session";
      const store = new AnynodeStore();
      await store.sessions.ready();
      await store.set("an-id", { cookie: { originalMaxAge: null }, n: 1 });
      console.log((await store.get("an-id")).n);
      await store.sessions.close();`;
    expect(run(dir, "default.mjs", text)).toEqual({ status: 0, out: "1\n" });
  });

  test("TypeScript users compile under strict, skipLibCheck off", () => {
    writeFileSync(
      join(dir, "user.ts"),
      `import session from "express-session";
       import { anynode, AnynodeError, type Node } from "anynode";
       import { AnynodeStore } from "anynode/express-session";
       import { AnynodeKoaStore } from "anynode/koa-session";
       import { memoryEngine } from "anynode/memory";
       import { lmdbEngine } from "anynode/lmdb";
       import { redisEngine } from "anynode/redis";
       import { engineContract } from "anynode/testing";
       declare module "express-session" { interface SessionData { views: number } }
       const sessions = anynode({ engine: memoryEngine(), conflict: ({ mine }) => mine });
       sessions.on("node-lost", ({ node }) => { const lost: Node = node; console.log(lost.address); });
       const middleware = session({ secret: "s", store: new AnynodeStore(sessions) });
       const koa = new AnynodeKoaStore({ engine: "lmdb:./x" });
       export const all = [middleware, koa, lmdbEngine, redisEngine, engineContract, AnynodeError];
      `,
    );
    const options = {
      strict: true,
      skipLibCheck: false,
      noEmit: true,
      module: "nodenext",
      target: "es2022",
      lib: ["es2023"],
      types: ["node"],
    };
    writeFileSync(join(dir, "tsconfig.json"), JSON.stringify({ compilerOptions: options, files: ["user.ts"] }));
    const { status, stdout } = spawnSync("npx", ["tsc", "-p", "."], { cwd: dir, encoding: "utf8" });
    expect({ status, stdout }).toEqual({ status: 0, stdout: "" });
  }, 60_000);
});

describe("the packed tarball alone, without optional dependencies", () => {
  let dir: string;
  beforeAll(() => {
    dir = project("bare", [], ["--omit=optional", "--omit=peer"]);
  }, 300_000);

  test("imports without any peer; an engine whose package is missing says what to install", () => {
    const text = `
      const { anynode } = require("anynode");
      (async () => {
        for (const engine of ["lmdb:./data", "redis://127.0.0.1:1"]) {
          try {
            await anynode({ engine }).ready();
          } catch (error) {
            console.log(error.code, /npm install (lmdb|redis)/.exec(error.message)?.[0]);
          }
        }
        const sessions = anynode({ engine: "memory:" });
        await sessions.ready();
        await sessions.close();
        console.log("memory works");
      })();`;
    const { out } = run(dir, "bare.cjs", text);
    expect(out).toBe("ENGINE_UNSUPPORTED npm install lmdb\nENGINE_UNSUPPORTED npm install redis\nmemory works\n");
  });
});
