/** The LMDB engine against the contract: every node is an engine of its own on one directory, with a clock that the suite moves. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lmdbEngine } from "anynode/lmdb";
import { engineContract } from "anynode/testing";
import { movableClock } from "../support/movable-clock.js";

engineContract({ describe, test }, "lmdb", {
  clock: "moved",
  async medium() {
    const dir = await mkdtemp(join(tmpdir(), "anynode-lmdb-"));
    const clock = movableClock();
    return {
      engine: () => lmdbEngine({ dir, clock }),
      advance: clock.advance,
      remove: () => rm(dir, { recursive: true, force: true }),
    };
  },
});
