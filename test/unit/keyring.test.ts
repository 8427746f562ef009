/** The keyring: which keys it takes, which of them seals, which open; and that no key ever shows. */
import { randomBytes } from "node:crypto";
import { inspect } from "node:util";
import { isKey, type Key } from "../../lib/names.js";
import { Codec } from "../../lib/session/codec.js";
import { Keyring, type KeyringEntry, membersOf } from "../../lib/session/keyring.js";
import { freshKey } from "../support/keys.js";

const [k1, k2, k3] = [freshKey("k1"), freshKey("k2"), freshKey("k3")];
const ringOf = (...entries: KeyringEntry[]) => new Keyring(membersOf(entries));
const header = {
  createdAt: 1,
  absoluteAt: 0,
  idleMs: 60_000,
  user: "",
  authenticatedAt: 0,
  cookie: "",
  client: "",
  movedTo: "" as const,
};
const record = { header, attributes: new Map([["a", "1"]]) };
const key = keyOf("{test}0000000000000000000000");
const codecOf = (ring: Keyring) => new Codec(10_000, "test", ring);

function keyOf(text: string): Key {
  if (!isKey(text)) throw new Error(text);
  return text;
}

describe("which one seals", () => {
  test("a single key does, from the start", () => {
    expect(ringOf(k1)).toMatchObject({ primary: "k1", ids: ["k1"], settled: true });
  });
  test("of several the last does, which all have, until the others are known", () => {
    const ring = ringOf(k2, k1);
    expect(ring).toMatchObject({ primary: "k1", settled: false });
    ring.heard([]);
    expect(ring).toMatchObject({ primary: "k2", settled: true });
  });
  test("the first that every other node has, and as soon as the last of them has it", () => {
    const ring = ringOf(k3, k2, k1);
    ring.heard([["k1"], ["k2", "k1"]]);
    expect(ring.primary).toBe("k1");
    ring.heard([
      ["k2", "k1"],
      ["k3", "k2", "k1"],
    ]);
    expect(ring.primary).toBe("k2");
    ring.heard([["k3"], ["k3"]]);
    expect(ring.primary).toBe("k3");
  });
  test("once it seals it goes on, whoever comes with older keys: no record is written with an old key any more", () => {
    const ring = ringOf(k2, k1);
    ring.heard([["k2", "k1"]]);
    ring.heard([["k1"]]);
    expect(ring.primary).toBe("k2");
  });
  test("nodes that have none in common with it don't change it", () => {
    const ring = ringOf(k2, k1);
    ring.heard([["other"]]);
    expect(ring.primary).toBe("k1");
  });
  test('"plain" counts like a key: a fleet without keys gets its first one, and back, with no record that some node can\'t read', () => {
    const ring = ringOf(k1, "plain");
    ring.heard([["plain"], ["k1", "plain"]]);
    expect(ring).toMatchObject({ primary: "plain", sealing: undefined });
    ring.heard([["k1", "plain"]]);
    expect(ring.primary).toBe("k1");
    ring.replace(["plain", k1]);
    expect(ring.primary).toBe("k1");
    ring.heard([["k1", "plain"]]);
    expect(ring.primary).toBe("plain");
  });
});

describe("replace", () => {
  test("the key that seals goes on until all have the new one, judged by what is so now, not by what was", () => {
    const ring = ringOf(k1);
    ring.heard([]);
    // Others may have joined since.
    ring.replace([k2, k1]);
    expect(ring.primary).toBe("k1");
    ring.heard([["k1"]]);
    expect(ring.primary).toBe("k1");
    ring.heard([["k2", "k1"]]);
    expect(ring.primary).toBe("k2");
  });
  test("tells that what was opened so far is to be forgotten", () => {
    let told = 0;
    const ring = new Keyring(membersOf([k1]), () => told++);
    expect(told).toBe(0);
    ring.replace([k2, k1]);
    expect(told).toBe(1);
  });
  test("what can't work is refused, and nothing changes", () => {
    const ring = ringOf(k2, k1);
    ring.heard([["k1"]]);
    expect(() => ring.replace([])).toThrow(expect.objectContaining({ code: "OPTION_INVALID" }));
    expect(ring).toMatchObject({ primary: "k1", ids: ["k2", "k1"] });
  });
  test("a revoked key neither seals nor opens nor is announced, and its bytes may be thrown away", () => {
    const before = codecOf(ringOf(k1)).encode(record, key);
    for (const revoked of [
      { ...k1, state: "revoked" as const },
      { id: "k1", state: "revoked" as const },
    ]) {
      const ring = ringOf(k1);
      ring.replace([revoked, k2]);
      expect(ring).toMatchObject({ primary: "k2", ids: ["k2"] });
      expect(codecOf(ring).decode(before, key)).toEqual({ outcome: "key-revoked" });
    }
  });
});

describe("reading", () => {
  test("any key of the ring opens, whichever seals", () => {
    const sealed = codecOf(ringOf(k1)).encode(record, key);
    expect(codecOf(ringOf(k2, k1)).decode(sealed, key)).toEqual({ outcome: "record", record });
  });
  test("a key that the node lacks is missing: another node may read it. A node without a keyring lacks all", () => {
    const sealed = codecOf(ringOf(k1)).encode(record, key);
    for (const ring of [ringOf(k2), new Keyring([])]) {
      expect(codecOf(ring).decode(sealed, key)).toEqual({ outcome: "key-missing", keyId: "k1" });
    }
  });
  test("another key under the same id opens nothing", () => {
    const sealed = codecOf(ringOf(k1)).encode(record, key);
    expect(codecOf(ringOf(freshKey("k1"))).decode(sealed, key)).toEqual({ outcome: "damaged" });
  });
  test('a plain record, which anybody could have written, is refused by a node with keys unless its ring says "plain"', () => {
    const plain = codecOf(new Keyring([])).encode(record, key);
    expect(codecOf(ringOf(k1)).decode(plain, key)).toEqual({ outcome: "plain" });
    expect(codecOf(ringOf(k1, "plain")).decode(plain, key)).toEqual({ outcome: "record", record });
    expect(codecOf(ringOf("plain")).decode(plain, key)).toEqual({ outcome: "record", record });
  });
});

describe("the option", () => {
  const secret = randomBytes(32);
  test.each([
    ["a Buffer", secret],
    ["a Uint8Array within a larger buffer", new Uint8Array(Buffer.concat([Buffer.of(1), secret, Buffer.of(2)])).subarray(1, 33)],
    ["base64", secret.toString("base64")],
    ["base64 without its padding", secret.toString("base64").slice(0, 43)],
    ["base64url", secret.toString("base64url")],
    ["hexadecimal", secret.toString("hex")],
    ["capital hexadecimal", secret.toString("hex").toUpperCase()],
  ])("takes 32 bytes as %s: the same key", (_, given) => {
    const sealed = codecOf(ringOf({ id: "k", key: secret })).encode(record, key);
    expect(codecOf(ringOf({ id: "k", key: given })).decode(sealed, key)).toEqual({ outcome: "record", record });
  });

  test("the caller's buffer may be wiped afterwards", () => {
    const given = Buffer.from(secret);
    const ring = ringOf({ id: "k", key: given });
    given.fill(0);
    const sealed = codecOf(ring).encode(record, key);
    expect(codecOf(ringOf({ id: "k", key: secret })).decode(sealed, key).outcome).toBe("record");
  });

  const bad: [unknown, ...string[]][] = [
    [null, "keyring is null", "list"],
    ["k1", "keyring is a string", "list"],
    [{}, "keyring is a object", "list"],
    [[], "a list of 0", "1 to 32"],
    [Array.from({ length: 33 }, (_, i) => freshKey(`k${i}`)), "a list of 33", "1 to 32"],
    [[null], "keyring[0] is null", "{ id, key }"],
    [["k1"], "keyring[0] is a string", '"plain"'],
    [[{ key: secret }], "keyring[0].id", "letters"],
    [[{ id: "", key: secret }], "keyring[0].id", "letters"],
    [[{ id: "a b", key: secret }], "keyring[0].id", "letters"],
    [[{ id: "plain", key: secret }], "keyring[0].id", "plain"],
    [[{ id: "x".repeat(33), key: secret }], "keyring[0].id", "32"],
    [[{ id: "k" }], 'keyring[0].key of "k" is of type undefined', "32", "openssl rand"],
    [[k1, { id: "k", key: 5 }], 'keyring[1].key of "k" is of type number', "openssl rand"],
    [[{ id: "k", key: randomBytes(31) }], "31 bytes", "32"],
    [[{ id: "k", key: "hunter2" }], "a text of 7 characters", "32"],
    [[{ id: "k", key: secret.toString("base64").slice(0, 42) }], "a text of 42 characters", "32"],
    [[{ id: "k", key: secret, state: "old" }], "keyring[0].state", '"revoked"'],
    [[{ id: "k", key: secret, primary: true }], '"primary"', "nobody knows"],
    [[k1, k2, freshKey("k1")], '"k1" twice', "own"],
    [["plain", "plain"], '"plain" twice'],
    [[{ id: "k", state: "revoked" }], "revoked", "new key"],
  ];
  test.each(bad)("%# a bad one is refused by name, bound and cure", (keyring, ...parts) => {
    for (const part of parts) {
      expect(() => membersOf(keyring)).toThrow(
        expect.objectContaining({ code: "OPTION_INVALID", message: expect.stringContaining(part) }),
      );
    }
  });

  test("no message shows a key, be it a good one or not, or in the place of the id", () => {
    expect.assertions(9);
    for (const text of ["hunter2", `${"ab".repeat(31)}zz`, secret.toString("base64")]) {
      const entries = [
        { id: "k", key: text, state: "old" },
        { id: `${text} `, key: text },
        { id: "k", key: text, more: text },
      ];
      for (const entry of entries) {
        try {
          membersOf([entry]);
        } catch (error) {
          expect(inspect(error)).not.toContain(text);
        }
      }
    }
  });
});

test("neither a keyring nor a key shows what it holds", () => {
  const secret = randomBytes(32);
  const ring = ringOf({ id: "k", key: secret });
  for (const thing of [ring, ring.sealing, membersOf([{ id: "k", key: secret }])]) {
    const shown = `${inspect(thing, { depth: 9, showHidden: true })}${JSON.stringify(thing)}`;
    expect(shown).not.toContain(secret.toString("hex").slice(0, 8));
    expect(shown).not.toMatch(/Buffer|[0-9a-f]{2} [0-9a-f]{2} [0-9a-f]{2}/);
  }
});
