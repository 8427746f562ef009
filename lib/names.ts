/** Branded names: a raw session id doesn't fit where a key goes. Each is made in one place and travels typed from there. */

declare const brand: unique symbol;
type Branded<T, Name extends string> = T & { readonly [brand]: Name };

/** A session id: the secret in the visitor's cookie. Never stored, logged or sent to an engine. Made by session/id.ts. */
export type Sid = Branded<string, "Sid">;
/** Where a record lives: `{tag}hash`, made from the sid by session/id.ts. Not secret, but never shown either. */
export type Key = Branded<string, "Key">;
/** A version of a record: engine-clock milliseconds or more, growing with every commit. Given by engines. */
export type Version = Branded<number, "Version">;
/** A node's identity: random, once per process. */
export type NodeId = Branded<string, "NodeId">;

/** The text of a stored key, e.g. while listing, as what it is. Checks its shape. */
export function isKey(text: string): text is Key {
  return /^\{[A-Za-z0-9_-]{1,16}\}[A-Za-z0-9_-]{22,64}$/.test(text);
}
/** What an engine stores as a version: a positive safe integer. */
export function isVersion(number: number): number is Version {
  return Number.isSafeInteger(number) && number > 0;
}
export function isNodeId(text: string): text is NodeId {
  return /^[A-Za-z0-9_-]{8,64}$/.test(text);
}
