/** The page of the demo in a real browser: what a newcomer does, and that the requests went to all nodes. */
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { type Browser, startChromium } from "../support/chromium.js";
import { type Demo, startDemo } from "../support/demo.js";

jest.setTimeout(90_000);

let demo: Demo;
let browser: Browser;
let page: Page;
let pictures: string;
const complaints: string[] = [];

beforeAll(async () => {
  pictures = await mkdtemp(join(tmpdir(), "anynode-page-"));
  demo = startDemo([]);
  const address = demo.says(/Try it yourself: (http:\/\/\S+)/);
  browser = await startChromium();
  page = await browser.context.newPage();
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  await page.goto((await address)[1] ?? "");
});

afterAll(async () => {
  await browser?.close();
  await demo?.interrupt();
  await rm(pictures, { recursive: true, force: true });
});

test("signs in; what people type stays text", async () => {
  await page.getByLabel("Your name").fill("<b>Ada</b>");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { name: "Hello, <b>Ada</b>" }).waitFor();
});

test("counts and fills the cart, though a node is down", async () => {
  for (let clicks = 0; clicks < 6; clicks++) await page.getByRole("button", { name: "Count on" }).click();
  await page.getByLabel("Add Green tea").click();
  await page.getByLabel("Add Green tea").click();
  await page.getByLabel("Add Lemon").click();
  await page.getByLabel("Remove Lemon").click();
  await shows("#count", "6");
  await shows("#cart", /Green tea−2\+Lemon−0\+Biscuits−0\+/);
});

test("the killed node leaves the registry, comes back, and takes part", async () => {
  await demo.says(/✓ the registry has noticed that A is gone/);
  await demo.says(/✓ A, started again, refuses her old cookie/);
  for (let clicks = 0; clicks < 6; clicks++) await page.getByRole("button", { name: "Count on" }).click();
  await shows("#count", "12");
  const nodes = await page.locator("#trail .chip").evaluateAll((chips) => chips.map((chip) => chip.getAttribute("data-node")));
  expect([...new Set(nodes)].sort()).toEqual(["A", "B", "C"]);
  await shows("#nodes", /A.*live.*B.*live.*C.*live/s);
});

test.each([
  ["desktop", "light", 1100],
  ["desktop", "dark", 1100],
  ["phone", "light", 390],
  ["phone", "dark", 390],
] as const)("fits a %s, %s", async (device, scheme, width) => {
  await page.setViewportSize({ width, height: 820 });
  await page.emulateMedia({ colorScheme: scheme });
  expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(width);
  const file = join(pictures, `${device}-${scheme}.png`);
  await page.screenshot({ path: file, fullPage: true });
  expect((await stat(file)).size).toBeGreaterThan(10_000);
});

test("signs out", async () => {
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Your name").waitFor();
  expect(complaints).toEqual([]);
});

test("Ctrl-C ends the demo", async () => {
  expect(await demo.interrupt()).toBe(0);
});

async function shows(selector: string, text: string | RegExp): Promise<void> {
  await page.locator(selector).filter({ hasText: text }).waitFor();
}
