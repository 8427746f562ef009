/** The page of the demo in a real browser: what a newcomer does, that the requests went to all nodes, and that a sign-out reaches every tab. */
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

test("keeps a WebSocket open, which is said discreetly", async () => {
  await shows("#live", /^Live: a WebSocket on [ABC]$/);
});

test("each chip has the round trips of its request: none on LMDB", async () => {
  const trips = await page.locator("#trail .chip small").allTextContents();
  expect(trips.length).toBeGreaterThan(0);
  expect(new Set(trips)).toEqual(new Set(["0"]));
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

test("signs out in one tab, and the other knows at once: its WebSocket is closed, 4401", async () => {
  const other = await browser.context.newPage();
  await other.addInitScript("setTimeout = () => 0"); // it looks once, and never again by itself
  await other.goto(page.url());
  await other.locator("#live").filter({ hasText: "Live" }).waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  for (const tab of [page, other]) await tab.getByLabel("Your name").waitFor();
  expect(await other.locator("#live").textContent()).toBe("");
  await other.close();
  expect(complaints).toEqual([]);
});

test("Ctrl-C ends the demo", async () => {
  expect(await demo.interrupt()).toBe(0);
});

async function shows(selector: string, text: string | RegExp): Promise<void> {
  await page.locator(selector).filter({ hasText: text }).waitFor();
}
