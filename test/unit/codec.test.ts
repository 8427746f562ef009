/** Record <-> bytes: whatever goes in comes out, and bytes that were damaged, cut, moved or crafted are judged, never trusted. */
import { randomBytes } from "node:crypto";
import { deflateRawSync } from "node:zlib";
import fc from "fast-check";
import type { Key } from "../../lib/names.js";
import { isAttributeName } from "../../lib/session/attributes.js";
import { Codec } from "../../lib/session/codec.js";
import { crc32, slowCrc32 } from "../../lib/session/crc32.js";
import { keyOf, makeSid } from "../../lib/session/id.js";
import { Keyring } from "../../lib/session/keyring.js";
import type { SessionRecord } from "../../lib/session/record.js";

const MAX = 1_048_576;
const FULL = process.env["ANYNODE_FULL"] === "1";
const key = keyOf(makeSid(), "test");
const codecWith = (maxBytes: number) => new Codec(maxBytes, "test", new Keyring([]));
const encode = (record: SessionRecord, at: Key, maxBytes: number) => codecWith(maxBytes).encode(record, at);
const decode = (body: Buffer, at: Key, maxBytes: number) => codecWith(maxBytes).decode(body, at);
const header = {
  createdAt: 1.9e12,
  absoluteAt: 0,
  idleMs: 60_000,
  user: "",
  authenticatedAt: 0,
  cookie: "",
  client: "",
  movedTo: "" as const,
};
const recordWith = (attributes: Record<string, string>): SessionRecord => ({
  header,
  attributes: new Map(Object.entries(attributes)),
});

const instant = fc.integer({ min: 0, max: 2 ** 48 - 1 });
const text = fc.string({ unit: "grapheme", maxLength: 40 });
const anyRecord = fc.record({
  header: fc.record({
    createdAt: instant,
    absoluteAt: instant,
    idleMs: instant,
    user: text,
    authenticatedAt: instant,
    cookie: fc.oneof(fc.constant(""), fc.json()),
    client: text,
    movedTo: fc.constantFrom("" as const, key),
  }),
  attributes: fc
    .array(fc.tuple(text.filter(isAttributeName), fc.json()), { maxLength: 12 })
    .map((entries) => new Map<string, string>(entries)),
});

test("any record comes back as it was, attributes in their order", () => {
  fc.assert(
    fc.property(anyRecord, (record) => {
      const decoded = decode(encode(record, key, MAX), key, MAX);
      expect(decoded).toEqual({ outcome: "record", record });
      if (decoded.outcome === "record") expect([...decoded.record.attributes]).toEqual([...record.attributes]);
    }),
    { numRuns: FULL ? 20_000 : 1_000 },
  );
});

test.each([0, 1, 127, 128, 2_000, 2_100, 16_383, 16_384, 300_000])(
  "a text of %d characters comes back, compressed or not",
  (length) => {
    for (const value of ["x".repeat(length), randomBytes(length).toString("base64").slice(0, length), "é".repeat(length)]) {
      const record = recordWith({ value: JSON.stringify(value) });
      expect(decode(encode(record, key, MAX), key, MAX)).toEqual({ outcome: "record", record });
    }
  },
);

test("what compresses well is stored compressed; a short one isn't worth it", () => {
  const length = 10_000;
  expect(encode(recordWith({ a: JSON.stringify("x".repeat(length)) }), key, MAX).length).toBeLessThan(length / 10);
  const short = encode(recordWith({ a: JSON.stringify("x".repeat(1_900)) }), key, MAX);
  expect(short[1]).toBe(0);
});

const samples = [
  recordWith({}),
  recordWith({ user: '{"name":"Ann"}', count: "1" }),
  recordWith({ long: JSON.stringify("ab".repeat(3_000)) }),
  { header: { ...header, absoluteAt: 2e12, user: "ann", cookie: '{"path":"/"}' }, attributes: new Map([["é", '"\\u0000"']]) },
];

test.each(samples.map((record, i) => [i, record] as const))("sample %d: cut anywhere, it doesn't decode", (_, record) => {
  const body = encode(record, key, MAX);
  for (let length = 0; length < body.length; length++) {
    expect(decode(body.subarray(0, length), key, MAX)).toEqual({ outcome: "damaged" });
  }
  expect(decode(Buffer.concat([body, Buffer.of(0)]), key, MAX)).toEqual({ outcome: "damaged" });
});

test.each(samples.map((record, i) => [i, record] as const))(
  "sample %d: with any one bit flipped it is never another record",
  (_, record) => {
    const body = encode(record, key, MAX);
    for (let bit = 0; bit < body.length * 8; bit++) {
      const flipped = Buffer.from(body);
      flipped.writeUInt8((body[bit >> 3] ?? 0) ^ (1 << (bit & 7)), bit >> 3);
      expect(decode(flipped, key, MAX).outcome).not.toBe("record");
    }
  },
);

test("under another key it doesn't decode: no record is ever served to another id", () => {
  for (const record of samples) {
    const body = encode(record, key, MAX);
    for (let swap = 0; swap < (FULL ? 2_500 : 250); swap++) {
      expect(decode(body, keyOf(makeSid(), "test"), MAX)).toEqual({ outcome: "damaged" });
    }
  }
});

test("a newer format, or flags that nobody here knows, is unknown rather than damaged: it may be fine", () => {
  const body = encode(recordWith({}), key, MAX);
  for (const [at, value, outcome] of [
    [0, 3, "unknown"],
    [0, 255, "unknown"],
    [0, 0, "damaged"],
    [1, 2, "unknown"],
    [1, 128, "unknown"],
  ] as const) {
    const other = Buffer.from(body);
    other[at] = value;
    expect(decode(other, key, MAX).outcome).toBe(outcome);
  }
});

/** A body with a good checksum over whatever an attacker who can write to the engine likes. */
function crafted(flags: number, payload: Buffer): Buffer {
  const head = Buffer.of(1, flags);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(payload, crc32(head, crc32(key))));
  return Buffer.concat([head, sum, payload]);
}

test("a decompression bomb costs no more than the size limit", () => {
  const bomb = crafted(1, deflateRawSync(Buffer.alloc(200_000_000)));
  const before = process.memoryUsage().arrayBuffers;
  expect(decode(bomb, key, MAX)).toEqual({ outcome: "damaged" });
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(50_000_000);
});

test("crafted payloads never throw and never carry a forbidden name", () => {
  const named = (name: string) => Buffer.concat([Buffer.alloc(28), Buffer.of(name.length), Buffer.from(name), Buffer.of(1, 49)]);
  expect(decode(crafted(0, named("ok")), key, MAX)).toMatchObject({
    outcome: "record",
    record: { attributes: new Map([["ok", "1"]]) },
  });
  for (const name of ["prototype", ...Object.getOwnPropertyNames(Object.prototype)]) {
    expect(decode(crafted(0, named(name)), key, MAX)).toEqual({ outcome: "damaged" });
  }
  const lengths = [0xff, 0xff, 0xff, 0xff, 0x7f];
  for (const tail of [lengths, [0xff, 0xff, 0xff, 0xff, 0x0f], [0x80], [5, 49]]) {
    expect(decode(crafted(0, Buffer.concat([Buffer.alloc(28), Buffer.from(tail)])), key, MAX)).toEqual({ outcome: "damaged" });
  }
  const many = Buffer.concat(
    Array.from({ length: 1_025 }, (_, i) => Buffer.concat([Buffer.of(4), Buffer.from(String(i + 1_000)), Buffer.of(1, 49)])),
  );
  expect(decode(crafted(0, Buffer.concat([Buffer.alloc(28), many])), key, MAX)).toEqual({ outcome: "damaged" });
});

describe("JSON that would hurt whoever parses it doesn't decode", () => {
  /** Segments as they are stored: a length of two bytes and more, then the text. */
  const segment = (text: string) => {
    const bytes = Buffer.from(text);
    const length: number[] = [];
    let rest = bytes.length;
    for (; rest > 127; rest >>>= 7) length.push((rest & 127) | 128);
    return Buffer.concat([Buffer.of(...length, rest), bytes]);
  };
  const stored = (cookie: string, ...texts: string[]) => {
    const attributes = texts.map((text, i) => Buffer.concat([segment(`a${i}`), segment(text)]));
    const head = [Buffer.alloc(24), segment(""), segment(cookie), segment(""), segment("")];
    return crafted(0, Buffer.concat([...head, ...attributes]));
  };
  const deep = "[".repeat(100_000) + "]".repeat(100_000);
  const many = `[${"0,".repeat(60_000)}0]`;
  test("sound, it does", () => {
    expect(decode(stored('{"path":"/"}', "[1]", many), key, MAX).outcome).toBe("record");
  });
  test.each([
    ["deep", stored("", deep)],
    ["many values, in one attribute or together", stored("", many, many)],
    ["no JSON", stored("", "{")],
    ["more than one value, which would smuggle attributes in", stored("", '1,"admin":true')],
    ["nothing", stored("", "")],
    ["settings of the cookie: deep", stored(deep)],
    ["settings of the cookie: no JSON", stored("{")],
  ])("%s", (_, body) => expect(decode(body, key, MAX)).toEqual({ outcome: "damaged" }));
});

test("random bytes never throw, with a good checksum or without", () => {
  for (let round = 0; round < (FULL ? 100_000 : 5_000); round++) {
    const noise = randomBytes(round % 90);
    expect(decode(noise, key, MAX).outcome).not.toBe("record");
    expect(["record", "damaged"]).toContain(decode(crafted(round % 2, noise), key, MAX).outcome);
  }
});

describe("limits", () => {
  const tooLarge = expect.objectContaining({ code: "SESSION_TOO_LARGE" });
  test("a payload over maxBytes is refused before anything is sent, whatever compression would make of it", () => {
    expect(() => encode(recordWith({ a: JSON.stringify("x".repeat(2_000)) }), key, 1_024)).toThrow(tooLarge);
    expect(() => encode(recordWith({ a: JSON.stringify("x".repeat(900)) }), key, 1_024)).not.toThrow();
  });
  test("whatever is encoded within a limit decodes within the same limit", () => {
    for (let length = 800; length < 1_100; length++) {
      const record = recordWith({ a: JSON.stringify("x".repeat(length)), b: JSON.stringify("é".repeat(5)) });
      try {
        expect(decode(encode(record, key, 1_024), key, 1_024)).toEqual({ outcome: "record", record });
      } catch (error) {
        expect(error).toMatchObject({ code: "SESSION_TOO_LARGE" });
      }
    }
  });
  test("1,024 attributes are the most", () => {
    const attributes = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`a${i}`, "1"]));
    expect(decode(encode(recordWith(attributes(1_024)), key, MAX), key, MAX).outcome).toBe("record");
    expect(() => encode(recordWith(attributes(1_025)), key, MAX)).toThrow(tooLarge);
  });
  test("an error about a size holds nothing of the session", () => {
    expect(() => encode(recordWith({ secretName: JSON.stringify("hunter2".repeat(2_000)) }), key, 1_024)).toThrow(
      expect.objectContaining({ message: expect.not.stringMatching(/secretName|hunter2/) }),
    );
  });
});

test("the checksum is zlib's CRC-32, in JavaScript too where zlib doesn't offer it", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 300 }), (a, b) => {
      const [first, second] = [Buffer.from(a), Buffer.from(b)];
      expect(slowCrc32(second, slowCrc32(first))).toBe(slowCrc32(Buffer.concat([first, second])));
      expect(slowCrc32(second, slowCrc32(first))).toBe(crc32(second, crc32(first)));
    }),
  );
  expect(crc32("123456789")).toBe(0xcbf43926);
  expect(slowCrc32("123456789")).toBe(0xcbf43926);
});
