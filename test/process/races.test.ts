/** RACE: three real nodes, over LMDB and over Redis: logouts against slow requests, parallel changes, and reads right after writes. */
import { Browser, get, openGate } from "../support/browser.js";
import { type NodeProcess, parallel, SHARED, type Shared, startNode, times } from "../support/node-process.js";

/** What a request that was under way may try after the sign-out; each must fail to bring the session back. */
const SLOW = ["/set?name=x&value=1", "/set-lazily?name=x&value=1", "/max-age?ms=900000", "/read", "/regenerate"];
/** A session that lives this long is touched, by a request that only reads, once its deadline lags by a tenth. */
const TOUCHED_MS = 3000;

for (const { name, start } of SHARED) {
  describe.each(["express5", "koa"] as const)(`${name}, %s`, (host) => {
    let shared: Shared;
    let nodes: NodeProcess[];
    beforeAll(async () => {
      shared = await start();
      nodes = await Promise.all([1, 2, 3].map(() => startNode(host, shared.engine)));
    });
    afterAll(async () => {
      await Promise.all(nodes.map((node) => node.kill()));
      await shared.remove();
    });

    /** The node of the i-th turn. */
    function at(i: number): string {
      const node = nodes[i % nodes.length];
      if (node === undefined) throw new Error("no node");
      return node.url;
    }

    const logouts = times(1000);
    test(`RACE: ${logouts} logouts on one node against a slow request on another: 0 sessions back`, async () => {
      let back = 0;
      await parallel(logouts, 8, async (i) => {
        const path = SLOW[i % SLOW.length] ?? "";
        const visitor = new Browser();
        const signedIn = await visitor.get(at(i), "/sign-in?name=who&value=ann");
        expect([signedIn.status, signedIn.body]).toEqual([200, { who: "ann" }]);
        if (path === "/read") await visitor.get(at(i), `/max-age?ms=${TOUCHED_MS}`);
        const [slow, leaving, old] = [visitor.fork(), visitor.fork(), visitor.fork()];
        const gate = `logout-${i}`;
        const answer = slow.get(at(i + 1), `${path}${path.includes("?") ? "&" : "?"}gate=${gate}`);
        await get(`${at(i + 1)}/gates/arrived/${gate}`);
        if (path === "/read") await new Promise((resolve) => setTimeout(resolve, TOUCHED_MS / 9));
        const signOut = async () => expect((await leaving.get(at(i + 2), "/sign-out")).status).toBe(200);
        // Half of them at the very same time. Not regenerate: if that comes first, the visitor has a new session and leaves an old one.
        if (i % 2 === 0 && path !== "/regenerate") await Promise.all([openGate(at(i + 1), gate), signOut()]);
        else {
          await signOut();
          await openGate(at(i + 1), gate);
        }
        await answer;
        for (const node of nodes) {
          for (const browser of [slow, old]) {
            const { status, body } = await browser.fork().get(node.url, "/read");
            if (status !== 200 || Object.keys(body).length > 0) back += 1;
          }
        }
      });
      expect(back).toBe(0);
      // They did try: whatever came after the sign-out was dropped.
      const events = await Promise.all(nodes.map((node) => get(`${node.url}/events`)));
      const dropped = events.reduce((sum, { body }) => sum + Number(body["write-dropped"]), 0);
      expect(dropped).toBeGreaterThan(logouts / 4);
    }, 300_000);

    const rounds = times(250);
    test(`RACE: ${rounds} rounds of 8 parallel requests with an attribute each, and one that deletes: 0 lost, 0 undeleted`, async () => {
      const wanted: Record<string, string> = { kept: "1" };
      for (let n = 0; n < 8; n++) wanted[`a${n}`] = "1";
      await parallel(rounds, 3, async (i) => {
        const visitor = new Browser();
        await visitor.get(at(i), "/set?name=old&value=1");
        await visitor.get(at(i), "/set?name=kept&value=1");
        await Promise.all([
          visitor.fork().get(at(i), "/unset?name=old"),
          ...Array.from({ length: 8 }, (_, n) => {
            const path = n % 2 === 0 ? "/set" : "/set-lazily";
            return visitor.fork().get(at(i + n), `${path}?name=a${n}&value=1`);
          }),
        ]);
        for (const node of nodes) expect((await visitor.get(node.url, "/read")).body).toEqual(wanted);
      });
      for (const node of nodes) expect((await get(`${node.url}/events`)).body).toMatchObject({ conflict: 0 });
    }, 300_000);

    const pairs = times(10_000);
    test(`${pairs} pairs of a write on one node and a read at once on another: 0 stale`, async () => {
      let stale = 0;
      const visitors = 8;
      const writes = Math.ceil(pairs / (nodes.length - 1) / visitors);
      await parallel(visitors, visitors, async (v) => {
        const visitor = new Browser();
        for (let i = 0; i < writes; i++) {
          expect((await visitor.get(at(v + i), `/set?name=n&value=${i}`)).status).toBe(200);
          const answers = await Promise.all([1, 2].map((step) => visitor.fork().get(at(v + i + step), "/read")));
          for (const { body } of answers) if (body["n"] !== `${i}`) stale += 1;
        }
      });
      expect(stale).toBe(0);
    }, 300_000);
  });
}
