/**
 * Reads from copies are never old: four nodes, a primary with a replica behind an address that moves, and every fault of the list while
 * visitors write, sign out, and read everywhere at once. A read that starts after a completed write or sign-out knows of it.
 */
import { get } from "../support/browser.js";
import { startNode, times } from "../support/node-process.js";
import { type Proxy as Address, startProxy } from "../support/proxy.js";
import { type RedisServer, startRedis } from "../support/redis.js";
import { until } from "../support/until.js";
import { type Target, Watchers } from "../support/watchers.js";

const NODES = 4;
/** Reads after writes, and reads after sign-outs. */
const READS = times(100_000);

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

class Fleet {
  readonly watchers = new Watchers(() => this.nodes);
  nodes: Target[] = [];
  #turn = 0;

  constructor(
    public primary: RedisServer,
    public replica: RedisServer,
    readonly proxy: Address,
  ) {}

  static async start(): Promise<Fleet> {
    const [primary, replica] = [await startRedis({ tcp: true }), await startRedis({ tcp: true })];
    await replica.command("REPLICAOF", "127.0.0.1", primary.port ?? 0);
    const fleet = new Fleet(primary, replica, await startProxy(primary.socket));
    for (let i = 0; i < NODES; i++) fleet.nodes.push(await fleet.newNode());
    return fleet;
  }

  async newNode(): Promise<Target> {
    return { ...(await startNode("express5", this.proxy.url)), killed: false };
  }

  /** Another node each time. */
  next(): Target {
    const node = this.nodes[this.#turn++ % this.nodes.length];
    if (node === undefined) throw new Error("no node is up");
    return node;
  }

  async modes(): Promise<unknown[]> {
    return Promise.all(this.nodes.map(async ({ url }) => (await get(`${url}/reads`)).body["mode"]));
  }

  async stop(): Promise<void> {
    for (const node of this.nodes) {
      node.thaw();
      await node.kill();
    }
    await this.proxy.stop();
    for (const redis of [this.primary, this.replica]) await redis.stop();
  }
}

async function frozenNode(fleet: Fleet, ms: number): Promise<void> {
  const node = fleet.next();
  node.freeze();
  await sleep(ms);
  node.thaw();
}

async function frozenRedis({ primary }: Fleet, ms: number): Promise<void> {
  primary.freeze();
  await sleep(ms);
  primary.thaw();
}

async function everywhere(fleet: Fleet, ...command: string[]): Promise<void> {
  for (const redis of [fleet.primary, fleet.replica]) await redis.command(...command);
}

/** A failover that loses nothing. Whoever is connected to the old primary stays so, its subscription too. */
async function failover(fleet: Fleet): Promise<void> {
  const [from, to] = [fleet.primary, fleet.replica];
  await from.command("FAILOVER", "TO", "127.0.0.1", to.port ?? 0, "TIMEOUT", 5000, "FORCE");
  await until("the replica is primary", async () => String(Reflect.get(Object(await to.command("ROLE")), 0)) === "master");
  [fleet.primary, fleet.replica] = [to, from];
  fleet.proxy.leadTo(to.socket);
}

interface Fault {
  readonly name: string;
  /** Redis loses what it acknowledged. */
  readonly losing?: boolean;
  strike(fleet: Fleet): Promise<void>;
}

const FAULTS: readonly Fault[] = [
  { name: "a node stopped for less than its lease", strike: (fleet) => frozenNode(fleet, 700) },
  { name: "a node stopped for longer", strike: (fleet) => frozenNode(fleet, 2700) },
  { name: "Redis stopped for less than the deadline", strike: (fleet) => frozenRedis(fleet, 600) },
  { name: "Redis stopped for longer than the lease", strike: (fleet) => frozenRedis(fleet, 2600) },
  {
    name: "subscriptions severed",
    async strike({ primary }) {
      for (let i = 0; i < 5; i++) {
        await primary.command("CLIENT", "KILL", "TYPE", "pubsub");
        await sleep(200);
      }
    },
  },
  {
    name: "links that fall silent",
    async strike({ proxy }) {
      proxy.silence();
      await sleep(1500);
      proxy.cut();
    },
  },
  {
    name: "an event loop blocked",
    async strike(fleet) {
      for (const ms of [400, 2500]) await get(`${fleet.next().url}/block/${ms}`);
    },
  },
  {
    name: "a crash of a node",
    async strike(fleet) {
      const victim = fleet.next();
      victim.killed = true;
      await victim.kill();
      fleet.nodes = [...fleet.nodes.filter((node) => node !== victim), await fleet.newNode()];
    },
  },
  { name: "a failover, with subscribers left on the demoted primary", strike: failover },
  {
    name: "an ACL without channels",
    async strike(fleet) {
      await everywhere(fleet, "ACL", "SETUSER", "default", "resetchannels");
      const all = (mode: string) => async () => (await fleet.modes()).every((one) => one === mode);
      await until("all nodes read by asking", all("checked"), 15_000);
      const events = await Promise.all(fleet.nodes.map(({ url }) => get(`${url}/events`)));
      for (const { body } of events) expect(body["reads"]).toBeGreaterThan(0);
      await sleep(300);
      await everywhere(fleet, "ACL", "SETUSER", "default", "allchannels");
      await until("all nodes read from copies", all("leased"), 20_000);
    },
  },
  {
    name: "eviction, of anything of ours",
    losing: true,
    async strike({ primary }) {
      await primary.command("CONFIG", "SET", "maxmemory-policy", "allkeys-random");
      for (let i = 0; i < 5; i++) {
        const used = /^used_memory:(\d+)/m.exec(String(await primary.command("INFO", "memory")))?.[1];
        await primary.command("CONFIG", "SET", "maxmemory", Math.floor(Number(used) * 0.999));
        await sleep(100);
        await primary.command("CONFIG", "SET", "maxmemory", "0");
        await sleep(100);
      }
    },
  },
  {
    name: "FLUSHALL",
    losing: true,
    async strike({ primary }) {
      for (let i = 0; i < 5; i++) {
        await primary.command("FLUSHALL");
        await sleep(400);
      }
    },
  },
];

test(`${READS} reads after a completed write, and as many after a sign-out, through all faults: 0 stale, 0 resurrected`, async () => {
  const fleet = await Fleet.start();
  const { judged } = fleet.watchers;
  try {
    fleet.watchers.start(16);
    for (let round = 0; round === 0 || Math.min(judged.afterWrite, judged.afterEnd) < READS; round++) {
      for (const { name, losing = false, strike } of FAULTS) {
        const before = { ...judged };
        if (losing) fleet.watchers.losing = true;
        await strike(fleet);
        // Redis is well again, and so are they within a lease.
        await until(`reads go on after ${name}`, () => judged.afterEnd > before.afterEnd + 200, 30_000);
        if (losing) fleet.watchers.losing = false;
        const { stale, resurrected } = judged;
        expect({ name, stale, resurrected }).toEqual({ name, stale: [], resurrected: [] });
      }
      await until("all is well for a while", () => judged.afterWrite % 1000 > 900, 30_000);
    }
    await fleet.watchers.stop();
    await fleet.watchers.verify();
    const hits = await Promise.all(fleet.nodes.map(async ({ url }) => Number((await get(`${url}/reads`)).body["hits"])));
    console.log(
      `${judged.afterWrite} reads after writes, ${judged.afterEnd} after sign-outs, ${judged.errors} errors; hits ${hits}`,
    );
    expect([judged.stale, judged.resurrected]).toEqual([[], []]);
    // The copies were at work.
    for (const count of hits) expect(count).toBeGreaterThan(0);
  } finally {
    await fleet.watchers.stop();
    await fleet.stop();
  }
}, 3_600_000);
