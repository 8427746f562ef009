/** Creates records as fast as it can until it is killed, and prints the name of each one that was acknowledged. */
import { writeSync } from "node:fs";
import { lmdbEngine } from "../../../lib/engines/lmdb.js";
import { keyFor } from "../../support/names.js";

const [, , dir = "", round = ""] = process.argv;

async function main(): Promise<void> {
  const engine = lmdbEngine({ dir, deadlineMs: 10_000 });
  let count = 0;
  const create = async (): Promise<void> => {
    for (;;) {
      const name = `${round}-${count++}`;
      const reply = await engine.create(keyFor(name), Buffer.from(name), { idleMs: 1e6, absoluteAt: 0 });
      if (reply.outcome === "committed") writeSync(1, `${name}\n`);
    }
  };
  await Promise.all(Array.from({ length: 16 }, create));
}
void main();
