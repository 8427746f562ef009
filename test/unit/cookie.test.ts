/** The cookie on the wire: what is verified, what is refused, what a browser is told. */
import crypto, { createHmac } from "node:crypto";
import { isSid } from "../../lib/session/id.js";
import { CookieSigner, checkCookie } from "../../lib/web/cookie.js";
import { type CookieSettings, SessionCookie } from "../../lib/web/session-cookie.js";

const SID = "tagg.abcdefghijklmnopqrstuvwxyzABCDEF";
function sid(text = SID) {
  if (!isSid(text)) throw new Error("no id");
  return text;
}
/** As cookie-signature does it. */
function sign(text: string, secret: string): string {
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64").replace(/=+$/, "")}`;
}
const signed = (text: string, secret = "new") => encodeURIComponent(`s:${sign(text, secret)}`);
const cookie = (settings: CookieSettings = {}) => new SessionCookie(settings, false);

describe("what comes in", () => {
  const signer = new CookieSigner("sid", ["new", "old"], "connect.sid");

  test.each<[string, string, string | undefined]>([
    ["alone", `sid=${signed("a")}`, "a"],
    ["among others", `x=1; sid=${signed("a")}; y=2`, "a"],
    ["quoted and spaced", `x=1;  sid = "${signed("a")}" ;y`, "a"],
    ["not encoded", `sid=s:${sign("a", "new")}`, "a"],
    ["another name that ends alike", `mysid=${signed("a")}`, undefined],
    ["another name that begins alike", `sid2=${signed("a")}`, undefined],
    ["in the value of another", `x=sid=${signed("a")}`, undefined],
    ["unsigned", "sid=a", undefined],
    ["signed by a stranger", `sid=${signed("a", "other")}`, undefined],
    ["a signature of another id", `sid=${signed("a").replace("s%3Aa", "s%3Ab")}`, undefined],
    ["cut", `sid=${signed("a").slice(0, -1)}`, undefined],
    ["an empty id", `sid=${signed("")}`, undefined],
    ["a broken encoding", "sid=%E0%A4%A", undefined],
    ["a bad one before a good one", `sid=bad; sid=${signed("a", "other")}; sid=${signed("a")}`, "a"],
    ["over 4,096 bytes", `sid=${signed("a".repeat(5000))}`, undefined],
    ["adopted from express-session", `connect.sid=${signed("a")}`, "a"],
    ["ours goes first", `connect.sid=${signed("b")}; sid=${signed("a")}`, "a"],
  ])("%s", (_, header, expected) => {
    expect(signer.find(header)?.sid).toBe(expected);
    expect(signer.find(header)?.sid).toBe(expected);
  });

  test("every candidate of a name, one after the other", () => {
    const header = `sid=${signed("a")}; sid=bad; sid=${signed("b")}`;
    expect([0, 1, 2].map((nth) => signer.find(header, nth)?.sid)).toEqual(["a", "b", undefined]);
    expect(signer.find(undefined)).toBeUndefined();
  });

  test("of both names, ours first", () => {
    const header = `connect.sid=${signed("c")}; sid=${signed("a")}; connect.sid=${signed("d")}; sid=${signed("b")}`;
    expect([0, 1, 2, 3, 4].map((nth) => signer.find(header, nth)?.sid)).toEqual(["a", "b", "c", "d", undefined]);
  });

  test("what was verified lately isn't verified again; only so many are remembered", () => {
    const hmac = jest.spyOn(crypto, "createHmac");
    const fresh = new CookieSigner("sid", ["new"]);
    const find = (text: string) => fresh.find(`sid=${signed(text)}`)?.sid;
    const callsOf = (text: string) => {
      const header = `sid=${signed(text)}`;
      hmac.mockClear();
      expect(fresh.find(header)?.sid).toBe(text);
      return hmac.mock.calls.length;
    };
    expect([callsOf("a"), callsOf("a")]).toEqual([1, 0]);
    for (let i = 0; i < 10_000; i++) find(`other-${i}`);
    expect(callsOf("a")).toBe(1);
    hmac.mockRestore();
  });

  test("re-issued: signed by an old secret, or adopted", () => {
    expect(signer.find(`sid=${signed("a")}`)?.reissue).toBe(false);
    expect(signer.find(`sid=${signed("a", "old")}`)?.reissue).toBe(true);
    expect(signer.find(`connect.sid=${signed("a")}`)?.reissue).toBe(true);
  });

  test("every flipped bit of a cookie is refused", () => {
    const text = decodeURIComponent(signed(SID));
    const bytes = Buffer.from(text);
    for (let bit = 16; bit < bytes.length * 8; bit++) {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      // Without its encoding where that is possible, so that the very byte arrives.
      expect(signer.find(`sid=${encodeURIComponent(flipped.toString("latin1"))}`)).toBeUndefined();
    }
  });
});

describe("what goes out", () => {
  test.each<[string, RegExp]>([
    ["__Host-sid", /^__Host-sid=[^;]+; Path=\/; HttpOnly; Secure$/],
    ["__Secure-sid", /^__Secure-sid=[^;]+; Domain=example.com; Path=\/a; HttpOnly; Secure$/],
  ])("%s: what the name rules out is left out, of a session from before", (name, line) => {
    const prefixed = new CookieSigner(name, ["new"]);
    expect(prefixed.isSecure).toBe(true);
    expect(prefixed.line(sid(), cookie({ domain: "example.com", path: "/a" }))).toMatch(line);
  });

  const signer = new CookieSigner("sid", ["new", "old"]);

  test("as express-session's, which reads it", () => {
    expect(signer.line(sid(), cookie())).toBe(`sid=${signed(SID)}; Path=/; HttpOnly`);
  });

  test("all settings", () => {
    const settings = {
      path: "/a",
      domain: "example.com",
      secure: true,
      sameSite: "none",
      partitioned: true,
      priority: "high",
    } as const;
    expect(signer.line(sid(), cookie({ ...settings, httpOnly: false }))).toMatch(
      /; Domain=example.com; Path=\/a; Secure; Partitioned; Priority=High; SameSite=None$/,
    );
    expect(signer.line(sid(), cookie({ sameSite: true, maxAge: 5000 }))).toMatch(
      /; Expires=[A-Z].* GMT; HttpOnly; SameSite=Strict$/,
    );
    expect(signer.line(sid(), cookie({ sameSite: false }))).not.toContain("SameSite");
  });

  test("auto: as the connection is", () => {
    expect([new SessionCookie({ secure: "auto", sameSite: "auto" }, true)]).toMatchObject([{ secure: true, sameSite: "none" }]);
    expect([cookie({ secure: "auto", sameSite: "auto" })]).toMatchObject([{ secure: false, sameSite: "lax" }]);
  });

  test("cleared with the same path and domain", () => {
    const line = signer.clearing(cookie({ path: "/a", domain: "example.com", maxAge: 5000 }));
    expect(line).toBe("sid=; Domain=example.com; Path=/a; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly");
  });

  test("over 4,096 bytes it is refused", () => {
    expect(() => signer.line(sid(), cookie({ path: `/${"a".repeat(4096)}` }))).toThrow(/has \d+ bytes; browsers take 4096/);
  });

  test.each<[string, string, object]>([
    ["__Host- without secure", "__Host-sid", {}],
    ["__Host- with a domain", "__Host-sid", { secure: true, domain: "example.com" }],
    ["__Host- with a path", "__host-sid", { secure: true, path: "/a" }],
    ["__Secure- without secure", "__Secure-sid", { secure: "auto" }],
    ["a name with a space", "s id", {}],
    ["a path that ends the attribute", "sid", { path: "/; Domain=evil.example" }],
    ["a domain that isn't one", "sid", { domain: "a;b" }],
    ["an unknown sameSite", "sid", { sameSite: "some" }],
    ["an unknown priority", "sid", { priority: "urgent" }],
  ])("refused: %s", (_, name, settings) => {
    expect(() => checkCookie(name, settings)).toThrow(expect.objectContaining({ code: "OPTION_INVALID" }));
  });
});

describe("session.cookie", () => {
  test("maxAge and expires tell each other, and originalMaxAge", () => {
    const one = cookie();
    expect([one.maxAge, one.expires, one.originalMaxAge]).toEqual([null, null, null]);
    one.maxAge = 60_000;
    expect(one.originalMaxAge).toBe(60_000);
    expect(one.expires?.getTime()).toBeGreaterThan(Date.now() + 59_000);
    one.expires = new Date(Date.now() + 30_000);
    expect(one.originalMaxAge).toBeGreaterThan(29_000);
    one.expires = false;
    expect([one.maxAge, one.originalMaxAge]).toEqual([null, null]);
    expect(JSON.parse(JSON.stringify(one))).toEqual({ originalMaxAge: null, expires: null, httpOnly: true, path: "/" });
  });
});
