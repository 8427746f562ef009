/** Who waits for the end of its turn of the event loop: those that others come along with, lately. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { together } from "../../lib/web/together.js";

/** Whether a request of this moment goes on at once, without waiting for its turn's end. */
async function goesOnAtOnce(): Promise<boolean> {
  let went = false;
  together(() => {
    went = true;
  });
  await Promise.resolve();
  const atOnce = went;
  await nextTurn();
  await nextTurn();
  expect(went).toBe(true);
  return atOnce;
}

test("where requests come one by one they go on at once, until others come along again", async () => {
  expect(await goesOnAtOnce()).toBe(false);
  const alone: boolean[] = [];
  for (let i = 0; i < 40; i++) alone.push(await goesOnAtOnce());
  expect(alone.slice(8).filter((atOnce) => atOnce).length).toBeGreaterThan(25);
  let went = 0;
  for (let turn = 0; turn < 20; turn++) {
    for (let i = 0; i < 5; i++) together(() => went++);
    await nextTurn();
    await nextTurn();
  }
  expect(went).toBe(100);
  expect(await goesOnAtOnce()).toBe(false);
});
