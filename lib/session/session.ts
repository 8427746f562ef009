/**
 * The object a handler sees: its attributes are own, enumerable properties, as on a plain object. Each begins as an accessor and becomes
 * a data property when it is first touched, so what no handler touches is neither parsed nor compared. Deep changes are found, since
 * whatever was touched is compared as text. No Proxy: it spreads, clones, stringifies and prints as a plain object does.
 */
import { AnynodeError } from "../errors.js";
import type { Sid } from "../names.js";
import { type AttributeTexts, type Change, type Changes, NO_CHANGES, textOf } from "./attributes.js";
import { makeSid } from "./id.js";
import { freshValue, isPristine } from "./pristine.js";

/** What an untouched attribute answers with while it is asked whether it is one. */
const UNTOUCHED = Symbol("untouched");
const INSPECT = Symbol.for("nodejs.util.inspect.custom");
/** In the place of a descriptor: the session object itself has a member of that name, so no attribute can be shown under it. */
const TAKEN: PropertyDescriptor = {};
/** Attribute names whose descriptors are kept. Applications use few; one that makes them up by the thousand starts again. */
const MAX_NAMES = 4096;
/** Looking for one among more costs as much as comparing texts. */
const MAX_PLAIN = 8;

/**
 * Which attribute of which session is being asked whether it was touched. Not a field of the session, which every attribute would have to
 * look up, at several times the cost where sessions have many shapes.
 */
let asked: object | undefined;
let askedName: string | undefined;

/** What is behind a session object. One field of it: each more would make every change of the object's shape dearer. */
interface Inside {
  /** What was loaded, without the names that the object needs itself. */
  base: AttributeTexts;
  sid: Sid | undefined;
  /** Names and values, in turn, of attributes that were touched and hold no object: comparing those needs no text. */
  plain: unknown[] | undefined;
  ended: boolean;
  controller: AbortController | undefined;
}

export class Session {
  readonly #inside: Inside;

  /** @internal Made by front ends. Without `sid` one is drawn when somebody wants to know it. */
  constructor(base: AttributeTexts, sid?: Sid) {
    const inside: Inside = { base, sid, plain: undefined, ended: false, controller: undefined };
    this.#inside = inside;
    const descriptors = Session.#descriptorsOf(new.target.prototype);
    for (const name of base.keys()) {
      const descriptor = descriptors.get(name) ?? Session.#describe(descriptors, name, new.target.prototype);
      if (descriptor === TAKEN) inside.base = without(inside.base, name);
      else Object.defineProperty(this, name, descriptor);
    }
  }

  /** The session id: the visitor's secret. Not shown when the session is printed. */
  get id(): string {
    return Session.sidOf(this);
  }
  set id(_: never) {
    throw taken("id");
  }

  /** Aborted when the session ends, or gets a new id elsewhere, while the request still works on it. */
  get signal(): AbortSignal {
    const inside = this.#inside;
    inside.controller ??= new AbortController();
    if (inside.ended) inside.controller.abort(over());
    return inside.controller.signal;
  }
  set signal(_: never) {
    throw taken("signal");
  }

  /** Plain values, without touching any: printing a session changes nothing. */
  [INSPECT](): Record<string, unknown> {
    // A clone, or a Proxy of the application's, may have come by this without the session.
    if (!Session.#isOne(this)) return Object.fromEntries(Object.entries(this));
    const values: Record<string, unknown> = {};
    for (const name of Object.keys(this)) {
      const value = ask(this, name);
      values[name] = value === UNTOUCHED ? JSON.parse(this.#inside.base.get(name) ?? "null") : value;
    }
    return values;
  }

  /** @internal */
  static sidOf(session: Session): Sid {
    session.#inside.sid ??= makeSid();
    return session.#inside.sid;
  }

  /**
   * @internal The session is over: `signal` is aborted, and the request's front end stores nothing more of it and sets no cookie. For
   * whoever learns of an end elsewhere. May be repeated.
   */
  static tellEnded(session: Session): void {
    session.#inside.ended = true;
    session.#inside.controller?.abort(over());
  }
  /** @internal Aborts `signal`, if anybody has it, and says nothing of what may be stored. */
  static abort(session: Session): void {
    session.#inside.controller?.abort(over());
  }
  /** @internal Whoever has the signal of `from` hears of `to`. */
  static passSignal(from: Session, to: Session): void {
    to.#inside.controller = from.#inside.controller;
  }
  /** @internal */
  static isEnded(session: Session): boolean {
    return session.#inside.ended;
  }

  /**
   * @internal What was done to the attributes since they were loaded. Throws ATTRIBUTE_INVALID for what can't be stored. Own properties
   * that are part of the object itself, `own`, are left out.
   */
  static changesOf(session: Session, own?: string): Changes {
    const inside = session.#inside;
    const { base } = inside;
    let changes: Map<string, Change> | undefined;
    let known = 0;
    for (const name of Object.keys(session)) {
      if (name === own) continue;
      const value = ask(session, name);
      const was = base.get(name);
      if (was !== undefined) known += 1;
      if (value === UNTOUCHED || isPlain(inside, name, value)) continue;
      if (was !== undefined && isPristine(base, name, value)) continue;
      const mine = storable(session, name, value);
      if (mine === was) continue;
      changes ??= new Map();
      changes.set(name, { base: was, mine });
    }
    if (known === base.size) return changes ?? NO_CHANGES;
    changes ??= new Map();
    for (const [name, was] of base) {
      if (!Object.hasOwn(session, name)) changes.set(name, { base: was, mine: undefined });
    }
    return changes;
  }

  /**
   * @internal Makes the attributes those of a plain object, e.g. one that the application put in the session's place. Throws
   * ATTRIBUTE_INVALID for a name that can't be one; the attributes are as they were then.
   */
  static become(session: Session, values: object, own?: string): void {
    const attributes = new Map<string, unknown>();
    for (const [name, value] of Object.entries(values)) {
      // It throws for names that nothing can have: `__proto__` would give the session another prototype.
      if (name === own || textOf(name, null) === undefined) continue;
      if (name in Object.getPrototypeOf(session)) assign(session, name, value);
      else attributes.set(name, value);
    }
    for (const name of Object.keys(session)) if (name !== own && !attributes.has(name)) Reflect.deleteProperty(session, name);
    for (const [name, value] of attributes) Reflect.set(session, name, value);
  }

  #touched(name: string): unknown {
    const inside = this.#inside;
    const value = freshValue(inside.base, name);
    settle(this, name, value);
    if (typeof value !== "object") {
      if (inside.plain === undefined) inside.plain = [name, value];
      else if (inside.plain.length < 2 * MAX_PLAIN) inside.plain.push(name, value);
    }
    return value;
  }

  static #isOne(object: object): boolean {
    return #inside in object;
  }

  /** A clone may carry an accessor along without the session; what inherits from a session has its attributes. */
  static #behind(object: object): Session | undefined {
    for (let at: object | null = object; at !== null; at = Object.getPrototypeOf(at)) if (#inside in at) return at;
    return undefined;
  }

  static #descriptorsOf(prototype: object): Map<string, PropertyDescriptor> {
    const known = Session.#descriptors.get(prototype) ?? new Map<string, PropertyDescriptor>();
    if (known.size === 0) Session.#descriptors.set(prototype, known);
    return known;
  }

  /** The first time that an attribute has that name. */
  static #describe(known: Map<string, PropertyDescriptor>, name: string, prototype: object): PropertyDescriptor {
    const fresh: PropertyDescriptor =
      name in prototype
        ? TAKEN
        : {
            get(this: object) {
              if (this === asked && name === askedName) return UNTOUCHED;
              const session = Session.#behind(this);
              return session === undefined ? undefined : session.#touched(name);
            },
            set(this: object, value: unknown) {
              settle(this, name, value);
            },
            enumerable: true,
            configurable: true,
          };
    if (known.size >= MAX_NAMES) known.clear();
    known.set(name, fresh);
    return fresh;
  }

  /** Of a class, by name; shared by all its sessions: so their objects have one shape, and opening one costs little. */
  static readonly #descriptors = new WeakMap<object, Map<string, PropertyDescriptor>>();
}

/** The value of an own property; UNTOUCHED if it is an attribute that nobody touched. Getters of the application's see what they always see. */
function ask(session: object, name: string): unknown {
  asked = session;
  askedName = name;
  try {
    return Reflect.get(session, name);
  } finally {
    asked = undefined;
  }
}

/** Whether a touched attribute has the very value that was loaded. */
function isPlain({ plain }: Inside, name: string, value: unknown): boolean {
  const at = plain?.indexOf(name) ?? -1;
  return at >= 0 && at % 2 === 0 && plain?.[at + 1] === value;
}

function settle(session: object, name: string, value: unknown): void {
  Object.defineProperty(session, name, { value, writable: true, enumerable: true, configurable: true });
}

/** To a member of the session object, where that may be done. What JSON leaves out doesn't count. */
function assign(session: object, name: string, value: unknown): void {
  if (typeof value === "function" || value === undefined) return;
  for (let at: object | null = session; at !== null; at = Object.getPrototypeOf(at)) {
    const member = Object.getOwnPropertyDescriptor(at, name);
    if (member?.set !== undefined) return void Reflect.apply(member.set, session, [value]);
  }
  throw taken(name);
}

/** The text of an attribute. A method that somebody put in place of ours is none. */
function storable(session: Session, name: string, value: unknown): string | undefined {
  if (name in Object.getPrototypeOf(session)) {
    if (typeof value === "function" || value === undefined) return undefined;
    throw taken(name);
  }
  return textOf(name, value);
}

/** What whoever assigns to a member of the session object is told: it would be lost. */
export function taken(name: string): AnynodeError {
  return new AnynodeError(
    "ATTRIBUTE_INVALID",
    `${JSON.stringify(name)} can't be an attribute: the session object needs it. Rename it.`,
  );
}

function without(texts: AttributeTexts, name: string): AttributeTexts {
  const rest = new Map(texts);
  rest.delete(name);
  return rest;
}

function over(): AnynodeError {
  return new AnynodeError("SESSION_ENDED", "The session ended while the request worked on it.");
}
