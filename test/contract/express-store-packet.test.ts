/** How express-session's responses go out over AnynodeStore, and what the store does to Express' request and response objects. */
import { once } from "node:events";
import { connect } from "node:net";
import express, { type Request, type Response } from "express";
import session from "express-session";
import { MEDIA } from "../support/media.js";
import { storesOn } from "../support/stores.js";

declare module "express-session" {
  interface SessionData {
    n: number;
  }
}

for (const kind of MEDIA) {
  describe(`on ${kind.name}`, () => {
    const newStore = storesOn(kind);

    /** Serves `handler` under sessions; gives what comes back for each of some requests, one after the other, as it arrives. */
    async function chunksOf(count: number, handler: (req: Request, res: Response) => void): Promise<string[][]> {
      const { store } = newStore();
      const app = express();
      app.use(session({ secret: "s", store, resave: false, saveUninitialized: false }));
      app.get("/", handler);
      const server = app.listen(0, "127.0.0.1");
      await once(server, "listening");
      const address = server.address();
      const port = typeof address === "object" ? (address?.port ?? 0) : 0;
      const all: string[][] = [];
      let cookie = "";
      for (let i = 0; i < count; i++) {
        const socket = connect(port, "127.0.0.1").setEncoding("latin1");
        const chunks: string[] = [];
        socket.on("data", (chunk: string) => chunks.push(chunk));
        socket.write(`GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: ${cookie}\r\n\r\n`);
        await once(socket, "close");
        [, cookie = cookie] = /set-cookie: ([^;]+)/i.exec(chunks.join("")) ?? [];
        all.push(chunks);
      }
      server.close();
      return all;
    }

    test("a response that waits for its session to be stored comes in one packet", async () => {
      const all = await chunksOf(5, ({ session }, response) => {
        session.n = (session.n ?? 0) + 1;
        response.send(`counted ${session.n}`);
      });
      expect(all.map((chunks) => chunks.length)).toEqual([1, 1, 1, 1, 1]);
      expect(all.at(-1)?.[0]).toMatch(/^HTTP\/1.1 200.*\r\n\r\ncounted 5$/s);
    });

    test("a handler's own save holds up nothing of its response", async () => {
      const corks: number[] = [];
      await chunksOf(1, ({ session }, response) => {
        const saving = (n: number, done?: () => void) => {
          const before = response.writableCorked;
          session.n = n;
          session.save(done);
          corks.push(response.writableCorked - before);
        };
        saving(1);
        response.write("begun");
        saving(2, () => response.end());
      });
      expect(corks).toEqual([0, 0]);
    });

    test("request and response have the properties they had, whatever is made of how V8 keeps them", async () => {
      const seen: unknown[] = [];
      await chunksOf(2, (req, res) => {
        req.session.n = 1;
        seen.push([
          req.res === res,
          res.req === req,
          Object.keys(req).filter((name) => name === "res"),
          Object.getOwnPropertyDescriptor(res, "req"),
        ]);
        res.end();
      });
      const plain = { value: expect.anything(), writable: true, enumerable: true, configurable: true };
      expect(seen).toEqual([
        [true, true, ["res"], plain],
        [true, true, ["res"], plain],
      ]);
    });
  });
}
