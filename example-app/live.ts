/** A WebSocket at /live, tied to the session of the visitor who opened it: it closes within her sign-out, whichever node that goes through. */
import type { IncomingMessage, Server } from "node:http";
import type { Sessions } from "anynode";
import { WebSocketServer } from "ws";

/** The session id of an upgrade request, as its framework finds it; "" = none. */
export type SidOf = (req: IncomingMessage) => string | Promise<string>;

/** Greets once the session is known to live; who isn't signed in is closed with 4401 instead, as is everyone whose session ends. */
export function serveLive(server: Server, sessions: Sessions, name: string, sidOf: SidOf): void {
  const sockets = new WebSocketServer({ noServer: true, path: "/live", maxPayload: 1_024 });

  server.on("upgrade", async (req, socket, head) => {
    const giveUp = () => socket.destroy();
    socket.on("error", giveUp);
    try {
      const sid = await sidOf(req);
      socket.off("error", giveUp); // from here on ws listens
      sockets.handleUpgrade(req, socket, head, async (ws) => {
        ws.on("error", () => ws.terminate());
        if (await sessions.attach(ws, sid)) ws.send(name);
      });
    } catch {
      giveUp(); // the engine can't be asked: the page comes again
    }
  });
}
