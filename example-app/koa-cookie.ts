/**
 * Lets koa-session read and write express-session's cookie, `connect.sid` = `s:<id>.<signature>`, so that a visit that began on an
 * Express node goes on at a Koa node. anynode's native front ends for Express and Koa, once they are there, share a cookie without this.
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type { Context } from "koa";

export const COOKIE = "connect.sid";

/** Options for koa-session. */
export function expressCookie(secret: string) {
  function seal(id: string): string {
    const signature = createHmac("sha256", secret).update(id).digest("base64").replace(/=+$/, "");
    return `s:${id}.${signature}`;
  }

  return {
    key: COOKIE,
    signed: false, // Koa's way of signing would add a second cookie
    genid: () => randomBytes(24).toString("base64url"), // as express-session makes them
    externalKey: {
      /** The id in the cookie, or "" (none). */
      get(ctx: Pick<Context, "cookies">): string {
        const value = decode(ctx.cookies.get(COOKIE) ?? "");
        const id = value.slice(2, Math.max(2, value.lastIndexOf(".")));
        return same(value, seal(id)) ? id : "";
      },
      set(ctx: Context, id: string): void {
        ctx.cookies.set(COOKIE, encodeURIComponent(seal(id)), {
          signed: false,
          httpOnly: true,
          sameSite: "lax",
          overwrite: true,
        });
      },
    },
  };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}

function same(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
