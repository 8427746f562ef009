/**
 * What reading from copies costs and saves, over real nodes and a real Redis, by Redis' own account: commands per read, reads per node of a
 * cold session, messages per write. (That nothing old is ever read: coherence-faults.test.ts.)
 */
import { Browser, get } from "../support/browser.js";
import { type Watch, watchCommands } from "../support/commands.js";
import { type NodeProcess, parallel, startNode, times } from "../support/node-process.js";
import { type RedisServer, startRedis } from "../support/redis.js";

let redis: RedisServer;
let watch: Watch;
let nodes: NodeProcess[] = [];
beforeAll(async () => {
  redis = await startRedis();
  watch = await watchCommands(redis);
});
afterAll(async () => {
  watch.stop();
  await Promise.all(nodes.map((node) => node.kill()));
  await redis.stop();
});

/** That many nodes, and no more of their own joining under way. */
async function fleetOf(count: number): Promise<void> {
  nodes = [
    ...nodes,
    ...(await Promise.all(Array.from({ length: count - nodes.length }, () => startNode("express5", redis.url)))),
  ];
}
function at(i: number): string {
  const node = nodes[i % nodes.length];
  if (node === undefined) throw new Error("no node");
  return node.url;
}
async function signedIn(count: number): Promise<Browser[]> {
  const visitors = Array.from({ length: count }, () => new Browser());
  await parallel(count, 16, async (i) => {
    expect((await visitors[i]?.get(at(i), "/set?name=n&value=0"))?.status).toBe(200);
  });
  return visitors;
}
/** How often each node asked the engine for a session. */
async function asked(): Promise<number[]> {
  const answers = await Promise.all(nodes.map(({ url }) => get(`${url}/reads`)));
  return answers.map(({ body }) => Number(body["asked"]));
}

const reads = times(100_000);
test(`1,000 sessions warm on 3 nodes, then ${reads} reads in turn: at most 0.02 commands each`, async () => {
  await fleetOf(3);
  const visitors = await signedIn(1000);
  for (let n = 0; n < 3; n++) await parallel(1000, 16, async (i) => void (await visitors[i]?.get(at(n), "/read")));
  await watch.taken();
  await parallel(reads, 16, async (i) => {
    const answer = await visitors[i % 1000]?.get(at(i), "/read");
    expect([answer?.status, answer?.body]).toEqual([200, { n: "0" }]);
  });
  const { sessions, registry } = await watch.taken();
  console.log(`${(sessions / reads).toFixed(4)} commands per read, and ${registry} of the registry`);
  expect(sessions / reads).toBeLessThanOrEqual(0.02);
  expect(registry).toBeGreaterThan(0);
}, 300_000);

test("1,000 parallel requests on one cold session, 3 nodes: at most one read a node", async () => {
  await fleetOf(4);
  const writer = new Browser();
  // Whoever made it has a copy: it is cold to the others.
  await writer.get(at(3), "/set?name=n&value=0");
  const before = await asked();
  await watch.taken();
  await parallel(1000, 1000, async (i) => {
    expect((await writer.fork().get(at(i % 3), "/read")).body).toEqual({ n: "0" });
  });
  const after = await asked();
  for (const [i, count] of after.entries()) expect(count - (before[i] ?? 0)).toBeLessThanOrEqual(1);
  expect((await watch.taken()).sessions).toBeLessThanOrEqual(3);
}, 60_000);

const writes = times(10_000);
test(`one session, ${writes} writes by 8 nodes in turn: at most 3 messages a write`, async () => {
  await fleetOf(8);
  const writer = new Browser();
  const run = async (count: number) => {
    await watch.taken();
    for (let i = 0; i < count; i++) expect((await writer.get(at(i), `/set?name=n&value=${i}`)).status).toBe(200);
    const { drops, acks } = await watch.taken();
    return (drops + acks) / count;
  };
  await writer.get(at(0), "/set?name=n&value=first");
  const [starting, going] = [await run(200), await run(writes)];
  console.log(`messages per write: ${starting.toFixed(2)} over the first 200, then ${going.toFixed(2)}`);
  expect(starting).toBeLessThanOrEqual(3);
  expect(going).toBeLessThanOrEqual(3);
}, 300_000);
