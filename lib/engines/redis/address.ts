/**
 * A Redis URL, taken apart: `redis://user:password@host:port/database`, `rediss://…` for TLS,
 * `redis+unix:///path/to/socket?db=0` for a socket (with credentials: `redis+unix://user:password@localhost/path`). No error ever shows the URL: it may hold a password.
 */
import type { ConnectionOptions } from "node:tls";
import { AnynodeError } from "../../errors.js";

export interface Address {
  /** `tls`: encrypted, with what else `node:tls` shall know. */
  readonly place:
    | { readonly host: string; readonly port: number; readonly tls: ConnectionOptions | undefined }
    | { readonly path: string };
  readonly username?: string;
  readonly password?: string;
  readonly database: number;
}

export function parseAddress(text: string): Address {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined) throw wrong("can't be parsed (is a special character of the password not percent-encoded?)");
  const identity = {
    ...(url.username === "" ? {} : { username: decode(url.username) }),
    ...(url.password === "" ? {} : { password: decode(url.password) }),
  };
  if (url.protocol === "redis+unix:") {
    if ((url.host !== "" && url.host !== "localhost") || url.pathname.length < 2) throw wrong("names no absolute socket path");
    return { place: { path: decode(url.pathname) }, ...identity, database: databaseNumber(url.searchParams.get("db") ?? "") };
  }
  if (url.protocol !== "redis:" && url.protocol !== "rediss:") throw wrong(`begins with ${url.protocol}`);
  const place = {
    host: url.hostname === "" ? "localhost" : url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: url.port === "" ? 6379 : Number(url.port),
    tls: url.protocol === "rediss:" ? {} : undefined,
  };
  return { place, ...identity, database: databaseNumber(url.pathname.slice(1)) };
}

function databaseNumber(text: string): number {
  if (!/^\d{0,5}$/.test(text)) throw wrong("names a database that isn't a number");
  return Number(text);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw wrong("has a % that encodes nothing");
  }
}

function wrong(what: string): AnynodeError {
  return new AnynodeError(
    "OPTION_INVALID",
    `The Redis URL ${what}. Use redis://user:password@host:6379/0, rediss:// for TLS, or redis+unix:///path/to/redis.sock.`,
  );
}
