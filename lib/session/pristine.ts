/**
 * Values of a record's attributes as they were parsed, which no request can have changed: comparing with those costs less than making a
 * text. Kept for small attributes of few objects, of records that a second request touches; the near cache's estimate of two bytes a
 * character has room for them.
 */
import { hidden } from "../hidden.js";
import type { AttributeTexts } from "./attributes.js";

/** In characters: longer texts are compared as such. */
const MAX_LENGTH = 512;
/** Objects and lists: those of few characters weigh much more than their text. */
const MAX_OBJECTS = 16;
/** In the place of a value: one request has asked for it so far. */
const ASKED = Symbol("asked");
const TOO_MANY = Symbol("too many objects");
const pristines = hidden<Map<string, unknown>>();

/** The value of an attribute, for one request alone; null if there is none. */
export function freshValue(texts: AttributeTexts, name: string): unknown {
  const text = texts.get(name) ?? "null";
  const value: unknown = JSON.parse(text);
  if (typeof value === "object" && text.length <= MAX_LENGTH) remember(texts, name, text);
  return value;
}

/** Whether a value that was parsed from that attribute surely has the same text still. False if its text must tell. */
export function isPristine(texts: AttributeTexts, name: string, value: unknown): boolean {
  const pristine = pristines.get(texts)?.get(name);
  return typeof pristine === "object" && isSame(value, pristine);
}

function remember(texts: AttributeTexts, name: string, text: string): void {
  let values = pristines.get(texts);
  if (values === undefined) {
    values = new Map();
    pristines.set(texts, values);
  }
  const known = values.get(name);
  if (known === undefined) values.set(name, (text.match(/[{[]/g)?.length ?? 0) > MAX_OBJECTS ? TOO_MANY : ASKED);
  else if (known === ASKED) values.set(name, JSON.parse(text));
}

/** Whether JSON has the same text for both, the order of properties included. `was` comes from JSON. */
function isSame(value: unknown, was: unknown): boolean {
  if (value === was) return true;
  if (typeof value !== "object" || typeof was !== "object" || value === null || was === null) return false;
  return Array.isArray(was) ? isSameList(value, was) : isSameObject(value, was);
}

function isSameList(value: object, was: readonly unknown[]): boolean {
  if (!Array.isArray(value) || value.length !== was.length || "toJSON" in value) return false;
  return was.every((item, i) => isSame(value[i], item));
}

function isSameObject(value: object, was: object): boolean {
  // A Date, a Map or an instance has a text of its own making.
  if (Object.getPrototypeOf(value) !== Object.prototype || "toJSON" in value) return false;
  const names = Object.keys(was);
  const own = Object.keys(value);
  return (
    own.length === names.length &&
    names.every((name, i) => name === own[i] && isSame(Reflect.get(value, name), Reflect.get(was, name)))
  );
}
