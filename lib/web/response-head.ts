/**
 * The head of a response: status and headers, taken down and put back, read as sent while they aren't, and our cookie among them.
 */

export type Method = (...args: unknown[]) => unknown;
/** The members of node's responses, HTTP/1 and HTTP/2, that this relies on. */
export interface NodeResponse {
  statusCode: number;
  statusMessage?: string | undefined;
  /** HTTP/1 only: the head as it is sent. While it is set node says that headers were sent, and refuses to change them. */
  _header?: string | null;
  readonly headersSent: boolean;
  readonly writableEnded: boolean;
  writeHead: Method;
  write: Method;
  end: Method;
  flushHeaders: Method;
  getHeader(name: string): unknown;
  getHeaders(): Record<string, unknown>;
  getHeaderNames(): string[];
  setHeader(name: string, value: unknown): unknown;
  removeHeader(name: string): unknown;
  emit(event: string): boolean;
  once(event: string, listener: () => void): unknown;
}
const HEAD_HELD = "held by anynode";

export interface Head {
  readonly status: number;
  readonly message: string | undefined;
  readonly headers: Record<string, unknown>;
}

export function headOf(response: NodeResponse): Head {
  const headers = response.getHeaders();
  for (const name in headers) {
    // appendHeader grows the very array.
    const value = headers[name];
    if (Array.isArray(value)) headers[name] = [...value];
  }
  return { status: response.statusCode, message: isHttp1(response) ? response.statusMessage : undefined, headers };
}

export function restore(response: NodeResponse, { status, message, headers }: Head): void {
  for (const name of response.getHeaderNames()) if (!(name in headers)) response.removeHeader(name);
  for (const name in headers) if (!isSame(response.getHeader(name), headers[name])) response.setHeader(name, headers[name]);
  response.statusCode = status;
  if (isHttp1(response)) response.statusMessage = message;
}

function isSame(a: unknown, b: unknown): boolean {
  return a === b || (Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((item, i) => item === b[i]));
}

function isHttp1(response: NodeResponse): boolean {
  return Object.hasOwn(response, "_header");
}

/** HTTP/2's has no socket then; a later one of a connection, on HTTP/1, has none yet. */
export function isClosed(response: NodeResponse): boolean {
  return isHttp1(response) ? Reflect.get(response, "destroyed") === true : !Reflect.get(response, "socket");
}

/** Makes headers read as sent. */
export function hideHead(response: NodeResponse): void {
  if (isHttp1(response)) response._header = HEAD_HELD;
  else Object.defineProperty(response, "headersSent", { value: true, configurable: true });
}
/** Makes it read as ended: whoever asks must not end it a second time. */
export function hideEnd(response: NodeResponse): void {
  Object.defineProperty(response, "writableEnded", { value: true, configurable: true });
}
export function showHead(response: NodeResponse): void {
  Reflect.deleteProperty(response, "writableEnded");
  if (!isHttp1(response)) Reflect.deleteProperty(response, "headersSent");
  else if (response._header === HEAD_HELD) response._header = null;
}

/** Adds the cookie, and sees to it that no cache that people share keeps the response: it would give one person's session to others. */
export function addCookie(response: NodeResponse, line: string): void {
  response.setHeader("Cache-Control", unshared(response.getHeader("Cache-Control")));
  response.setHeader("Vary", byCookie(response.getHeader("Vary")));
  const before = response.getHeader("Set-Cookie");
  response.setHeader(
    "Set-Cookie",
    Array.isArray(before) ? [...before, line] : before === undefined ? line : [String(before), line],
  );
}

/** Takes back a line that `addCookie` added. */
export function removeCookie(response: NodeResponse, line: string): void {
  const rest = [response.getHeader("Set-Cookie")].flat().filter((one) => one !== undefined && one !== line);
  if (rest.length === 0) response.removeHeader("Set-Cookie");
  else response.setHeader("Set-Cookie", rest);
}

/** Headers that are given to writeHead take the place of those set before: ours go with them. */
export function withCookie(headers: unknown, line: string): unknown {
  if (Array.isArray(headers)) {
    const pairs = pairsOf(headers).map(([name, value]) => [name, withOurs(String(name), value)]);
    const cookie = pairs.find(([name]) => lower(name) === "set-cookie");
    return [...pairs.flat(), ...(cookie === undefined ? [] : [cookie[0], line])];
  }
  if (typeof headers !== "object" || headers === null) return headers;
  const entries = Object.entries(headers).map(([name, value]): [string, unknown] => {
    if (lower(name) === "set-cookie") return [name, [...(Array.isArray(value) ? value : [value]), line]];
    return [name, withOurs(name, value)];
  });
  return Object.fromEntries(entries);
}

function pairsOf(flat: readonly unknown[]): [unknown, unknown][] {
  return flat.flatMap((name, i): [unknown, unknown][] => (i % 2 === 0 ? [[name, flat[i + 1]]] : []));
}

function withOurs(name: string, value: unknown): unknown {
  if (lower(name) === "cache-control") return unshared(value);
  return lower(name) === "vary" ? byCookie(value) : value;
}

/** A Cache-Control that forbids shared caches; the application's own, if that does. */
function unshared(given: unknown): string {
  const directives = textsOf(given);
  if (directives.some((one) => /^(no-store|private)$/i.test(one))) return directives.join(", ");
  const others = directives.filter((one) => !/^(public$|s-maxage)/i.test(one));
  return others.length === 0 ? "no-store" : ["private", ...others].join(", ");
}

function byCookie(given: unknown): string {
  const names = textsOf(given);
  return names.some((name) => name === "*" || lower(name) === "cookie") ? names.join(", ") : [...names, "Cookie"].join(", ");
}

/** The parts of a header's value, however it was given. */
function textsOf(value: unknown): string[] {
  const texts = Array.isArray(value) ? value.map(String) : value === undefined || value === null ? [] : [String(value)];
  return texts.flatMap((text) => text.split(",")).flatMap((text) => text.trim() || []);
}

function lower(name: unknown): string {
  return String(name).toLowerCase();
}
