/**
 * A node with WebSockets as a process. Argument: engine. Prints its URL and nodeId once it is ready, and ends with its parent. A socket
 * (`/?sid=…`) is answered what it says. `/create` → sid, `/end?sid=…` → what came of it, `/disposed?sid=…` → what was told when it was over.
 */
import { createServer } from "node:http";
import { anynode } from "anynode";
import { WebSocketServer } from "ws";
import { textsOf } from "../../../lib/session/attributes.js";
import { makeSid } from "../../../lib/session/id.js";
import { until } from "../../support/until.js";

/** Milliseconds on the machine's monotonic clock, which all its processes share. */
const machineMs = () => Number(process.hrtime.bigint() / 1_000n) / 1_000;

async function main(): Promise<void> {
  const [, , engine = ""] = process.argv;
  const sessions = anynode({ engine });
  await sessions.ready();
  if (engine.startsWith("redis")) await until("a run of the lease", () => sessions.reads.runs > 0);
  const disposed = new Map<string, { reason: string; at: number }>();

  const server = createServer(async (req, res) => {
    const { pathname, searchParams } = new URL(req.url ?? "/", "http://node");
    const sid = searchParams.get("sid") ?? "";
    const answers: Record<string, () => unknown> = {
      "/create": async () => {
        const made = makeSid();
        await sessions.create(made, textsOf({ name: "Ada" }));
        return { sid: made };
      },
      "/end": async () => {
        const from = machineMs();
        const result = await sessions.end(sid);
        return { ...result, ms: machineMs() - from, at: machineMs() };
      },
      "/disposed": () => disposed.get(sid) ?? {},
      "/locate": async () => (await sessions.registry.locate(sid)).map(({ nodeId }) => nodeId),
    };
    try {
      res.end(JSON.stringify(await answers[pathname]?.()));
    } catch (error) {
      res.writeHead(503).end(String(error));
    }
  });
  new WebSocketServer({ server }).on("connection", async (socket, req) => {
    const sid = new URL(req.url ?? "/", "http://node").searchParams.get("sid") ?? "";
    socket.on("message", (message) => socket.send(`you said ${message}`));
    if ((await sessions.attach(socket, sid)) === undefined) return;
    await sessions.hold(sid, (reason) => disposed.set(sid, { reason, at: machineMs() }));
    socket.send("attached");
  });
  server.listen(0, "127.0.0.1", () => {
    const address = server.address();
    const port = typeof address === "object" ? address?.port : 0;
    console.log(JSON.stringify({ url: `http://127.0.0.1:${port}`, nodeId: sessions.registry.nodeId }));
  });
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) process.exit(1);
  }, 500);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
