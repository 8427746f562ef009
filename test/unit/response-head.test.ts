/** The head of a response that sets our cookie: whatever form it is given in, no shared cache keeps it. */
import { withCookie } from "../../lib/web/response-head.js";

const LINE = "sid=x; Path=/";

test.each([
  [undefined, undefined],
  [{ "Content-Type": "text/plain" }, { "Content-Type": "text/plain" }],
  [{ "cache-control": "public, max-age=60" }, { "cache-control": "private, max-age=60" }],
  [{ "Cache-Control": ["public", "max-age=60"] }, { "Cache-Control": "private, max-age=60" }],
  [{ "Cache-Control": "private" }, { "Cache-Control": "private" }],
  [{ "Cache-Control": 'private="Set-Cookie", max-age=5' }, { "Cache-Control": 'private, private="Set-Cookie", max-age=5' }],
  [{ Vary: "Accept" }, { Vary: "Accept, Cookie" }],
  [{ "Set-Cookie": "a=b" }, { "Set-Cookie": ["a=b", LINE] }],
  [
    ["Set-Cookie", "a=b", "Cache-Control", "public", "vary", "*"],
    ["Set-Cookie", "a=b", "Cache-Control", "no-store", "vary", "*", "Set-Cookie", LINE],
  ],
])("writeHead given %j", (given, wanted) => {
  expect(withCookie(given, LINE)).toEqual(wanted);
});
