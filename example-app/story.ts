/** The story that the demo tells, step by step through the balancer. Every tick is a check; the first that fails ends it. */
import type { Fleet, FleetNode } from "./fleet.js";
import { check, chip, dim, heading, say } from "./transcript.js";
import { type Answer, Visitor } from "./visitor.js";

/** The crowd that is clicking while a node is killed. */
const CROWD = 6;
const ROUNDS = 30;
const KILL_AFTER = 60;

/** What the story leaves behind: a cookie that no node may take any more. */
export interface Ending {
  readonly oldCookie: string;
}

export async function tell(address: string, nodes: readonly FleetNode[], fleet: Fleet): Promise<Ending> {
  const names = nodes.map(({ name }) => name);
  const ada = new Visitor(address);

  heading("Three nodes, one balancer that sends every request to the next node");
  for (const { name, framework, address } of nodes) say(`${chip(name)}  ${framework.padEnd(8)} ${dim(address)}`);
  for (const { name } of nodes) {
    const { node, shown } = await ada.look();
    // By address: on a shared Redis there may be others, such as the node that the last run of this story killed.
    const found = nodes.filter(({ address }) => shown.nodes.some((node) => node.address === address && node.state === "live"));
    check(`${chip(name)} finds all three in the registry`, [node, found], [name, nodes]);
  }

  heading("Ada signs in");
  const [first, ...others] = names;
  const signedIn = await ada.do("sign-in", { name: "Ada" });
  check(`${chip(signedIn.node)} signs her in`, [signedIn.node, signedIn.shown.name], [first, "Ada"]);
  for (const name of others) {
    const { node, shown } = await ada.look();
    check(`${chip(name)} knows her ${dim(`(${shown.framework})`)}`, [node, shown.name], [name, "Ada"]);
  }

  const again = [await ada.look(), await ada.look(), await ada.look()];
  say(dim(`  once more each: ${again.map(({ trips }) => trips).join(", ")} round trips to read her session`));

  heading("She opens a WebSocket on two of them");
  // Not through the balancer: the story wants to know which node has it.
  const sockets = await Promise.all(nodes.slice(1).map(async ({ name, address }) => ({ name, socket: await ada.open(address) })));
  for (const { name, socket } of sockets) check(`${chip(name)} keeps one open`, [socket.greeting, socket.isOpen()], [name, true]);

  heading("Each node counts one on");
  for (const [place, name] of names.entries()) {
    const { node, shown } = await ada.do("count");
    check(`${chip(name)} counts to ${place + 1}`, [node, shown.count], [name, place + 1]);
  }

  heading("Three things into the cart at the same moment, each through another node");
  const products = ["tea", "lemon", "biscuits"];
  const added = await Promise.all(products.map((product) => ada.do("cart", { product, add: 1 })));
  check(`${added.map(({ node }) => chip(node)).join(", ")} each put one in`, nodesOf(added), names);
  const { node, shown } = await ada.look();
  const cart = shown.cart.filter(({ pieces }) => pieces === 1).map(({ id }) => id);
  check(`${chip(node)} sees all three: no update was lost`, cart, products);

  heading(`kill -9 ${chip(names[0] ?? "")} while ${CROWD} others are clicking`);
  await killInTraffic(address, names[0] ?? "", fleet);

  heading("Ada hasn't noticed");
  const later = [await ada.look(), await ada.look(), await ada.look()];
  check(`${others.map(chip).join(" and ")} answer her`, nodesOf(later), others);
  const kept = later.map(({ shown: { name, count, cart } }) => [name, count, cart.filter(({ pieces }) => pieces === 1).length]);
  check("still signed in, her count is 3, and so is her cart", kept, Array(3).fill(["Ada", 3, 3]));

  const open = sockets.filter(({ socket }) => socket.isOpen()).map(({ name }) => name);
  check("both WebSockets are open as before", open, others);

  heading("Ada signs out");
  const oldCookie = ada.cookie;
  const signedOut = await ada.do("sign-out");
  const stillOpen = sockets.filter(({ socket }) => socket.isOpen()).map(({ name }) => name);
  check(`${chip(signedOut.node)} signs her out`, [signedOut.status, signedOut.shown.name], [200, null]);
  for (const { name, socket } of sockets) {
    const where = name === signedOut.node ? chip(name) : `${chip(name)}, another node,`;
    const seen = [stillOpen.includes(name), await socket.closed];
    check(`her WebSocket on ${where} was closed before she had the answer: 4401`, seen, [false, 4401]);
  }
  for (const { name, address } of nodes.slice(1)) await refuses(chip(name), address, oldCookie);
  return { oldCookie };
}

/** Whoever comes with the cookie of an ended session is nobody: nothing to see, nothing to do. */
export async function refuses(who: string, address: string, oldCookie: string): Promise<void> {
  const seen = await new Visitor(address, oldCookie).look();
  const tried = await new Visitor(address, oldCookie).do("count");
  check(`${who} refuses her old cookie`, [seen.shown.name, tried.status], [null, 401]);
}

/** Several visitors count and look, one request after the other each; in the middle of it the node is killed. */
async function killInTraffic(address: string, victim: string, fleet: Fleet): Promise<void> {
  const answers: Answer[] = [];
  let death: Promise<void> | undefined;
  function note(answer: Answer): boolean {
    answers.push(answer);
    if (answers.length === KILL_AFTER) death = fleet.kill(victim);
    return answer.status === 200;
  }

  const counts = await Promise.all(
    Array.from({ length: CROWD }, async (_, number) => {
      const visitor = new Visitor(address);
      while (!note(await visitor.do("sign-in", { name: `Visitor ${number}` })));
      let stored = 0;
      let unknown = 0;
      for (let round = 0; round < ROUNDS; round++) {
        if (note(await visitor.do("count"))) stored++;
        else unknown++;
        note(await visitor.look());
      }
      const last = await visitor.look();
      await visitor.do("sign-out");
      return { stored, unknown, count: last.shown.count };
    }),
  );
  await death;

  const failed = answers.filter(({ status }) => status !== 200);
  const elsewhere = failed.filter(({ node }) => node !== victim);
  const served = answers.length - failed.length;
  check(`${served} of ${answers.length} requests were answered; no other node failed a single one`, elsewhere, []);
  if (failed.length > 0) say(dim(`  ${failed.length} died with the node that was working on it, and its visitor was told so`));
  const missing = counts.filter(({ stored, unknown, count }) => count < stored || count > stored + unknown);
  check(`all ${sum(counts.map(({ stored }) => stored))} counts that were acknowledged are there`, missing, []);
}

function nodesOf(answers: readonly Answer[]): string[] {
  return [...new Set(answers.map(({ node }) => node))].sort();
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
