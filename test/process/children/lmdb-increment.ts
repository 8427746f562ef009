/** Increments the counter in one record by compare-and-swap, so many times. */
import { lmdbEngine } from "../../../lib/engines/lmdb.js";
import { keyFor } from "../../support/names.js";

const [, , dir = "", times = ""] = process.argv;

async function main(): Promise<void> {
  const engine = lmdbEngine({ dir, deadlineMs: 10_000 });
  const key = keyFor("counter");
  const deadlines = { idleMs: 1e6, absoluteAt: 0 };
  await engine.create(key, Buffer.from("0"), deadlines);
  for (let done = 0; done < Number(times); ) {
    const current = await engine.read(key);
    if (current.outcome !== "found") throw new Error(`not found but ${current.outcome}`);
    const next = Buffer.from(String(Number(current.body.toString()) + 1));
    const reply = await engine.commit(key, current.version, next, deadlines);
    if (reply.outcome === "committed") done++;
  }
  await engine.close();
}
void main();
