/**
 * Every code block of README.md and docs/ runs: JavaScript blocks as they stand, in a process of their own. One that listens gets one
 * request and must answer it well. Shell blocks name scripts that exist; the commands themselves are what CI runs.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { startRedis } from "../support/redis";

const root = resolve(__dirname, "../..");
const pages = [
  "README.md",
  "CONTRIBUTING.md",
  "example-app/README.md",
  ...readdirSync(join(root, "docs")).map((name) => `docs/${name}`),
];

interface Block {
  readonly page: string;
  readonly line: number;
  readonly language: string;
  readonly text: string;
}

const blocks = pages.flatMap((page) => {
  const text = readFileSync(join(root, page), "utf8");
  return [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(
    (match): Block => ({
      page,
      line: text.slice(0, match.index).split("\n").length,
      language: match[1] ?? "",
      text: match[2] ?? "",
    }),
  );
});

/** Runs before a block: whatever listens does so on a free port, is asked once, and then all is over. */
const ASK_ONCE = `
const http = require("node:http");
const { listen } = http.Server.prototype;
http.Server.prototype.listen = function () {
  return listen.call(this, 0, async () => {
    const response = await fetch("http://127.0.0.1:" + this.address().port + "/");
    console.log(response.status, await response.text());
    process.exit(response.status < 400 ? 0 : 1);
  });
};`;

let scratch: string;
let redis: Awaited<ReturnType<typeof startRedis>>;

beforeAll(async () => {
  // Inside the tree, so that "anynode/…" and the packages resolve as they do for the example application.
  mkdirSync(join(root, "data"), { recursive: true });
  scratch = mkdtempSync(join(root, "data", "readme-"));
  writeFileSync(join(scratch, "ask-once.cjs"), ASK_ONCE);
  redis = await startRedis({ tcp: true });
});
afterAll(async () => {
  await redis.stop();
  rmSync(scratch, { recursive: true, force: true });
});

function run(file: string): Promise<{ status: number | null; out: string }> {
  const child = spawn(process.execPath, ["--require", join(scratch, "ask-once.cjs"), "--import", "tsx", file], {
    cwd: scratch,
    env: { ...process.env, TSX_TSCONFIG_PATH: join(root, "tsconfig.json") },
  });
  let out = "";
  child.stdout.on("data", (chunk) => {
    out += chunk;
  });
  child.stderr.on("data", (chunk) => {
    out += chunk;
  });
  return new Promise((resolve) => child.on("close", (status) => resolve({ status, out })));
}

const scripts = blocks.filter(({ language }) => language === "js");

test("there are code blocks to run", () => {
  expect(scripts.length).toBeGreaterThanOrEqual(5);
});

test.each(scripts)(
  "$page, line $line: runs as it stands",
  async ({ line, text }) => {
    const file = join(scratch, `block-${line}.mts`);
    writeFileSync(file, `// @ts-nocheck\n${text.replaceAll("redis://localhost:6379", redis.url)}`);
    const { status, out } = await run(file);
    expect(`${out}\nstatus ${status}`).toMatch(/status 0$/);
  },
  60_000,
);

test.each(blocks.filter(({ language }) => language === "sh"))("$page, line $line: names commands that exist", ({ text }) => {
  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const named = [...text.matchAll(/npm (?:run )?([a-z:]+)/g)].map((match) => match[1] ?? "");
  for (const file of text.matchAll(/\S+\.ts\b/g)) expect(existsSync(join(root, file[0]))).toBe(true);
  for (const name of named) expect(["ci", "install", ...Object.keys(scripts)]).toContain(name);
});

test("CI runs the very command that the README gives for the tests", () => {
  const command = /^npm install && (npm test)$/m.exec(readFileSync(join(root, "README.md"), "utf8"))?.[1];
  expect(readFileSync(join(root, ".ci/run"), "utf8").trimEnd().split("\n").at(-1)).toBe(command);
});
