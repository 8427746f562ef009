/** The memory engine against the contract, with a clock that the suite moves. */
import { memoryEngine } from "anynode/memory";
import { engineContract } from "anynode/testing";
import { movableClock } from "../support/movable-clock.js";

engineContract({ describe, test }, "memory", {
  clock: "moved",
  shared: true,
  medium() {
    const clock = movableClock();
    const engine = memoryEngine({ clock });
    return { engine: () => engine, advance: clock.advance };
  },
});
