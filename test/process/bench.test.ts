/** What a session costs on Redis: the counts of the bench, by the bench's own modules. No time is judged here. */
import { redisCost } from "../../bench/redis-cost.js";
import { redisMemory } from "../../bench/redis-memory.js";
import { Subject } from "../../bench/subject.js";
import type { SubjectName } from "../../bench/subjects.js";

const REQUESTS = 400;
const started: Subject[] = [];

async function subject(name: SubjectName): Promise<Subject> {
  const one = await Subject.start(name, 8);
  started.push(one);
  await one.signIn(40);
  return one;
}

afterAll(() => Promise.all(started.map((one) => one.stop())));

for (const name of ["anynode-redis", "anynode-ioredis"] as const)
  test(`${name}: a read-only request is one command at the most, and an unchanged session writes nothing`, async () => {
    const { commandsPerRequest, changesPerRequest } = await redisCost(await subject(name), "read", REQUESTS);
    expect(commandsPerRequest).toBeLessThanOrEqual(1);
    // Beats are taken off by time, which is a matter of one or two changes in all.
    expect(Math.abs(changesPerRequest * REQUESTS)).toBeLessThanOrEqual(3);
  });

test("the counts tell what connect-redis does: two commands, of which one is a change", async () => {
  const { commandsPerRequest, changesPerRequest } = await redisCost(await subject("connect-redis"), "read", REQUESTS);
  expect(commandsPerRequest).toBe(2);
  expect(Math.round(changesPerRequest * REQUESTS)).toBe(REQUESTS);
});

test("a session takes at most 1.12 times the memory that connect-redis takes", async () => {
  const [ours, theirs] = [await subject("anynode-redis"), await subject("connect-redis")];
  const [weight, other] = [await redisMemory(ours, 201), await redisMemory(theirs, 201)];
  expect(weight.keyBytes / other.keyBytes).toBeLessThanOrEqual(1.12);
});
