/** Sealed records: one that was changed, cut, moved, or written by somebody without the key, is refused. Never a foreign read, never a crash. */
import { createCipheriv, createHash, createHmac, hkdfSync, randomBytes } from "node:crypto";
import { deflateRawSync } from "node:zlib";
import fc from "fast-check";
import { Codec } from "../../lib/session/codec.js";
import { keyOf, makeSid } from "../../lib/session/id.js";
import { Keyring, type KeyringEntry, membersOf } from "../../lib/session/keyring.js";
import type { SessionRecord } from "../../lib/session/record.js";

const FULL = process.env["ANYNODE_FULL"] === "1";
const MAX = 1_048_576;
const secret = randomBytes(32);
const ring = (entries: KeyringEntry[] = [{ id: "k1", key: secret }]) => new Keyring(membersOf(entries));
const codec = new Codec(MAX, "test", ring());
const key = keyOf(makeSid(), "test");
const header = {
  createdAt: 1.9e12,
  absoluteAt: 2e12,
  idleMs: 60_000,
  user: "ann",
  authenticatedAt: 1.9e12,
  cookie: '{"path":"/"}',
  client: "c",
  movedTo: "" as const,
};
const recordOf = (i: number): SessionRecord => ({
  header,
  attributes: new Map([
    ["n", String(i)],
    ["text", JSON.stringify("ab ".repeat(i * i * 4))],
  ]),
});
/** From empty to compressed. */
const samples = Array.from({ length: 20 }, (_, i) => recordOf(i));

/** Offsets in a body sealed with "k1". */
const HEAD = 5;
const SALT_AT = HEAD;
const NONCE_AT = SALT_AT + 16;
const TEXT_AT = NONCE_AT + 12;
const TAG = 16;

test("what was sealed opens, whatever it is, and no two sealings are alike", () => {
  const text = fc.string({ unit: "grapheme", maxLength: 40 });
  fc.assert(
    fc.property(fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), fc.json()), text, (attributes, user) => {
      const record = { header: { ...header, user }, attributes: new Map(Object.entries(attributes)) };
      const [one, two] = [codec.encode(record, key), codec.encode(record, key)];
      expect(codec.decode(one, key)).toEqual({ outcome: "record", record });
      expect(one.subarray(SALT_AT, TEXT_AT).equals(two.subarray(SALT_AT, TEXT_AT))).toBe(false);
      expect(one.subarray(TEXT_AT).equals(two.subarray(TEXT_AT))).toBe(false);
    }),
    { numRuns: FULL ? 20_000 : 1_000 },
  );
});

test("of 1,000 sealings of one record no two have a salt or a nonce in common", () => {
  const record = recordOf(1);
  // Behind the head (format, flags, length of the id, "k1"): 16 bytes of salt, 12 of nonce.
  const bodies = Array.from({ length: 1_000 }, () => codec.encode(record, key).toString("latin1"));
  expect(new Set(bodies.map((body) => body.slice(5, 21))).size).toBe(1_000);
  expect(new Set(bodies.map((body) => body.slice(21, 33))).size).toBe(1_000);
});

test("it is AES-256-GCM under a key that HKDF-SHA256 derives from 16 random bytes: whoever has the key can open it with any tool", () => {
  const body = codec.encode(samples[1] ?? recordOf(1), key);
  const salt = body.subarray(SALT_AT, NONCE_AT);
  const derived = Buffer.from(hkdfSync("sha256", secret, "", Buffer.concat([Buffer.from("anynode seal 1"), salt]), 32));
  const cipher = createCipheriv("aes-256-gcm", derived, body.subarray(NONCE_AT, TEXT_AT));
  cipher.setAAD(Buffer.concat([body.subarray(0, HEAD), Buffer.from(`4\ntest\n${key}`)]));
  const payload = cipher.update(body.subarray(TEXT_AT, -TAG));
  // GCM is a stream: sealing the sealed text again gives the payload.
  expect(payload.toString("latin1")).toContain("ab ab");
});

test.each(samples.map((record, i) => [i, record] as const))(
  "record %d: with any single bit flipped it is refused",
  (_, record) => {
    const body = codec.encode(record, key);
    let refused = 0;
    for (let bit = 0; bit < body.length * 8; bit++) {
      const flipped = Buffer.from(body);
      flipped.writeUInt8((body[bit >> 3] ?? 0) ^ (1 << (bit & 7)), bit >> 3);
      if (codec.decode(flipped, key).outcome !== "record") refused++;
    }
    expect(refused).toBe(body.length * 8);
  },
);

test.each(Array.from({ length: 16 }, (_, length) => length))("a tag of %d bytes is refused", (length) => {
  for (const record of samples) {
    const body = codec.encode(record, key);
    expect(codec.decode(body.subarray(0, body.length - TAG + length), key)).toEqual({ outcome: "damaged" });
  }
});

test("a shorter tag that is genuine for its length is refused as well", () => {
  // Node takes tags from 4 bytes on unless it is told the length.
  for (const authTagLength of [4, 8, 12, 13, 14, 15]) {
    const body = crafted({ payload: Buffer.alloc(28), authTagLength });
    expect(codec.decode(body, key)).toEqual({ outcome: "damaged" });
  }
});

test("cut anywhere, or longer, it is refused", () => {
  for (const record of samples.slice(0, 4)) {
    const body = codec.encode(record, key);
    for (let length = 0; length < body.length; length++) {
      expect(codec.decode(body.subarray(0, length), key).outcome).toMatch(/damaged|key-missing/);
    }
    expect(codec.decode(Buffer.concat([body, Buffer.of(0)]), key)).toEqual({ outcome: "damaged" });
  }
});

describe("the additional data", () => {
  const twins = ring([
    { id: "k1", key: secret },
    { id: "k2", key: secret },
  ]);
  const body = codec.encode(recordOf(3), key);
  const changed = (at: number, value: number) => {
    const copy = Buffer.from(body);
    copy[at] = value;
    return copy;
  };
  test("format: a sealed record isn't a plain one, nor one of a later format, whoever claims it", () => {
    const lenient = new Codec(MAX, "test", ring([{ id: "k1", key: secret }, "plain"]));
    expect(lenient.decode(body, key).outcome).toBe("record");
    for (const format of [0, 1, 3, 255]) expect(lenient.decode(changed(0, format), key).outcome).not.toBe("record");
  });
  test("flags", () => expect(codec.decode(changed(1, 1), key)).toEqual({ outcome: "damaged" }));
  test("key id: even under an id whose key is the very same", () => {
    expect(new Codec(MAX, "test", twins).decode(body, key).outcome).toBe("record");
    expect(new Codec(MAX, "test", twins).decode(changed(4, "2".charCodeAt(0)), key)).toEqual({ outcome: "damaged" });
  });
  test("namespace", () => {
    for (const namespace of ["", "tes", "test:", "Test", "4\ntest"]) {
      expect(new Codec(MAX, namespace, ring()).decode(body, key)).toEqual({ outcome: "damaged" });
    }
  });
  test("key", () => {
    for (let swap = 0; swap < 100; swap++) {
      expect(codec.decode(body, keyOf(makeSid(), "test"))).toEqual({ outcome: "damaged" });
    }
  });
});

const swaps = FULL ? 10_000 : 1_000;
test(`${swaps} swaps between ids and namespaces: all refused, and each still opens where it belongs`, () => {
  const namespaces = ["anynode:", "shop:", "shop:a:", ""];
  const places = Array.from({ length: 40 }, (_, i) => {
    const namespace = namespaces[i % 4] ?? "";
    const place = { codec: new Codec(MAX, namespace, ring()), key: keyOf(makeSid(), namespace) };
    return { ...place, body: place.codec.encode(recordOf(i % 20), place.key) };
  });
  let [tried, foreign] = [0, 0];
  for (let swap = 0; tried < swaps; swap++) {
    const from = places[swap % 40];
    const to = places[Math.floor(swap / 40 + swap) % 40];
    if (from === undefined || to === undefined || from === to) continue;
    tried++;
    // To another id of its own namespace or another one, and to the same key under another namespace.
    if (to.codec.decode(from.body, to.key).outcome === "record") foreign++;
    if (from.codec.decode(from.body, to.key).outcome === "record") foreign++;
    if (to.codec !== from.codec && swap % 4 !== Math.floor(swap / 40 + swap) % 4) {
      if (to.codec.decode(from.body, from.key).outcome === "record") foreign++;
    }
  }
  expect(foreign).toBe(0);
  for (const place of places) expect(place.codec.decode(place.body, place.key).outcome).toBe("record");
});

/** A body as somebody with the key could make it. */
function crafted({
  payload,
  flags = 0,
  authTagLength = 16,
}: {
  payload: Buffer;
  flags?: number;
  authTagLength?: number;
}): Buffer {
  const head = Buffer.concat([Buffer.of(2, flags, 2), Buffer.from("k1")]);
  const before = randomBytes(28);
  const extracted = createHmac("sha256", Buffer.alloc(32)).update(secret).digest();
  const info = Buffer.concat([Buffer.from("anynode seal 1"), before.subarray(0, 16), Buffer.of(1)]);
  const derived = createHmac("sha256", extracted).update(info).digest();
  const cipher = createCipheriv("aes-256-gcm", derived, before.subarray(16), { authTagLength });
  cipher.setAAD(Buffer.concat([head, Buffer.from(`4\ntest\n${key}`)]));
  return Buffer.concat([head, before, cipher.update(payload), cipher.final(), cipher.getAuthTag()]);
}

describe("a hostile engine", () => {
  const shapeOfPrototype = () => JSON.stringify(Object.getOwnPropertyNames(Object.prototype).toSorted());
  const rounds = FULL ? 100_000 : 10_000;
  test(`${rounds} made-up bodies, on nodes with keys and without: 0 crashes, 0 accepted, Object.prototype unchanged`, () => {
    const before = shapeOfPrototype();
    const lenient = new Codec(MAX, "test", ring([{ id: "k1", key: secret }, "plain"]));
    const genuine = codec.encode(recordOf(5), key);
    let accepted = 0;
    for (let round = 0; round < rounds; round++) {
      const noise = randomBytes(round % 120);
      const bodies = [
        noise,
        Buffer.concat([Buffer.of(1 + (round % 2), round % 3), noise]),
        Buffer.concat([Buffer.of(2, 0, 2), Buffer.from("k1"), noise]),
        Buffer.concat([genuine.subarray(0, round % genuine.length), noise]),
      ];
      const body = bodies[round % 4] ?? noise;
      for (const reader of [codec, lenient]) if (reader.decode(body, key).outcome === "record") accepted++;
    }
    expect(accepted).toBe(0);
    expect(shapeOfPrototype()).toBe(before);
  });

  test("what somebody with a key sealed is bounded all the same: a bomb, cut lengths, forbidden names", () => {
    const bomb = crafted({ payload: deflateRawSync(Buffer.alloc(200_000_000)), flags: 1 });
    const held = process.memoryUsage().arrayBuffers;
    expect(codec.decode(bomb, key)).toEqual({ outcome: "damaged" });
    expect(process.memoryUsage().arrayBuffers - held).toBeLessThan(50_000_000);
    for (let round = 0; round < 2_000; round++) {
      expect(["record", "damaged"]).toContain(
        codec.decode(crafted({ payload: randomBytes(round % 90), flags: round % 2 }), key).outcome,
      );
    }
    const name = "__proto__";
    const named = Buffer.concat([Buffer.alloc(28), Buffer.of(name.length), Buffer.from(name), Buffer.of(1, 49)]);
    expect(codec.decode(crafted({ payload: named }), key)).toEqual({ outcome: "damaged" });
  });
});

test("nothing of a sealed body tells what is in it: no name, no value, no user, and digests of them neither", () => {
  const words = ["theName", "theValue", "theUser"];
  const record = { header: { ...header, user: "theUser" }, attributes: new Map([["theName", '"theValue"']]) };
  const bodies = Buffer.concat(Array.from({ length: 50 }, () => codec.encode(record, key)));
  for (const word of words) {
    expect(bodies.includes(word)).toBe(false);
    expect(bodies.includes(createHash("sha256").update(word).digest().subarray(0, 8))).toBe(false);
  }
  expect(bodies.includes(secret.subarray(0, 8))).toBe(false);
});
