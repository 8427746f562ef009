/** How a session's header begins, and what a front end may say of it later. */
import { type Header, NOBODY } from "./record.js";

/** How long a session of somebody who signed in lives at the most, if the options don't say; under native front ends, any session. */
export const ABSOLUTE_MS = 30 * 86_400_000;

/** What a front end may say of a session besides its attributes; what it leaves out stays. */
export interface HeaderPatch {
  /** The idle timeout; "default" = that of the options. */
  readonly idleMs?: number | "default";
  readonly cookie?: string;
  /** A session that begins has an absolute deadline: that of the options, or 30 days. */
  readonly isBounded?: boolean;
}

/** Of nobody's session, which begins at `createdAt`. `absoluteMs` 0 = it may live for ever. */
export function freshHeader(createdAt: number, idleMs: number, absoluteMs: number): Header {
  const absoluteAt = absoluteMs > 0 ? createdAt + absoluteMs : 0;
  return { createdAt, absoluteAt, idleMs, ...NOBODY, cookie: "", movedTo: "" };
}

/** The header itself if the patch changes nothing. `defaultMs`: the idle timeout of the options. */
export function patched(
  header: Header,
  { idleMs = header.idleMs, cookie = header.cookie }: HeaderPatch,
  defaultMs: number,
): Header {
  const ms = idleMs === "default" ? defaultMs : idleMs;
  return ms === header.idleMs && cookie === header.cookie ? header : { ...header, idleMs: ms, cookie };
}
