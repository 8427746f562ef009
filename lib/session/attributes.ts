/**
 * Attributes: the top-level properties of a session, each at rest as JSON text. The unit of parsing, comparing and merging.
 * A view parses an attribute when it is first touched; what was never touched is neither parsed nor compared.
 */
import { AnynodeError } from "../errors.js";
import { hidden } from "../hidden.js";

/** name → JSON text. Never changed once made: requests share it. */
export type AttributeTexts = ReadonlyMap<string, string>;

/** What somebody did to one attribute: from what they saw (`base`) to what they want (`mine`); undefined = absent. */
export interface Change {
  readonly base: string | undefined;
  readonly mine: string | undefined;
}
export type Changes = ReadonlyMap<string, Change>;
export const NO_CHANGES: Changes = new Map();

const MAX_NAME_BYTES = 256;
/** What every object inherits: an attribute of that name would shadow it, and break whoever calls it on the session. */
const FORBIDDEN: ReadonlySet<string> = new Set([
  ...["__proto__", "constructor", "prototype", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable"],
  ...["toLocaleString", "toString", "valueOf"],
  ...["__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__"],
]);

/** Names that would shadow something of the prototype are refused, on write and on read. */
export function isAttributeName(name: string): boolean {
  if (accepted.has(name)) return true;
  const accepts =
    !FORBIDDEN.has(name) && name.length <= MAX_NAME_BYTES && Buffer.byteLength(name) <= MAX_NAME_BYTES && name.isWellFormed();
  if (accepts && accepted.size < MAX_ACCEPTED) accepted.add(name);
  return accepts;
}
/** An application's sessions have the same few names again and again: each is looked at once. Bounded: names may come from visitors. */
const accepted = new Set<string>();
const MAX_ACCEPTED = 1_000;

/**
 * The attributes of a plain object as they would be stored, without those named in `except`. As in JSON.stringify, a Date becomes its
 * text, undefined and functions are left out. Throws ATTRIBUTE_INVALID for a forbidden name, a cycle or a BigInt.
 */
export function textsOf(object: object, except: ReadonlySet<string> = NOTHING): AttributeTexts {
  const texts = new Map<string, string>();
  for (const name of Object.keys(object)) {
    if (except.has(name)) continue;
    const text = textOf(name, Reflect.get(object, name));
    if (text !== undefined) texts.set(name, text);
  }
  return texts;
}
const NOTHING: ReadonlySet<string> = new Set();

/** One attribute as it would be stored; undefined = left out. Throws as `textsOf` does. */
export function textOf(name: string, value: unknown): string | undefined {
  if (!isAttributeName(name)) {
    const which = FORBIDDEN.has(name) ? `"${name}" can't name an attribute` : "An attribute name is refused";
    throw new AnynodeError(
      "ATTRIBUTE_INVALID",
      `${which}: neither "prototype", nor what every object has, nor over ${MAX_NAME_BYTES} bytes can be stored. Rename it.`,
    );
  }
  try {
    return JSON.stringify(value);
  } catch {
    // Without the cause: the engine's own message on a cycle quotes property names, which are the application's data.
    throw new AnynodeError(
      "ATTRIBUTE_INVALID",
      `The attribute ${JSON.stringify(name)} holds what JSON can't (a cycle or a BigInt). Store plain data.`,
    );
  }
}

/** A plain object with every attribute parsed, for hosts that walk all properties anyway. Nobody else holds it. */
export function objectOf(texts: AttributeTexts): Record<string, unknown> {
  let whole = wholes.get(texts);
  if (whole === undefined) {
    wholes.set(texts, "");
    const object: Record<string, unknown> = {};
    for (const [name, text] of texts) object[name] = JSON.parse(text);
    return object;
  }
  if (whole === "") {
    for (const [name, text] of texts) whole += `${whole === "" ? "{" : ","}${quoted(name)}:${text}`;
    whole = `${whole || "{"}}`;
    wholes.set(texts, whole);
  }
  return JSON.parse(whole);
}
/** One text of all attributes parses faster than many, and for records that requests share it is made once: by the second of them. */
const wholes = hidden<string>();

/** A name as JSON text. Most are plain words, which need no escaping. */
function quoted(name: string): string {
  return /^\w*$/.test(name) ? `"${name}"` : JSON.stringify(name);
}

/**
 * The attributes as an object of own, enumerable accessors, each of which becomes a data property when it is first touched. It spreads,
 * clones and stringifies as a plain object does.
 */
export function viewOf(texts: AttributeTexts): Record<string, unknown> {
  const view: Record<string, unknown> = {};
  for (const [name, text] of texts) {
    const settle = (value: unknown) =>
      Object.defineProperty(view, name, { value, writable: true, enumerable: true, configurable: true });
    const get = () => {
      const value: unknown = JSON.parse(text);
      settle(value);
      return value;
    };
    untouched.add(get);
    Object.defineProperty(view, name, {
      get,
      set: settle,
      enumerable: true,
      configurable: true,
    });
  }
  return view;
}

/** The accessors of views, to tell them from those that an application defines. */
const untouched = new WeakSet<object>();

/** What was done to a view since it was made from `base`. Deep changes are found: whatever was touched is compared as text. */
export function changesOfView(base: AttributeTexts, view: object): Changes {
  const now = new Map<string, string>();
  for (const name of Object.keys(view)) {
    const get = Object.getOwnPropertyDescriptor(view, name)?.get;
    const text = get !== undefined && untouched.has(get) ? base.get(name) : textOf(name, Reflect.get(view, name));
    if (text !== undefined) now.set(name, text);
  }
  return changesBetween(base, now);
}

/** What leads from `base` to `mine`. */
export function changesBetween(base: AttributeTexts, mine: AttributeTexts): Changes {
  const changes = new Map<string, Change>();
  for (const [name, text] of mine) {
    const was = base.get(name);
    if (was !== text) changes.set(name, { base: was, mine: text });
  }
  for (const [name, was] of base) {
    if (!mine.has(name)) changes.set(name, { base: was, mine: undefined });
  }
  return changes;
}
