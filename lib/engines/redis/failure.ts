/**
 * What a Redis client's error means: nothing happened (ENGINE_UNAVAILABLE, ENGINE_FULL), or nobody knows (ENGINE_TIMEOUT).
 * The invariant: whatever was sent and not answered is unknown, and no key, payload or password leaves in a message or a cause.
 */
import { types } from "node:util";
import { AnynodeError, type ErrorCode } from "../../errors.js";

/** The command wasn't sent: there is no connection. `cause` says why. */
export class NotSent extends Error {
  override readonly name = "NotSent";
}

/** The code of an error reply, e.g. NOSCRIPT; undefined if the error isn't the server's. A code is protocol, unlike the prose behind it. */
export function replyCode(error: unknown): string | undefined {
  // Not instanceof: under Jest, Node's own errors are of another realm.
  if (!types.isNativeError(error) || "errno" in error || "syscall" in error) return undefined;
  const code = /^-?([A-Z]{2,}) /.exec(error.message)?.[1];
  // Redis 6.2 wraps what a command inside a script was refused with.
  return code === "ERR" ? (/@user_script: ?\d+: -?([A-Z]{3,}) /.exec(error.message)?.[1] ?? code) : code;
}

const REFUSALS: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  OOM: ["ENGINE_FULL", "Redis has reached maxmemory. Nothing was stored. Give it more memory, or an eviction policy."],
  READONLY: ["ENGINE_UNAVAILABLE", "This Redis is a replica: it refuses writes. Point the URL at the primary."],
  NOREPLICAS: ["ENGINE_UNAVAILABLE", "Redis has fewer replicas than min-replicas-to-write asks for, and refuses writes."],
  LOADING: ["ENGINE_UNAVAILABLE", "Redis is still loading its data. Try again when it is up."],
  NOAUTH: ["ENGINE_UNAVAILABLE", "Redis asks for a password. Put it into the URL: redis://user:password@host."],
  WRONGPASS: ["ENGINE_UNAVAILABLE", "Redis refuses the user name or the password. Correct them in the URL."],
  NOPERM: [
    "ENGINE_UNAVAILABLE",
    "Redis refuses this user a command, a key or a channel (ACL). Give it the rules that aclRules() of anynode/redis tells.",
  ],
  WRONGTYPE: ["RECORD_UNREADABLE", "Another application's value lies under a key of ours. Give anynode a prefix of its own."],
};

/** The AnynodeError that a client's error stands for. An AnynodeError stays itself. */
export function failure(error: unknown): AnynodeError {
  if (error instanceof AnynodeError) return error;
  const origin = error instanceof NotSent && error.cause !== undefined ? error.cause : error;
  const cause = withoutArguments(origin);
  const code = replyCode(origin);
  const refusal = code === undefined ? undefined : REFUSALS[code];
  if (refusal !== undefined) return new AnynodeError(refusal[0], refusal[1], { cause });
  if (code !== undefined) return new AnynodeError("ENGINE_UNAVAILABLE", `Redis refused the command (${code}).`, { cause });
  if (error instanceof NotSent) {
    const why = types.isNativeError(cause) && cause.message !== "" ? ` (${cause.message.replace(/\.$/, "")})` : "";
    return new AnynodeError(
      "ENGINE_UNAVAILABLE",
      `Redis isn't connected${why}. Nothing was sent. See that Redis runs and answers, and that its URL is right.`,
      { cause },
    );
  }
  return new AnynodeError(
    "ENGINE_TIMEOUT",
    "The connection to Redis broke before the reply came. What was asked may or may not have happened.",
    { cause },
  );
}

/** A copy without what clients hang on their errors: the command's arguments, as a property or quoted in the message. */
function withoutArguments(error: unknown): unknown {
  if (!types.isNativeError(error)) return undefined;
  const code = "code" in error && typeof error.code === "string" ? error.code : undefined;
  // The message of an AggregateError (localhost has two addresses) is empty.
  const message = error.message.replace(/,? with args beginning with:.*$/s, "") || code || "";
  const copy = new Error(message);
  copy.name = error.name;
  return code === undefined ? copy : Object.assign(copy, { code });
}
