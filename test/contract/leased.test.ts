/** The in-memory engine with copies that the fleet's schedules run on, against the contract: it must be what the Redis engine is. */
import { engineContract } from "anynode/testing";
import { CopiesMedium } from "../support/leased-engine.js";
import { movableClock } from "../support/movable-clock.js";

engineContract({ describe, test }, "in memory, with copies", {
  clock: "moved",
  medium() {
    const clock = movableClock();
    const medium = new CopiesMedium(clock.now);
    return { engine: () => medium.engine(), advance: clock.advance };
  },
});
