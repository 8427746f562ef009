/** A Koa application over native sessions on a watched memory engine, for one test each: its routes get the context and its session. */
import { once } from "node:events";
import { createServer } from "node:http";
import { type KoaOptions, type KoaSession, type SessionContext, session } from "anynode/koa";
import { memoryEngine } from "anynode/memory";
import Koa from "koa";
import { anynode, type Sessions } from "../../lib/index.js";
import { type Double, engineDouble } from "./engine-double.js";

export type Context = Koa.ParameterizedContext<Koa.DefaultState, SessionContext>;
export type App = Koa<Koa.DefaultState, SessionContext>;
export type Routes = Record<string, (ctx: Context, own: KoaSession) => unknown>;

export class KoaStage {
  readonly double: Double;
  readonly sessions: Sessions;
  readonly #closing: (() => unknown)[] = [];

  private constructor(double: Double, sessions: Sessions) {
    this.double = double;
    this.sessions = sessions;
  }

  static async start(): Promise<KoaStage> {
    const double = engineDouble(memoryEngine());
    const sessions = anynode({ engine: double.engine });
    await sessions.ready();
    return new KoaStage(double, sessions);
  }

  async app(
    options: KoaOptions<Context>,
    routes: Routes,
    setUp: (app: App) => void = () => {},
  ): Promise<{ url: string; app: App }> {
    const one: App = new Koa<Koa.DefaultState, SessionContext>();
    one.silent = true;
    one.keys = ["a secret of the tests"];
    setUp(one);
    one.use(session<Context>(this.sessions, options));
    one.use(async (ctx) => {
      const { session: own } = ctx;
      if (!own) return;
      const is = (await routes[ctx.path]?.(ctx, own)) ?? null;
      if (ctx.respond !== false && !ctx.res.writableEnded) ctx.body = { is };
    });
    const server = createServer(one.callback());
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    this.#closing.push(() => {
      server.close();
      server.closeAllConnections();
    });
    const address = server.address();
    return { url: `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`, app: one };
  }

  async close(): Promise<void> {
    for (const close of this.#closing.splice(0).reverse()) await close();
    await this.sessions.close();
  }
}

export function set(_: Context, own: KoaSession): void {
  Reflect.set(own, "n", 1);
}
export const read = (_: Context, own: KoaSession) => own.toJSON();
