/** `kill -9` of nodes under load: the others never fail a request, and nothing acknowledged is lost, over LMDB and over Redis. */
import { get } from "../support/browser.js";
import { Load, type Target } from "../support/load.js";
import { type NodeProcess, SHARED, startNode, times } from "../support/node-process.js";
import { until } from "../support/until.js";

const kills = times(50);

for (const { name, start } of SHARED) {
  test(`${name}: ${kills} nodes killed under load: others never fail, 0 acknowledged writes lost`, async () => {
    const shared = await start();
    let nodes: (NodeProcess & Target)[] = [];
    const newNode = async (): Promise<NodeProcess & Target> => ({
      ...(await startNode("express5", shared.engine)),
      killed: false,
    });
    try {
      nodes = await Promise.all([newNode(), newNode(), newNode()]);
      const load = new Load(() => nodes);
      await load.start(6);
      for (let i = 0; i < kills; i++) {
        const [victim, ...others] = nodes;
        if (victim === undefined) throw new Error("no node");
        const before = load.acknowledged;
        await until("it is under load", () => load.acknowledged > before + 20);
        victim.killed = true;
        await victim.kill();
        nodes = others;
        nodes = [...others, await newNode()];
      }
      await load.stop();
      await load.verify();
      if (shared.redis !== undefined) {
        // What Redis acknowledged is on disk: it may be killed, too.
        await shared.redis.restart();
        for (const { url } of nodes)
          await until("it is back", async () => (await get(`${url}/set?name=x&value=1`)).status === 200);
        await load.verify();
      }
      expect(load.judged.violations).toEqual([]);
      expect(load.judged.errors).toBe(0);
      expect(load.acknowledged).toBeGreaterThan(kills * 20);
    } finally {
      await Promise.all(nodes.map((node) => node.kill()));
      await shared.remove();
    }
  }, 400_000);
}
