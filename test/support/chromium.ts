/** A headless Chromium for tests: Debian's, found on the PATH, driven by playwright-core, with an empty profile of its own. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { type BrowserContext, chromium } from "playwright-core";

const FLAGS = [
  ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
  ...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
];

export interface Browser {
  readonly context: BrowserContext;
  close(): Promise<void>;
}

export async function startChromium(): Promise<Browser> {
  const profile = await mkdtemp(join(tmpdir(), "anynode-chromium-"));
  const context = await chromium.launchPersistentContext(profile, { executablePath: chromiumBinary(), args: FLAGS });
  return {
    context,
    async close() {
      await context.close();
      await rm(profile, { recursive: true, force: true });
    },
  };
}

/** The Chromium of this machine; installs it where that is ours to do (root on Debian). */
function chromiumBinary(): string {
  const found = onPath("chromium") ?? onPath("chromium-browser");
  if (found !== undefined) return found;
  if (process.getuid?.() === 0 && onPath("apt-get") !== undefined) {
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    for (const verb of [["update"], ["install", "-y", "--no-install-recommends", "chromium"]])
      spawnSync("apt-get", ["-q", "-o", "DPkg::Lock::Timeout=120", ...verb], { env, stdio: "inherit" });
    const installed = onPath("chromium");
    if (installed !== undefined) return installed;
  }
  throw new Error(
    "These tests need Chromium on the PATH. Debian, Ubuntu: apt-get install chromium; macOS: brew install chromium.",
  );
}

function onPath(name: string): string | undefined {
  const { PATH = "" } = process.env;
  return PATH.split(delimiter)
    .map((folder) => join(folder, name))
    .find((file) => existsSync(file));
}
