/** RACE: people's sessions on four real nodes, over LMDB and over Redis: endAll, maxPerUser and endEveryone against everything at once. */
import { Browser } from "../support/browser.js";
import { type Child, startChild } from "../support/child.js";
import { parallel, SHARED, type Shared, times } from "../support/node-process.js";

interface Node {
  readonly url: string;
  readonly child: Child;
}

async function startNodes(engine: string, options: object): Promise<Node[]> {
  const children = [1, 2, 3, 4].map(() => startChild("people-node.ts", [engine, JSON.stringify(options)]));
  return Promise.all(children.map(async (child) => ({ child, url: await child.line() })));
}
async function stopNodes(nodes: readonly Node[]): Promise<void> {
  for (const { child } of nodes) child.process.kill("SIGKILL");
  await Promise.all(nodes.map(({ child }) => child.ended));
}

for (const { name, start } of SHARED) {
  describe(name, () => {
    let shared: Shared;
    beforeAll(async () => {
      shared = await start();
    });
    afterAll(() => shared.remove());

    describe("endAll", () => {
      let nodes: Node[] = [];
      beforeAll(async () => {
        nodes = await startNodes(shared.engine, {});
      }, 60_000);
      afterAll(() => stopNodes(nodes));
      const at = (i: number) => nodes[i % nodes.length]?.url ?? "";

      /** Who is signed in, as every node sees it; they must agree. */
      async function whoIs(visitor: Browser): Promise<unknown> {
        const answers = await Promise.all(nodes.map(({ url }) => visitor.fork().get(url, "/me")));
        const users = new Set(answers.map(({ status, body }) => (status === 200 ? body["user"] : status)));
        return users.size === 1 ? [...users][0] : [...users];
      }

      const rounds = times(2_000);
      test(`RACE: ${rounds} rounds against parallel sign-ins, rotations and slow requests: 0 alive that shouldn't be, 0 ended that should live`, async () => {
        let [alive, ended, halves, racing] = [0, 0, 0, 0];
        await parallel(rounds, 6, async (i) => {
          const user = `user-${i}`;
          const signIn = async (node: number) => {
            const visitor = new Browser();
            const { status } = await visitor.get(at(node), `/login?user=${user}`);
            return { visitor, status };
          };
          const before = await Promise.all([signIn(i), signIn(i + 1)]);
          expect(before.map(({ status }) => status)).toEqual([200, 200]);
          const [first, second] = before.map(({ visitor }) => visitor);
          const requests = [
            first?.fork().get(at(i + 2), `/slow?ms=${i % 7}`),
            second?.get(at(i + 3), i % 2 === 0 ? "/rotate" : `/slow?ms=${i % 5}`),
          ];
          const signingIn = [signIn(i), signIn(i + 2), signIn(i + 3)];
          const { status } = await new Browser().get(at(i + 1), `/end-all?user=${user}`);
          expect(status).toBe(200);
          const after = await signIn(i + 2);
          for (const { visitor } of before) if ((await whoIs(visitor)) !== null) alive += 1;
          await Promise.all(requests);
          for (const { visitor } of before) if ((await whoIs(visitor)) !== null) alive += 1;
          if (after.status !== 200 || (await whoIs(after.visitor)) !== user) ended += 1;
          const raced = await Promise.all(signingIn);
          const lives = await Promise.all(raced.map(({ visitor }) => whoIs(visitor)));
          // Before it, or after it: on all nodes, and in the index.
          for (const one of lives) if (one !== null && one !== user) halves += 1;
          const count = lives.filter((one) => one === user).length + 1;
          racing += count - 1;
          if ((await new Browser().get(at(i), `/of?user=${user}`)).body["count"] !== count) halves += 1;
          await new Browser().get(at(i + 3), `/end-all?user=${user}`);
          for (const { visitor } of [after, ...raced]) if ((await whoIs(visitor)) !== null) alive += 1;
        });
        expect({ alive, ended, halves }).toEqual({ alive: 0, ended: 0, halves: 0 });
        // Some of those that raced came after, some before or were refused: else nothing raced.
        expect(racing).toBeGreaterThan(0);
        expect(racing).toBeLessThan(3 * rounds);
      }, 600_000);

      test("endEveryone: once it resolves nobody is signed in on any node, the next sign-in is", async () => {
        const visitors = await Promise.all(
          Array.from({ length: 20 }, async (_, i) => {
            const visitor = new Browser();
            await visitor.get(at(i), `/login?user=everyone-${i}`);
            return visitor;
          }),
        );
        for (const visitor of visitors) expect(await whoIs(visitor)).not.toBeNull();
        expect((await new Browser().get(at(0), "/end-everyone")).status).toBe(200);
        for (const visitor of visitors) expect(await whoIs(visitor)).toBeNull();
        const next = new Browser();
        await next.get(at(1), "/login?user=everyone-1");
        expect(await whoIs(next)).toBe("everyone-1");
      }, 60_000);
    });

    describe.each(["refuse", "end-oldest"] as const)("maxPerUser: 3, %s", (overMax) => {
      let nodes: Node[] = [];
      beforeAll(async () => {
        nodes = await startNodes(shared.engine, { maxPerUser: 3, overMax });
      }, 60_000);
      afterAll(() => stopNodes(nodes));

      const rounds = times(50);
      test(`RACE: ${rounds} times 50 parallel sign-ins on 4 nodes: never more than 3 alive after the last response`, async () => {
        for (let round = 0; round < rounds; round++) {
          const user = `${overMax}-${round}`;
          const visitors = await Promise.all(
            Array.from({ length: 50 }, async (_, i) => {
              const visitor = new Browser();
              const { status } = await visitor.get(nodes[i % nodes.length]?.url ?? "", `/login?user=${user}`);
              return { visitor, status };
            }),
          );
          for (const { url } of nodes) {
            const answers = await Promise.all(visitors.map(({ visitor }) => visitor.fork().get(url, "/me")));
            expect(answers.filter(({ body }) => body["user"] === user)).toHaveLength(3);
          }
          const others = overMax === "refuse" ? [403] : [200, 401];
          for (const { status } of visitors) expect([200, ...others]).toContain(status);
        }
      }, 300_000);
    });
  });
}
