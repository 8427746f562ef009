/** docs/security.md names a test for each requirement that is the library's: they exist, under those names. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(__dirname, "../..");
const page = readFileSync(join(root, "docs/security.md"), "utf8");
const named = [...page.matchAll(/`(test\/[^`]+\.test\.ts)`: ([^|]+?) \|/g)].map(
  ([, file = "", name = ""]) => [file, name] as const,
);

test("every requirement of V7 and V3.3 has its row", () => {
  const rows = [...page.matchAll(/^\| (\d\.\d\.\d) \|/gm)].map(([, id]) => id);
  expect(rows).toEqual([
    ...["7.1.1", "7.1.2", "7.1.3", "7.2.1", "7.2.2", "7.2.3", "7.2.4", "7.3.1", "7.3.2"],
    ...["7.4.1", "7.4.2", "7.4.3", "7.4.4", "7.4.5", "7.5.1", "7.5.2", "7.5.3", "7.6.1", "7.6.2"],
    ...["3.3.1", "3.3.2", "3.3.3", "3.3.4", "3.3.5"],
  ]);
  expect(named.length).toBeGreaterThan(25);
});

test.each(named)("%s: %s", (file, name) => {
  expect(readFileSync(join(root, file), "utf8")).toContain(name);
});
