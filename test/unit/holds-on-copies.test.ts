/** What is live of a session, where nodes read from copies: ends that are given up, overtaken or follow an eviction close it all the same. */
import type { Hold } from "../../lib/registry/hold.js";
import { textsOf } from "../../lib/session/attributes.js";
import { copiesStage, givingUp, isDone, twoNodes } from "../support/copies-stage.js";
import { settled } from "../support/held-wire.js";

function live(hold: Hold | undefined): Hold {
  if (hold === undefined) throw new Error("nothing is held");
  return hold;
}

test("RACE: an end that was given up runs late, after its node was told that the session lives: what it holds is closed", async () => {
  const { node, sid, clock } = await copiesStage(1);
  const { front, arm, run } = givingUp("end");
  const a = await node(front);
  await clock.advance(3_000);
  const told: string[] = [];
  const hold = live(await a.sessions.hold(sid, (reason) => told.push(reason)));
  arm();
  await expect(a.sessions.end(sid)).rejects.toMatchObject({ code: "ENGINE_TIMEOUT" });
  await settled();
  expect([await hold.live(), told]).toEqual([true, []]);
  await run();
  await settled();
  expect([hold.over, told]).toEqual([true, ["ended"]]);
});

test("RACE: the notice of a node's own end overtakes the reply: what the end closed is counted, once", async () => {
  const { a, sid } = await twoNodes();
  const told: string[] = [];
  for (let i = 0; i < 2; i++) live(await a.sessions.hold(sid, (reason) => told.push(reason)));
  const letGo = a.wire.holdReplies();
  const ending = a.sessions.end(sid);
  expect(await isDone(ending)).toBe(false);
  await letGo();
  expect(await ending).toEqual({ ended: true, closed: 2, pending: [], nodes: 1 });
  expect(told).toEqual(["ended", "ended"]);
});

test("a record that was evicted and made anew has the holders of the old one: its end closes what they hold", async () => {
  const { a, b, sid, medium } = await twoNodes();
  const told: string[] = [];
  live(await a.sessions.hold(sid, (reason) => told.push(reason)));
  for (const key of medium.server.values.keys()) medium.server.evict(key);
  await b.sessions.replace(sid, textsOf({ v: 2 }));
  expect(await b.sessions.end(sid)).toEqual({ ended: true, closed: 1, pending: [], nodes: 1 });
  expect(told).toEqual(["ended"]);
});
