/** The closed set of errors: each code is documented, and nothing is documented that there isn't. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { AnynodeError, errorCodes } from "../../lib/errors.js";

test("every code has a heading in docs/errors.md, and every heading there is a code", () => {
  const text = readFileSync(join(__dirname, "../../docs/errors.md"), "utf8");
  const headings = [...text.matchAll(/^### `([A-Z_]+)`/gm)].map(([, code]) => code);
  expect(headings.toSorted()).toEqual([...errorCodes].toSorted());
});

test("an error carries its code, the status for whoever answers a request with it, and its cause", () => {
  const cause = new Error("underneath");
  const error = new AnynodeError("CONFLICT", "text", { cause });
  expect(error).toMatchObject({ name: "AnynodeError", code: "CONFLICT", status: 409, message: "text", cause });
  expect(error).toBeInstanceOf(Error);
});
