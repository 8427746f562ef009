/** The recipes of docs/connections.md, as they stand, with a client each: signed in, served; signed out, closed. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { io } from "socket.io-client";
import { WebSocket } from "ws";
import { until } from "../support/until.js";

const root = resolve(__dirname, "../..");
const page = readFileSync(join(root, "docs/connections.md"), "utf8");
const recipes = new Map(
  [...page.matchAll(/^## (.*?)\n.*?^```js\n(.*?)^```$/gms)].map((match) => [match[1] ?? "", match[2] ?? ""] as const),
);

/** Runs before a recipe: it listens on a free port, and says on which. */
const ANY_PORT = `
const http = require("node:http");
const { listen } = http.Server.prototype;
http.Server.prototype.listen = function () {
  return listen.call(this, 0, "127.0.0.1", () => console.log(this.address().port));
};`;

let scratch: string;
let child: ChildProcess | undefined;
beforeEach(() => {
  // Inside the tree, so that the packages resolve.
  mkdirSync(join(root, "data"), { recursive: true });
  scratch = mkdtempSync(join(root, "data", "recipe-"));
});
afterEach(async () => {
  if (child !== undefined && child.exitCode === null) {
    const ended = once(child, "close");
    child.kill("SIGKILL");
    await ended;
  }
  rmSync(scratch, { recursive: true, force: true });
});

/** Starts a recipe; gives back its host and port. */
async function started(name: string): Promise<string> {
  const text = recipes.get(name);
  if (text === undefined) throw new Error(`there is no recipe ${name}`);
  writeFileSync(join(scratch, "any-port.cjs"), ANY_PORT);
  writeFileSync(join(scratch, "recipe.mts"), `// @ts-nocheck\n${text}`);
  const args = ["--require", join(scratch, "any-port.cjs"), "--import", "tsx", join(scratch, "recipe.mts")];
  const running = spawn(process.execPath, args, {
    cwd: scratch,
    env: { ...process.env, TSX_TSCONFIG_PATH: join(root, "tsconfig.json") },
    stdio: ["ignore", "pipe", "inherit"],
  });
  child = running;
  const [port] = await once(createInterface({ input: running.stdout }), "line");
  return `127.0.0.1:${port}`;
}

async function get(host: string, path: string, cookie = ""): Promise<Response> {
  return fetch(`http://${host}${path}`, { headers: { cookie } });
}

async function signedIn(host: string): Promise<string> {
  const response = await get(host, "/sign-in");
  // express-session holds the last byte back until the session is stored.
  await response.text();
  const cookie = response.headers.getSetCookie()[0]?.split(";")[0];
  if (cookie === undefined) throw new Error("no cookie");
  expect(await (await get(host, "/", cookie)).text()).toBe("Hello, Ada.");
  return cookie;
}

test("WebSockets", async () => {
  const host = await started("WebSockets (`ws`)");
  const stranger = new WebSocket(`ws://${host}/`);
  expect((await once(stranger, "close"))[0]).toBe(4401);
  const cookie = await signedIn(host);
  const socket = new WebSocket(`ws://${host}/`, { headers: { cookie } });
  const heard: string[] = [];
  socket.on("message", (message) => heard.push(String(message)));
  await once(socket, "open");
  socket.send("hello");
  await until("it is answered", () => heard.length > 0);
  const closed = once(socket, "close");
  expect(await (await get(host, "/sign-out", cookie)).text()).toBe("Signed out.");
  socket.send("still there?");
  expect((await closed)[0]).toBe(4401);
  expect(heard).toEqual(["Ada: hello"]);
}, 60_000);

test("Server-sent events", async () => {
  const host = await started("Server-sent events");
  expect((await get(host, "/events")).status).toBe(401);
  const cookie = await signedIn(host);
  const stream = await get(host, "/events", cookie);
  expect(stream.headers.get("content-type")).toBe("text/event-stream");
  let text = "";
  const all = (async () => {
    for await (const chunk of stream.body ?? []) text += Buffer.from(chunk).toString();
  })();
  await until("an event", () => text.includes("data: Ada, it is"));
  await (await get(host, "/sign-out", cookie)).text();
  await all;
  expect((await get(host, "/events", cookie)).status).toBe(401);
}, 60_000);

test("Socket.IO", async () => {
  const host = await started("Socket.IO");
  const cookie = await signedIn(host);
  for (const transports of [["websocket"], ["polling"]]) {
    const stranger = io(`http://${host}`, { transports, reconnection: false, forceNew: true });
    expect(await new Promise((resolve) => stranger.on("disconnect", resolve))).toMatch(/disconnect|close/);
  }
  const socket = io(`http://${host}`, { extraHeaders: { cookie }, reconnection: false });
  expect(await socket.emitWithAck("say", "hello")).toBe("Ada: hello");
  const gone = new Promise((resolve) => socket.on("disconnect", resolve));
  await (await get(host, "/sign-out", cookie)).text();
  expect(await gone).toMatch(/disconnect|close/);
}, 60_000);
