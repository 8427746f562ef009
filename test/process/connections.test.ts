/** Live connections with real processes and real WebSockets, over LMDB and Redis: an end on one node, the sockets on others. */
import { once } from "node:events";
import { WebSocket } from "ws";
import { type Child, startChild } from "../support/child.js";
import { SHARED, type Shared, times } from "../support/node-process.js";
import { until } from "../support/until.js";

/** What a stopped holder may cost: its copy lease and half a second; and what a busy machine adds. */
const STOPPED_MS = 2_500;
const SLACK_MS = 500;

interface LiveNode {
  readonly child: Child;
  readonly url: string;
  readonly nodeId: string;
}

async function startLive(engine: string): Promise<LiveNode> {
  const child = startChild("live.ts", [engine]);
  const { url, nodeId } = JSON.parse(await child.line());
  return { child, url, nodeId };
}

interface Ended {
  readonly ended: boolean;
  readonly closed: number;
  readonly pending: readonly string[];
  readonly nodes: number;
  readonly ms: number;
  readonly at: number;
}

async function ask<T = Ended>(node: LiveNode, path: string): Promise<T> {
  const response = await fetch(`${node.url}${path}`);
  if (response.status !== 200) throw new Error(await response.text());
  return JSON.parse(await response.text());
}

/** A client whose socket stands and is attached; what it was told since. */
class Client {
  readonly heard: string[] = [];
  readonly socket: WebSocket;
  readonly closed: Promise<number>;

  constructor(node: LiveNode, sid: string) {
    this.socket = new WebSocket(`${node.url.replace("http", "ws")}/?sid=${encodeURIComponent(sid)}`);
    this.socket.on("message", (message) => this.heard.push(String(message)));
    this.socket.on("error", () => {});
    this.closed = once(this.socket, "close").then(([code]) => Number(code));
  }
  static async attached(node: LiveNode, sid: string): Promise<Client> {
    const client = new Client(node, sid);
    await until("it is attached", () => client.heard.includes("attached"));
    return client;
  }
}

describe.each(SHARED)("live connections over $name", ({ name, start }) => {
  let shared: Shared;
  let nodes: LiveNode[] = [];
  beforeEach(async () => {
    shared = await start();
    nodes = await Promise.all([startLive(shared.engine), startLive(shared.engine)]);
  });
  afterEach(async () => {
    for (const { child } of nodes) child.process.kill("SIGKILL");
    await Promise.all(nodes.map(({ child }) => child.ended));
    await shared.remove();
  });
  const pair = (): [LiveNode, LiveNode] => {
    const [a, b] = nodes;
    if (a === undefined || b === undefined) throw new Error("no nodes");
    return [a, b];
  };

  test("a socket on one node is closed when end() on another resolves; p99 with healthy holders", async () => {
    const [a, b] = pair();
    const took: number[] = [];
    for (let round = 0; round < times(1_000); round++) {
      const { sid } = await ask<{ sid: string }>(a, "/create");
      const client = await Client.attached(b, sid);
      if (round === 0) {
        client.socket.send("hello");
        await until("it is answered", () => client.heard.includes("you said hello"));
        expect(await ask<string[]>(a, `/locate?sid=${sid}`)).toEqual([b.nodeId]);
      }
      const result = await ask(a, `/end?sid=${sid}`);
      client.socket.send("after the end");
      expect(result).toMatchObject({ ended: true, closed: 2, pending: [], nodes: 1 });
      const { reason, at } = await ask<{ reason: string; at: number }>(b, `/disposed?sid=${sid}`);
      expect(reason).toBe("ended");
      expect(at).toBeLessThanOrEqual(result.at);
      expect(await client.closed).toBe(4401);
      expect(client.heard).not.toContain("you said after the end");
      const refused = new Client(b, sid);
      expect(await refused.closed).toBe(4401);
      expect(refused.heard).toEqual([]);
      took.push(result.ms);
    }
    took.sort((one, other) => one - other);
    const at = (share: number) => (took[Math.min(took.length - 1, Math.floor(share * took.length))] ?? 0).toFixed(1);
    process.stdout.write(`end() over ${name}, ${took.length} with a healthy holder: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms\n`);
  }, 600_000);

  test("a stopped holder costs its copy lease and is pending; going on, it closes its own before it serves anything", async () => {
    const [a, b] = pair();
    const { sid } = await ask<{ sid: string }>(a, "/create");
    const client = await Client.attached(b, sid);
    let result: Ended | undefined;
    // Stopped while it holds LMDB's writer lock, it would hold up everybody: another moment, then.
    for (let tries = 3; result === undefined && tries > 0; tries--) {
      b.child.process.kill("SIGSTOP");
      result = await ask(a, `/end?sid=${sid}`).catch(() => undefined);
      if (result === undefined) b.child.process.kill("SIGCONT");
    }
    client.socket.send("said while it was stopped");
    await new Promise((resolve) => setTimeout(resolve, 100));
    b.child.process.kill("SIGCONT");
    client.socket.send("said right after");
    expect(await client.closed).toBe(4401);
    expect(client.heard).toEqual(["attached"]);
    expect(result).toMatchObject({ ended: true, closed: 0, pending: [b.nodeId], nodes: 1 });
    expect(result?.ms).toBeLessThan(STOPPED_MS + SLACK_MS);
    const { reason } = await ask<{ reason: string }>(b, `/disposed?sid=${sid}`);
    expect(reason).toBe("ended");
    const next = await ask<{ sid: string }>(a, "/create");
    await Client.attached(b, next.sid);
    await until("it answers again", async () => (await ask(a, `/end?sid=${next.sid}`)).pending.length === 0);
  }, 60_000);

  test("a killed holder costs its copy lease at the most, and is pending while its row stands", async () => {
    const [a, b] = pair();
    const { sid } = await ask<{ sid: string }>(a, "/create");
    const client = await Client.attached(b, sid);
    b.child.process.kill("SIGKILL");
    await b.child.ended;
    expect(await client.closed).toBe(1006);
    const result = await ask(a, `/end?sid=${sid}`);
    expect(result).toMatchObject({ ended: true, closed: 0, pending: [b.nodeId], nodes: 1 });
    expect(result.ms).toBeLessThan(STOPPED_MS + SLACK_MS);
  }, 60_000);
});
