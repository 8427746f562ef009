/**
 * A process of its own on the Redis engine, for test/process/redis.test.ts: reads, beats and listens for as long as stdin is open, then
 * prints how often it got which outcome. Nothing here catches what the engine forgets: an unhandled rejection ends it with status 1.
 */
import { redisEngine } from "../../lib/engines/redis/engine.js";
import { AnynodeError } from "../../lib/errors.js";
import { isKey, isNodeId } from "../../lib/names.js";

const outcomes: Record<string, number> = {};
const count = (outcome: string) => {
  outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
};
const failed = (error: unknown) => count(error instanceof AnynodeError ? error.code : `not ours: ${error}`);

async function main(url: string) {
  const engine = redisEngine({ url, deadlineMs: 200 });
  const key = `{tag}${"x".repeat(22)}`;
  const nodeId = "survivor-1";
  if (!isKey(key) || !isNodeId(nodeId)) throw new Error("names");
  await engine.open();
  const reading = setInterval(() => {
    Promise.resolve(engine.read(key)).then((read) => count(read.outcome), failed);
    engine.beat(nodeId, 1, "{}").then((beat) => count(beat.outcome), failed);
    engine.publish("news", "x").catch(failed);
  }, 5);
  const subscribing = setInterval(() => {
    engine.subscribe("news", () => count("heard")).then((subscription) => subscription.close().catch(failed), failed);
  }, 20);
  await engine.subscribe("news", () => count("heard"));
  process.stdout.write("up\n");
  process.stdin.resume().once("end", async () => {
    clearInterval(reading);
    clearInterval(subscribing);
    await engine.close();
    process.stdout.write(`${JSON.stringify(outcomes)}\n`);
  });
}

void main(process.argv[2] ?? "");
