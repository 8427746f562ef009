/**
 * What makes `session.signal` hear of an end elsewhere: a hold on the session, from the first time that somebody asks for the signal until
 * the request is over. It only tells: whether the request's changes are dropped is said by the engine when they come, since a session that
 * merely got a new id goes on.
 */
import { EventEmitter } from "node:events";
import type { Hold } from "../registry/hold.js";
import { Session } from "../session/session.js";
import type { Sessions } from "../sessions.js";

export class Watch {
  readonly #lasting: EventEmitter;
  #hold: Hold | undefined;
  #over = false;

  /** `lasting`: what closes when the request is over. */
  constructor(sessions: Sessions, session: Session, lasting: EventEmitter) {
    this.#lasting = lasting;
    lasting.on("finish", this.stop).on("close", this.stop);
    const holding = sessions.hold(Session.sidOf(session), (reason) => {
      // A node that drains still serves what it has begun.
      if (!this.#over && reason !== "draining") Session.abort(session);
      this.stop();
    });
    // Without an engine nobody can end the session either; and a handler that needs to know holds by itself.
    holding.then((hold) => this.#begun(hold)).catch(this.stop);
  }

  /** Nobody is interested any more. May be repeated. */
  readonly stop = (): void => {
    if (this.#over) return;
    this.#over = true;
    this.#lasting.off("finish", this.stop).off("close", this.stop);
    this.#hold?.release();
  };

  #begun(hold: Hold | undefined): void {
    if (this.#over) hold?.release();
    else this.#hold = hold;
  }
}

/** The response, or the connection where there is none (an upgrade); undefined if the request is over, or nobody would tell. */
export function lastingOf(req: object, res: object | undefined): EventEmitter | undefined {
  if (res instanceof EventEmitter) {
    if (Reflect.get(res, "writableEnded") === true || Reflect.get(res, "destroyed") === true) return undefined;
    if (isObject(Reflect.get(res, "socket"))) return res;
  }
  const socket: unknown = Reflect.get(req, "socket");
  return socket instanceof EventEmitter && Reflect.get(socket, "destroyed") !== true ? socket : undefined;
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null;
}
