/**
 * Creates records until there is no room, then prints what still works, as JSON: { code, lost, read, touched, ended, again }.
 * Run it where the disk, or what a file may have of it, is small.
 */
import { lmdbEngine } from "../../../lib/engines/lmdb.js";
import { AnynodeError } from "../../../lib/errors.js";
import type { Version } from "../../../lib/names.js";
import { keyFor } from "../../support/names.js";

const [, , dir = ""] = process.argv;
const deadlines = { idleMs: 1e6, absoluteAt: 0 };
const body = Buffer.alloc(3_000, 1);

async function main(): Promise<void> {
  const engine = lmdbEngine({ dir, deadlineMs: 5_000 });
  const stored: Version[] = [];
  let code = "";
  // Eight at a time: the ones that share a batch with the one that found no room must settle too.
  for (let count = 0; code === "" && count < 100_000; count += 8) {
    const replies = await Promise.allSettled(
      Array.from({ length: 8 }, (_, i) => engine.create(keyFor(count + i), body, deadlines)),
    );
    for (const reply of replies) {
      if (reply.status === "fulfilled" && reply.value.outcome === "committed") stored.push(reply.value.version);
      if (reply.status === "rejected") code = reply.reason instanceof AnynodeError ? reply.reason.code : String(reply.reason);
    }
  }
  let lost = 0;
  for (let i = 0; i < stored.length; i++) if ((await engine.read(keyFor(i))).outcome !== "found") lost++;
  const [first, second] = stored;
  if (first === undefined || second === undefined) throw new Error("nothing could be stored at all");
  const read = (await engine.read(keyFor(0))).outcome;
  // A touch and an end beside creates that find no room: one batch, and they must not suffer.
  const [touched, ended] = await Promise.allSettled([
    engine.touch(keyFor(0), first, deadlines),
    engine.end(keyFor(1)),
    engine.create(keyFor("more"), body, deadlines),
    engine.create(keyFor("most"), body, deadlines),
  ]);
  for (let i = 2; i < stored.length; i++) await engine.end(keyFor(i));
  const again = await engine.create(keyFor("again"), body, deadlines).catch((error) => ({ outcome: String(error) }));
  const outcome = (settled: PromiseSettledResult<{ outcome: string }>) =>
    settled.status === "fulfilled" ? settled.value.outcome : String(settled.reason);
  const report = {
    code,
    stored: stored.length,
    lost,
    read,
    touched: outcome(touched),
    ended: outcome(ended),
    again: again.outcome,
  };
  process.stdout.write(`${JSON.stringify(report)}\n`);
  await engine.close();
}
void main();
