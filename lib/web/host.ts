/** What a request's lifecycle needs of the framework that the request is handled in. */
import type { EventEmitter } from "node:events";
import type { Sid } from "../names.js";
import type { AttributeTexts } from "../session/attributes.js";
import type { Client } from "../session/client.js";
import type { Session } from "../session/session.js";

export interface Host<S extends Session> {
  /** What the application has left in the session's place: the object that was put there, another one, or nothing. */
  current(): unknown;
  /** `isNew`: nothing is stored of it yet. */
  place(session: S | undefined, isNew: boolean): void;
  /** Without `sid` one is drawn when somebody asks. */
  make(attributes: AttributeTexts, sid: Sid | undefined, isNew: boolean): S;
  /** Whether another middleware has made that session, for the same request. */
  isOthers(session: object): boolean;
  isSecure(): boolean;
  /** Where the request comes from. */
  client(): Client;
  /** What closes when the request is over; undefined if it is. */
  lasting(): EventEmitter | undefined;
  /** The session is about to be stored. */
  storing(session: S): void;
  /** Whether an empty session's place ends the stored one. */
  readonly endsUnset: boolean;
  /** An own property of the session object that is no attribute. */
  readonly own: string | undefined;
  /** Whether the cookie is set anew whenever the stored session's life is extended. */
  readonly renews: boolean;
  /** What follows whatever a handler has asked for and got, where a response doesn't bring the cookie by itself. */
  readonly answered: (() => void) | undefined;
  /** Where the id comes from, and goes to, if not by our cookie. */
  readonly carrier: Carrier | undefined;
}

/** Another way for the id to travel: a header, a token. Nobody verifies it but whoever gives it. */
export interface Carrier {
  get(): string | undefined;
  set(sid: string): void;
}
