/**
 * The object a handler sees: its attributes are own, enumerable properties, as on a plain object. Each begins as an accessor and becomes
 * a data property when it is first touched, so what no handler touches is neither parsed nor compared. Deep changes are found, since
 * whatever was touched is compared as text. No Proxy: it spreads, clones, stringifies and prints as a plain object does.
 */
import { AnynodeError } from "../errors.js";
import type { Sid } from "../names.js";
import { type AttributeTexts, type Change, type Changes, NO_CHANGES, textOf } from "./attributes.js";
import { makeSid } from "./id.js";

/** What an untouched attribute answers with while it is asked whether it is one. */
const UNTOUCHED = Symbol("untouched");
const INSPECT = Symbol.for("nodejs.util.inspect.custom");
/** Attribute names whose descriptors are kept. Applications use few; one that makes them up by the thousand starts again. */
const MAX_NAMES = 4096;
/** Looking for one among more costs as much as comparing texts. */
const MAX_PLAIN = 8;

export class Session {
  /** What was loaded, without the names that this object needs itself. */
  readonly #base: AttributeTexts;
  #sid: Sid | undefined;
  #asking = false;
  /** Names and values, in turn, of attributes that were touched and hold no object: comparing those needs no text. */
  #plain: unknown[] | undefined;
  #ended = false;
  #controller: AbortController | undefined;

  /** @internal Made by front ends. Without `sid` one is drawn when somebody wants to know it. */
  constructor(base: AttributeTexts, sid?: Sid) {
    this.#sid = sid;
    let shown = base;
    for (const name of base.keys()) {
      if (name in this) shown = without(shown, name);
      else Object.defineProperty(this, name, Session.#descriptorOf(name));
    }
    this.#base = shown;
  }

  /** The session id: the visitor's secret. Not shown when the session is printed. */
  get id(): string {
    return Session.sidOf(this);
  }

  /** Aborted when the session ends, or gets a new id elsewhere, while the request still works on it. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#ended) this.#controller.abort(over());
    return this.#controller.signal;
  }

  /** Plain values, without touching any: printing a session changes nothing. */
  [INSPECT](): Record<string, unknown> {
    const values: Record<string, unknown> = {};
    for (const [name, value] of Session.#asked(this)) {
      values[name] = value === UNTOUCHED ? JSON.parse(this.#base.get(name) ?? "null") : value;
    }
    return values;
  }

  /** @internal */
  static sidOf(session: Session): Sid {
    session.#sid ??= makeSid();
    return session.#sid;
  }

  /**
   * @internal The session is over: `signal` is aborted, and the request's front end stores nothing more of it and sets no cookie. For
   * whoever learns of an end elsewhere. May be repeated.
   */
  static tellEnded(session: Session): void {
    session.#ended = true;
    session.#controller?.abort(over());
  }
  /** @internal Aborts `signal`, if anybody has it, and says nothing of what may be stored. */
  static abort(session: Session): void {
    session.#controller?.abort(over());
  }
  /** @internal Whoever has the signal of `from` hears of `to`. */
  static passSignal(from: Session, to: Session): void {
    to.#controller = from.#controller;
  }
  /** @internal */
  static isEnded(session: Session): boolean {
    return session.#ended;
  }

  /**
   * @internal What was done to the attributes since they were loaded. Throws ATTRIBUTE_INVALID for what can't be stored. Own properties
   * that are part of the object itself, `own`, are left out.
   */
  static changesOf(session: Session, own?: string): Changes {
    const base = session.#base;
    let changes: Map<string, Change> | undefined;
    let known = 0;
    session.#asking = true;
    try {
      for (const name of Object.keys(session)) {
        if (name === own) continue;
        const value: unknown = Reflect.get(session, name);
        const was = base.get(name);
        if (was !== undefined) known += 1;
        if (value === UNTOUCHED || session.#isPlain(name, value)) continue;
        const mine = storable(session, name, value);
        if (mine === was) continue;
        changes ??= new Map();
        changes.set(name, { base: was, mine });
      }
    } finally {
      session.#asking = false;
    }
    if (known === base.size) return changes ?? NO_CHANGES;
    changes ??= new Map();
    for (const [name, was] of base) {
      if (!Object.hasOwn(session, name)) changes.set(name, { base: was, mine: undefined });
    }
    return changes;
  }

  /** @internal Makes the attributes those of a plain object, e.g. one that the application put in the session's place. */
  static become(session: Session, values: object, own?: string): void {
    for (const name of Object.keys(session))
      if (name !== own && !Object.hasOwn(values, name)) Reflect.deleteProperty(session, name);
    for (const [name, value] of Object.entries(values)) if (name !== own) Reflect.set(session, name, value);
  }

  static #asked(session: Session): [string, unknown][] {
    session.#asking = true;
    try {
      return Object.entries(session);
    } finally {
      session.#asking = false;
    }
  }

  #touched(name: string): unknown {
    if (this.#asking) return UNTOUCHED;
    const value: unknown = JSON.parse(this.#base.get(name) ?? "null");
    settle(this, name, value);
    if (typeof value !== "object") {
      if (this.#plain === undefined) this.#plain = [name, value];
      else if (this.#plain.length < 2 * MAX_PLAIN) this.#plain.push(name, value);
    }
    return value;
  }

  /** Whether a touched attribute has the very value that was loaded. */
  #isPlain(name: string, value: unknown): boolean {
    const at = this.#plain?.indexOf(name) ?? -1;
    return at >= 0 && at % 2 === 0 && this.#plain?.[at + 1] === value;
  }

  /** Shared by all sessions that have an attribute of that name: so their objects have one shape, and opening one costs little. */
  static #descriptorOf(name: string): PropertyDescriptor {
    const known = Session.#descriptors.get(name);
    if (known !== undefined) return known;
    const fresh: PropertyDescriptor = {
      get(this: object) {
        // A clone may carry the accessor along without the session.
        return #base in this ? this.#touched(name) : undefined;
      },
      set(this: object, value: unknown) {
        settle(this, name, value);
      },
      enumerable: true,
      configurable: true,
    };
    if (Session.#descriptors.size >= MAX_NAMES) Session.#descriptors.clear();
    Session.#descriptors.set(name, fresh);
    return fresh;
  }
  static readonly #descriptors = new Map<string, PropertyDescriptor>();
}

function settle(session: object, name: string, value: unknown): void {
  Object.defineProperty(session, name, { value, writable: true, enumerable: true, configurable: true });
}

/** The text of an attribute. A method that somebody put in place of ours is none. */
function storable(session: Session, name: string, value: unknown): string | undefined {
  if (name in Object.getPrototypeOf(session)) {
    if (typeof value === "function" || value === undefined) return undefined;
    throw new AnynodeError("ATTRIBUTE_INVALID", `"${name}" can't be an attribute: the session object needs it. Rename it.`);
  }
  return textOf(name, value);
}

function without(texts: AttributeTexts, name: string): AttributeTexts {
  const rest = new Map(texts);
  rest.delete(name);
  return rest;
}

function over(): AnynodeError {
  return new AnynodeError("SESSION_ENDED", "The session ended while the request worked on it.");
}
