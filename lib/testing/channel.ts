/** The contract of publish and subscribe: in order per publisher, at most once, to whoever is subscribed at that time. */
import assert from "node:assert/strict";
import { type Part, until } from "./stage.js";

export function channelPart({ describe, test }: Part): void {
  describe("a channel", () => {
    test("delivers in order to every subscriber, the publisher's own included", async ({ engine }) => {
      const [one, two] = [await engine(), await engine()];
      const heard: string[][] = [[], [], []];
      for (const [at, node] of [one, two, two].entries())
        await node.subscribe("news", (message) => void heard[at]?.push(message));
      const messages = Array.from({ length: 200 }, (_, number) => `message ${number}`);
      await Promise.all(messages.map((message) => one.publish("news", message)));
      await until("everybody heard everything", () => heard.every(({ length }) => length >= messages.length));
      for (const ears of heard) assert.deepEqual(ears, messages);
    });

    test("delivers any text unchanged", async ({ engine }) => {
      const [one, two] = [await engine(), await engine()];
      const heard: string[] = [];
      await two.subscribe("news", (message) => void heard.push(message));
      const messages = ["", "\u0000\r\n$5\r\n*", '{"a":"\u{1f600}\u2028"}', "x".repeat(100_000), "end"];
      for (const message of messages) await one.publish("news", message);
      await until("all were heard", () => heard.length >= messages.length);
      assert.deepEqual(heard, messages);
    });

    test("keeps the order of each publisher", async ({ engine }) => {
      const [one, two, three] = [await engine(), await engine(), await engine()];
      const heard: string[] = [];
      await three.subscribe("news", (message) => void heard.push(message));
      const numbers = Array.from({ length: 100 }, (_, number) => number);
      await Promise.all(
        numbers.flatMap((number) => [one.publish("news", `one ${number}`), two.publish("news", `two ${number}`)]),
      );
      await until("all were heard", () => heard.length >= 200);
      for (const name of ["one", "two"])
        assert.deepEqual(
          heard.filter((message) => message.startsWith(name)),
          numbers.map((number) => `${name} ${number}`),
        );
    });

    test("delivers nothing from before the subscription, from after its close, or from another channel", async ({ engine }) => {
      const [one, two] = [await engine(), await engine()];
      const [heard, witness]: string[][] = [[], []];
      await one.publish("news", "before");
      const subscription = await two.subscribe("news", (message) => void heard?.push(message));
      await two.subscribe("news", (message) => void witness?.push(message));
      await one.publish("other news", "elsewhere");
      await one.publish("news", "during");
      await until("it was heard", () => heard?.length === 1);
      await subscription.close();
      await subscription.close();
      await one.publish("news", "after");
      await until("the other subscription heard it", () => witness?.includes("after") === true);
      assert.deepEqual(heard, ["during"]);
      assert.deepEqual(witness, ["during", "after"]);
    });

    test("can be subscribed again after a close", async ({ engine }) => {
      const [one, two] = [await engine(), await engine()];
      for (const round of ["first", "second", "third"]) {
        const heard: string[] = [];
        const subscription = await two.subscribe("news", (message) => void heard.push(message));
        await one.publish("news", round);
        await until("it was heard", () => heard.length > 0);
        assert.deepEqual(heard, [round]);
        await subscription.close();
      }
    });

    test("without a subscriber takes messages all the same", async ({ engine }) => {
      await (await engine()).publish("news", "to nobody");
    });

    test("LIMIT: what was published while nobody was subscribed is never delivered", async ({ engine }) => {
      const [one, two] = [await engine(), await engine()];
      const heard: string[] = [];
      const first = await two.subscribe("news", (message) => void heard.push(message));
      await first.close();
      await one.publish("news", "lost");
      await two.subscribe("news", (message) => void heard.push(message));
      await one.publish("news", "heard");
      await until("the later one was heard", () => heard.length > 0);
      assert.deepEqual(heard, ["heard"]);
    });
  });
}
