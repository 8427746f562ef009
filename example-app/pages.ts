/**
 * The files of the page, in memory, each with its headers. The browser gets no script but ours. To 'self' it may connect by WebSocket, too:
 * so says CSP 3, and so do the browsers.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";

interface PageFile {
  readonly body: Buffer;
  readonly headers: Readonly<Record<string, string>>;
}

export const PAGES: ReadonlyMap<string, PageFile> = new Map([
  ["/", load("index.html", "text/html")],
  ["/style.css", load("style.css", "text/css")],
  ["/script.js", load("script.js", "text/javascript")],
]);

function load(name: string, type: string): PageFile {
  return {
    body: readFileSync(join(__dirname, "page", name)),
    headers: {
      "content-type": `${type}; charset=utf-8`,
      "cache-control": "no-cache",
      "content-security-policy":
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; frame-ancestors 'none'",
    },
  };
}
