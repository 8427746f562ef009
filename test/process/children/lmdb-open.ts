/** Opens and closes the environment, so many times. */
import { lmdbEngine } from "../../../lib/engines/lmdb.js";

const [, , dir = "", times = ""] = process.argv;

async function main(): Promise<void> {
  for (let i = 0; i < Number(times); i++) {
    const engine = lmdbEngine({ dir, deadlineMs: 10_000 });
    await engine.nodes();
    await engine.close();
  }
}
void main();
