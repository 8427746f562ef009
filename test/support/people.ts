/** What tests of people's sessions look at behind the library's back. */
import type { Engine, Listed } from "../../lib/engines/engine.js";

/** Every record that the engine lists: sessions, indexes, and what old ids lead to. */
export async function collected(engine: Engine): Promise<Listed[]> {
  const all: Listed[] = [];
  for await (const listed of engine.list()) all.push(listed);
  return all;
}
