/** What every test of the HTTP suite starts from: two nodes on a medium of their own, and requests that wait where the test wants them. */
import { type AnynodeOptions, anynode, type EventMap } from "../../lib/index.js";
import type { HostOptions } from "../support/app/host.js";
import type { Host } from "../support/app/hosts.js";
import { serve } from "../support/app/server.js";
import { type Answer, type Browser, get } from "../support/browser.js";
import type { Medium, MediumKind } from "../support/media.js";
import { type WatchedEngine, watchedEngine } from "../support/watched-engine.js";

export interface TestNode extends WatchedEngine {
  readonly url: string;
  readonly events: (keyof EventMap)[];
}

export interface Stage {
  readonly host: Host;
  twoNodes(options?: HostOptions, sessionsOptions?: AnynodeOptions): Promise<[TestNode, TestNode]>;
  /** A test for hosts that have something; `has` comes from the table of hosts. */
  only(has: boolean): (name: string, body: () => Promise<void>) => void;
  /** The attributes that a visitor's request finds. */
  read(browser: Browser, node: TestNode): Promise<Record<string, unknown>>;
  /** Sends a request that loads its session and then waits; the result opens its gate and gives the answer. */
  slowly(browser: Browser, node: TestNode, path: string): Promise<() => Promise<Answer>>;
}

export function stageFor(host: Host, kind: MediumKind): Stage {
  let medium: Medium;
  const closing: (() => Promise<void>)[] = [];
  let gates = 0;

  beforeEach(async () => {
    medium = await kind.medium();
  });
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
    await medium.remove();
  });

  async function startNode(options: HostOptions, sessionsOptions: AnynodeOptions): Promise<TestNode> {
    const watched = watchedEngine(medium.engine());
    const sessions = anynode({ keyring: ["plain"], ...sessionsOptions, engine: watched.engine });
    closing.push(() => sessions.close());
    const events: (keyof EventMap)[] = [];
    for (const name of ["conflict", "write-dropped", "unreadable"] as const) sessions.on(name, () => events.push(name));
    await sessions.ready();
    const server = await serve(host, sessions, options);
    closing.push(() => server.close());
    return { ...watched, url: server.url, events };
  }

  return {
    host,
    twoNodes: async (options = {}, more = {}) => [await startNode(options, more), await startNode(options, more)],
    only: (has) => (has ? test : () => {}),
    async read(browser, node) {
      const { status, body } = await browser.get(node.url, "/read");
      expect(status).toBe(200);
      return body;
    },
    async slowly(browser, node, path) {
      const gate = `gate-${++gates}`;
      const answer = browser.get(node.url, `${path}${path.includes("?") ? "&" : "?"}gate=${gate}`);
      await get(`${node.url}/gates/arrived/${gate}`);
      return async () => {
        await get(`${node.url}/gates/open/${gate}`);
        return answer;
      };
    },
  };
}
