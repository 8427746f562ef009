/** Commits to one record each time it is asked by a byte on a pipe, and answers on another when the commit is acknowledged. */
import { createReadStream, openSync, writeSync } from "node:fs";
import { lmdbEngine } from "../../../lib/engines/lmdb.js";
import { keyFor } from "../../support/names.js";

const [, , dir = "", asked = "", answered = ""] = process.argv;

async function main(): Promise<void> {
  const engine = lmdbEngine({ dir, deadlineMs: 10_000 });
  const deadlines = { idleMs: 1e6, absoluteAt: 0 };
  let last = await engine.create(keyFor("pair"), Buffer.from("0"), deadlines);
  const out = openSync(answered, "w");
  let count = 0;
  for await (const chunk of createReadStream(asked)) {
    for (const _ of chunk) {
      if (last.outcome !== "committed") throw new Error(`not committed but ${last.outcome}`);
      last = await engine.commit(keyFor("pair"), last.version, Buffer.from(String(++count)), deadlines);
      writeSync(out, "!");
    }
  }
  await engine.close();
}
void main();
