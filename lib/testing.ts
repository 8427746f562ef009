/**
 * `anynode/testing`: the engine port's prose (engines/engine.ts) as a test suite that every engine must pass.
 *
 * For an engine writer, with any runner that has `describe` and `test` (Jest, Vitest, node:test):
 * ```ts
 * import { engineContract } from "anynode/testing";
 * engineContract({ describe, test }, "mine", {
 *   clock: "real",                                    // or "moved": the medium has an advance(), and its clock stands still otherwise
 *   async medium() {                                  // once per test: fresh and empty
 *     const place = await somewhereNew();
 *     return { engine: () => mine(place), remove: () => place.remove() };   // engine(): one more node on that medium
 *   },
 * });
 * ```
 * `clock: "slow"` also runs what needs registry leases of real time (about two minutes); give the runner time for it. Tests named
 * `RACE: …` race verbs against each other, tests named `LIMIT: …` pin down what is deliberately not promised.
 * Deadlines of the engine itself, lost connections and full disks are the engine's own tests: only it knows how to cause them.
 */
import { channelPart } from "./testing/channel.js";
import { copiesPart } from "./testing/copies.js";
import { deadlinesPart } from "./testing/deadlines.js";
import { endsPart } from "./testing/ends.js";
import { lifePart } from "./testing/life.js";
import { listPart } from "./testing/list.js";
import { racesPart } from "./testing/races.js";
import { recordsPart } from "./testing/records.js";
import { registryPart } from "./testing/registry.js";
import { schedulePart } from "./testing/schedule.js";
import { type Candidate, partOf, type Runner } from "./testing/stage.js";

export type { Candidate, Medium, Runner } from "./testing/stage.js";

export function engineContract(runner: Runner, name: string, candidate: Candidate): void {
  const part = partOf(runner, candidate);
  const parts = {
    recordsPart,
    deadlinesPart,
    endsPart,
    listPart,
    racesPart,
    schedulePart,
    registryPart,
    channelPart,
    copiesPart,
    lifePart,
  };
  runner.describe(`${name}: the engine contract`, () => {
    for (const define of Object.values(parts)) define(part);
  });
}
