/** Ids whose key was worked out lately aren't hashed again; only so many are remembered. */
import crypto from "node:crypto";
import { KeyCache } from "../../lib/cache/key-cache.js";
import { isSid, keyOf } from "../../lib/session/id.js";

test("a key is worked out once, while its id is remembered", () => {
  const sid = (text: string) => {
    if (!isSid(text)) throw new Error("no id");
    return text;
  };
  const right = keyOf(sid("a"), "n");
  const hash = jest.spyOn(crypto, "createHash");
  const keys = new KeyCache("n");
  expect([keys.keyOf(sid("a")), keys.keyOf(sid("a"))]).toEqual([right, right]);
  expect(hash).toHaveBeenCalledTimes(1);
  for (let i = 0; i < 10_000; i++) keys.keyOf(sid(`other-${i}`));
  hash.mockClear();
  expect(keys.keyOf(sid("a"))).toBe(right);
  expect(hash).toHaveBeenCalledTimes(1);
  hash.mockRestore();
});
