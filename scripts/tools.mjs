// What the tests need besides npm packages: installed here where that is possible, named clearly where it isn't.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";

/** Debian's package for each program. */
const PACKAGES = { "redis-server": "redis-server", chromium: "chromium", spin: "spin" };

export function ensureTools() {
  const missing = Object.keys(PACKAGES).filter((program) => spawnSync("sh", ["-c", `command -v ${program}`]).status !== 0);
  if (missing.length === 0) return;
  const packages = missing.map((program) => PACKAGES[program]);
  if (!existsSync("/usr/bin/apt-get") || process.getuid?.() !== 0) {
    console.error(
      `The tests need ${missing.join(" and ")}. Install ${packages.join(" and ")} (Debian: sudo apt-get install ${packages.join(" ")}), then run again.`,
    );
    process.exit(1);
  }
  console.log(`Installing ${packages.join(" and ")} by apt-get …`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  execFileSync("apt-get", ["update", "-qq"], { stdio: "inherit", env });
  // A service of the system's own is no use here, and must not start: every test starts its own server.
  execFileSync("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...packages], {
    stdio: ["ignore", "ignore", "inherit"],
    env,
  });
  spawnSync("sh", ["-c", "service redis-server stop"], { stdio: "ignore" });
}
