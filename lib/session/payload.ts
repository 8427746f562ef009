/**
 * The payload of a body: the header, then the attributes as length-prefixed `name → JSON text` segments, so that a request parses only
 * the attributes that it touches. Its bounds hold when writing and when reading: nothing is stored that no node would read.
 */
import { AnynodeError } from "../errors.js";
import { isKey, type Key } from "../names.js";
import { isAttributeName } from "./attributes.js";
import { judgeJson, MAX_DEPTH } from "./json-text.js";
import type { SessionRecord } from "./record.js";

export const FIXED_BYTES = 24;
const MAX_ATTRIBUTES = 1024;
/** Parsing so many takes about 10 ms, wherever they are nested. */
export const MAX_VALUES = 100_000;

/** Throws SESSION_TOO_LARGE over `maxBytes`, 1,024 attributes, 100,000 values or 200 levels, ATTRIBUTE_INVALID for what isn't JSON. */
export function payloadOf({ header, attributes }: SessionRecord, maxBytes: number): Buffer {
  if (attributes.size > MAX_ATTRIBUTES) throw tooLarge(`${attributes.size} attributes`, `${MAX_ATTRIBUTES}`);
  const texts = [header.user, header.cookie, header.client, header.movedTo];
  for (const [name, text] of attributes) texts.push(name, text);
  const lengths = texts.map((text) => Buffer.byteLength(text));
  // A length takes five bytes at the most.
  const bytes = lengths.reduce((sum, length) => sum + length, FIXED_BYTES + 5 * lengths.length);
  if (bytes > maxBytes) throw tooLarge(`${bytes} bytes`, `${maxBytes} bytes (maxBytes)`);
  refuseUnreadable(header.cookie === "" ? attributes.values() : [header.cookie, ...attributes.values()]);
  const payload = Buffer.allocUnsafe(bytes);
  let at = payload.writeUIntBE(header.createdAt, 0, 6);
  at = payload.writeUIntBE(header.absoluteAt, at, 6);
  at = payload.writeUIntBE(header.idleMs, at, 6);
  at = payload.writeUIntBE(header.authenticatedAt, at, 6);
  for (const [i, text] of texts.entries()) {
    let rest = lengths[i] ?? 0;
    for (; rest > 127; rest >>>= 7) payload[at++] = (rest & 127) | 128;
    payload[at++] = rest;
    at += payload.write(text, at, "utf8");
  }
  return payload.subarray(0, at);
}

function refuseUnreadable(texts: Iterable<string>): void {
  let values = 0;
  for (const text of texts) {
    const judgement = judgeJson(text);
    if (judgement === "too deep") throw tooLarge("an attribute nested too deep", `${MAX_DEPTH} levels`);
    if (judgement === "malformed") throw new AnynodeError("ATTRIBUTE_INVALID", "An attribute's text isn't JSON.");
    values += judgement;
    if (values > MAX_VALUES) throw tooLarge(`over ${MAX_VALUES} values`, `${MAX_VALUES}`);
  }
}

function tooLarge(is: string, bound: string): AnynodeError {
  return new AnynodeError(
    "SESSION_TOO_LARGE",
    `A session has ${is}; the limit is ${bound}. Keep large data elsewhere, by reference.`,
  );
}

function keyOrNone(text: string): Key | "" {
  if (text === "" || isKey(text)) return text;
  throw new Error("key");
}

/** Throws a plain Error on anything out of place or out of bounds: the bytes come from outside. */
export function recordIn(payload: Buffer): SessionRecord {
  let at = FIXED_BYTES;
  let values = 0;
  const text = (): string => {
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = payload[at++];
      if (byte === undefined || shift > 28) throw new Error("length");
      length |= (byte & 127) << shift;
      if (byte < 128) break;
    }
    if (length < 0 || at + length > payload.length) throw new Error("cut");
    const from = at;
    at += length;
    return payload.toString("utf8", from, at);
  };
  const sound = (json: string): string => {
    const judgement = judgeJson(json);
    if (typeof judgement !== "number") throw new Error(judgement);
    values += judgement;
    if (values > MAX_VALUES) throw new Error("values");
    return json;
  };
  const header = {
    createdAt: payload.readUIntBE(0, 6),
    absoluteAt: payload.readUIntBE(6, 6),
    idleMs: payload.readUIntBE(12, 6),
    authenticatedAt: payload.readUIntBE(18, 6),
    user: text(),
    cookie: text(),
    client: text(),
    movedTo: keyOrNone(text()),
  };
  if (header.cookie !== "") sound(header.cookie);
  const attributes = new Map<string, string>();
  while (at < payload.length) {
    const name = text();
    if (!isAttributeName(name) || attributes.size === MAX_ATTRIBUTES) throw new Error("name");
    attributes.set(name, sound(text()));
  }
  return { header, attributes };
}
