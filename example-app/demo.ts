/**
 * `npm run demo`: starts three nodes and a balancer, tells the story, then stays up for a browser.
 * Nothing has to be prepared: sessions are kept in a temporary directory, or on the Redis server that SESSION_ENGINE names.
 */
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Balancer } from "./balancer.js";
import { Fleet, type FleetNode } from "./fleet.js";
import { type Ending, refuses, tell } from "./story.js";
import { CheckFailed, chip, dim, heading, red, say, tick } from "./transcript.js";

const HELP = `
  npm run demo -- [options]

    --once       end after the story: status 0 if it went as told, else 1
    --port <n>   the balancer's port (default: one that is free)
    --help       this text

  SESSION_ENGINE=redis://127.0.0.1:6379 npm run demo    the same on Redis (default: LMDB in a temporary directory)
`;

const FLEET: readonly Pick<FleetNode, "name" | "framework">[] = [
  { name: "A", framework: "Express" },
  { name: "B", framework: "Express" },
  { name: "C", framework: "Koa" },
];

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { once: { type: "boolean" }, port: { type: "string", default: "0" }, help: { type: "boolean" } },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const directory = await mkdtemp(join(tmpdir(), "anynode-demo-"));
  const { SESSION_ENGINE: engine = `lmdb:${directory}` } = process.env;
  const fleet = new Fleet(engine, randomBytes(32).toString("hex"), randomBytes(32).toString("hex"));
  const balancer = new Balancer();

  let ending: Promise<void> | undefined;
  function end(status: number): Promise<void> {
    ending ??= (async () => {
      await balancer.close();
      await fleet.stop();
      await rm(directory, { recursive: true, force: true });
      process.exit(status);
    })();
    return ending;
  }
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => end(0));

  try {
    const nodes = await Promise.all(FLEET.map(({ name, framework }) => fleet.start(name, framework)));
    for (const { name, address } of nodes) balancer.add(name, address);
    const address = await balancer.listen(Number(values.port));
    const story = await tell(address, nodes, fleet);
    if (values.once) return await end(0);
    await stayUp(address, nodes, story, fleet, balancer);
  } catch (error) {
    if (ending !== undefined) return; // stopped in the middle of something
    console.error(error instanceof CheckFailed ? `    ${red(error.message)}` : error);
    await end(1);
  }
}

/** The killed node comes back once the registry has noticed that it is gone; the rest is for the browser. */
async function stayUp(
  address: string,
  [killed]: readonly FleetNode[],
  { oldCookie }: Ending,
  fleet: Fleet,
  balancer: Balancer,
): Promise<void> {
  if (killed === undefined) return;
  const noticed = fleet.lost(killed.address);

  heading(`Try it yourself: ${address}`);
  say(dim("Ctrl-C ends the demo. Meanwhile:"));
  await noticed;
  tick(`the registry has noticed that ${chip(killed.name)} is gone: its lease of ten seconds is over`);
  const back = await fleet.start(killed.name, killed.framework);
  balancer.add(back.name, back.address);
  await refuses(`${chip(back.name)}, started again,`, back.address, oldCookie);
}

void main();
