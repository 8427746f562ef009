/** One request through a middleware without a server: node's own request and response, over a connection that leads nowhere. */
import { IncomingMessage, ServerResponse } from "node:http";
import { Socket } from "node:net";
import type { Contents } from "./contents.js";

/** A request as a handler finds it. */
export interface Request extends IncomingMessage {
  originalUrl?: string;
  session?: Partial<Contents>;
}
export interface Middleware {
  handle(request: Request, response: ServerResponse, next: (error?: unknown) => void): void;
}
export type Handler = (request: Request, response: ServerResponse) => void;

/** Takes everything at once, and keeps none of it. */
class Nowhere extends Socket {
  override _write(_chunk: unknown, _encoding: string, done: (error?: Error) => void): void {
    done();
  }
  override _writev(_chunks: unknown, done: (error?: Error) => void): void {
    done();
  }
}

export function exchange(middleware: Middleware, handler: Handler, cookie: string): Promise<ServerResponse> {
  return new Promise((resolve, reject) => {
    const socket = new Nowhere();
    const request: Request = new IncomingMessage(socket);
    request.method = "GET";
    request.url = "/";
    request.originalUrl = "/";
    request.headers = { host: "bench", ...(cookie && { cookie }) };
    const response = new ServerResponse(request);
    response.assignSocket(socket);
    response.once("finish", () => {
      response.detachSocket(socket);
      response.emit("close");
      // As the next request of a server would: in another turn of the event loop.
      setImmediate(resolve, response);
    });
    middleware.handle(request, response, (error) => {
      if (error) reject(error);
      else handler(request, response);
    });
  });
}
