/** `npm run demo -- --once`, on both engines that several processes can share: the story goes as told, and nothing stays behind. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startDemo } from "../support/demo.js";
import { startRedis } from "../support/redis.js";

jest.setTimeout(90_000);

const STORY = [
  /A {2}Express {2}.*\n.*B {2}Express {2}.*\n.*C {2}Koa/,
  "✓ C finds all three in the registry",
  "✓ A signs her in",
  "✓ B knows her (Express)",
  "✓ C knows her (Koa)",
  /once more each: \d+, \d+, \d+ round trips to read her session/,
  "✓ B keeps one open",
  "✓ C keeps one open",
  "✓ C counts to 3",
  "all three: no update was lost",
  "kill -9 A while 6 others are clicking",
  "no other node failed a single one",
  /✓ all \d+ counts that were acknowledged are there/,
  "✓ still signed in, her count is 3, and so is her cart",
  "✓ both WebSockets are open as before",
  /✓ [BC] signs her out/,
  /✓ her WebSocket on [BC] was closed before she had the answer: 4401/,
  /✓ her WebSocket on [BC], another node, was closed before she had the answer: 4401/,
  "✓ B refuses her old cookie",
  "✓ C refuses her old cookie",
];

test("the story on LMDB", async () => {
  const directory = await mkdtemp(join(tmpdir(), "anynode-test-"));
  const demo = startDemo(["--once"], { TMPDIR: directory });
  expect({ status: await demo.ended(), output: demo.output }).toEqual({ status: 0, output: expect.any(String) });
  for (const line of STORY) expect(demo.output).toMatch(line);
  expect(demo.output).toContain("once more each: 0, 0, 0 round trips");
  expect(demo.output).not.toContain("✗");
  expect((await readdir(directory)).filter((name) => name.startsWith("anynode"))).toEqual([]);
  await rm(directory, { recursive: true });
});

test("the story on Redis", async () => {
  const redis = await startRedis({ tcp: true });
  try {
    const demo = startDemo(["--once"], { SESSION_ENGINE: redis.url });
    expect({ status: await demo.ended(), output: demo.output }).toEqual({ status: 0, output: expect.any(String) });
    for (const line of STORY) expect(demo.output).toMatch(line);
  } finally {
    await redis.stop();
  }
});

test("an engine that can't be reached: status 1, and it says so", async () => {
  const demo = startDemo(["--once"], { SESSION_ENGINE: "redis://127.0.0.1:1" });
  expect(await demo.ended()).toBe(1);
  expect(demo.output).toMatch(/did not start/);
});

test("--help", async () => {
  const demo = startDemo(["--help"]);
  expect(await demo.ended()).toBe(0);
  expect(demo.output).toContain("SESSION_ENGINE=redis://");
});
