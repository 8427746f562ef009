/** Asks for a write that can't begin, prints how that ended, closes the engine and leaves by process.exit(3). */
import { writeSync } from "node:fs";
import { lmdbEngine } from "../../../lib/engines/lmdb.js";
import { AnynodeError } from "../../../lib/errors.js";
import { keyFor } from "../../support/names.js";

const [, , dir = ""] = process.argv;

async function main(): Promise<void> {
  const engine = lmdbEngine({ dir, deadlineMs: 200 });
  const outcome = await engine.end(keyFor(1)).then(
    (reply) => reply.outcome,
    (error) => (error instanceof AnynodeError ? error.code : String(error)),
  );
  await engine.close();
  writeSync(1, `${outcome}\n`);
  process.exit(3);
}
void main();
