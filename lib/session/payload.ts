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

/**
 * Throws SESSION_TOO_LARGE over `maxBytes`, 1,024 attributes, 100,000 values or 200 levels, ATTRIBUTE_INVALID for what isn't JSON.
 * `known`: a record that was read, or written, before: what it has in common with this one is sound.
 */
export function payloadOf(record: SessionRecord, maxBytes: number, known?: SessionRecord): Buffer {
  const { header, attributes } = record;
  if (attributes.size > MAX_ATTRIBUTES) throw tooLarge(`${attributes.size} attributes`, `${MAX_ATTRIBUTES}`);
  const texts = [header.user, header.cookie, header.client, header.movedTo];
  for (const [name, text] of attributes) texts.push(name, text);
  const segments = asciiOf(texts) ?? bytesOf(texts);
  const bytes = FIXED_BYTES + segments.length;
  if (bytes > maxBytes) throw tooLarge(`${bytes} bytes`, `${maxBytes} bytes (maxBytes)`);
  // Fewer bytes can't hold too many values.
  refuseUnreadable(record, bytes < MAX_VALUES ? known : undefined);
  const payload = Buffer.allocUnsafe(bytes);
  let at = payload.writeUIntBE(header.createdAt, 0, 6);
  at = payload.writeUIntBE(header.absoluteAt, at, 6);
  at = payload.writeUIntBE(header.idleMs, at, 6);
  at = payload.writeUIntBE(header.authenticatedAt, at, 6);
  if (typeof segments === "string") payload.write(segments, at, "latin1");
  else payload.set(segments, at);
  return payload;
}

/** The segments as a text of one byte a character, if all of `texts` is ASCII: one long text is written faster than many short ones. */
function asciiOf(texts: readonly string[]): string | undefined {
  let segments = "";
  let long = 0;
  for (const text of texts) {
    const length = lengthOf(text.length);
    long += length.length - 1;
    segments += length + text;
  }
  // In UTF-8 those bytes of a length that have their highest bit set would be two; and all else if it isn't ASCII.
  return Buffer.byteLength(segments) === segments.length + long ? segments : undefined;
}

function bytesOf(texts: readonly string[]): Buffer {
  return Buffer.concat(texts.flatMap((text) => [Buffer.from(lengthOf(Buffer.byteLength(text)), "latin1"), Buffer.from(text)]));
}

/** Seven bits a byte, the lowest first; all but the last byte have the highest bit set. A character is a byte. */
function lengthOf(length: number): string {
  let text = "";
  let rest = length;
  for (; rest > 127; rest >>>= 7) text += String.fromCharCode((rest & 127) | 128);
  return text + String.fromCharCode(rest);
}

function refuseUnreadable({ header, attributes }: SessionRecord, known: SessionRecord | undefined): void {
  let values = 0;
  if (header.cookie !== "" && header.cookie !== known?.header.cookie) values += valuesIn(header.cookie);
  for (const [name, text] of attributes) if (text !== known?.attributes.get(name)) values += valuesIn(text);
  if (values > MAX_VALUES) throw tooLarge(`over ${MAX_VALUES} values`, `${MAX_VALUES}`);
}

function valuesIn(text: string): number {
  const judgement = judgeJson(text);
  if (judgement === "too deep") throw tooLarge("an attribute nested too deep", `${MAX_DEPTH} levels`);
  if (judgement === "malformed") throw new AnynodeError("ATTRIBUTE_INVALID", "An attribute's text isn't JSON.");
  return judgement;
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
