/** The version that nodes announce is the package's. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { VERSION } from "../../lib/version.js";

test("VERSION is the version in package.json", () => {
  expect(JSON.parse(readFileSync(join(__dirname, "../../package.json"), "utf8")).version).toBe(VERSION);
});
