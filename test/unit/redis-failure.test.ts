/** What a Redis client's error stands for: the texts are Redis' own, from 6.2 and 7.0. */
import { inspect } from "node:util";
import { failure, NotSent, replyCode } from "../../lib/engines/redis/failure.js";
import { AnynodeError } from "../../lib/errors.js";

const sentAndRefused = [
  ["OOM command not allowed when used memory > 'maxmemory'.", "OOM", "ENGINE_FULL"],
  ["OOM command not allowed when used memory > 'maxmemory'. script: 5f, on @user_script:40.", "OOM", "ENGINE_FULL"],
  [
    "ERR Error running script (call to f_5f): @user_script:40: @user_script: 40: -OOM command not allowed when used memory > 'maxmemory'.",
    "OOM",
    "ENGINE_FULL",
  ],
  [
    "ERR Error running script (call to f_5f): @user_script:6: @user_script: 6: -READONLY You can't write against a read only replica.",
    "READONLY",
    "ENGINE_UNAVAILABLE",
  ],
  ["READONLY You can't write against a read only replica.", "READONLY", "ENGINE_UNAVAILABLE"],
  ["LOADING Redis is loading the dataset in memory", "LOADING", "ENGINE_UNAVAILABLE"],
  ["NOREPLICAS Not enough good replicas to write.", "NOREPLICAS", "ENGINE_UNAVAILABLE"],
  ["MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "MASTERDOWN", "ENGINE_UNAVAILABLE"],
  ["NOAUTH Authentication required.", "NOAUTH", "ENGINE_UNAVAILABLE"],
  ["BUSY Redis is busy running a script.", "BUSY", "ENGINE_UNAVAILABLE"],
  ["ERR something else", "ERR", "ENGINE_UNAVAILABLE"],
  ["WRONGTYPE Operation against a key holding the wrong kind of value", "WRONGTYPE", "RECORD_UNREADABLE"],
] as const;

test.each(sentAndRefused)("an error reply: nothing was stored (%s)", (message, code, expected) => {
  expect(replyCode(new Error(message))).toBe(code);
  expect(failure(new Error(message)).code).toBe(expected);
});

test.each(["Socket closed unexpectedly", "Connection is closed.", "read ECONNRESET", "EPIPE broken", ""])(
  "a connection that broke after sending: unknown (%j)",
  (message) => {
    const error = failure(Object.assign(new Error(message), { errno: -32, syscall: "write" }));
    expect(error.code).toBe("ENGINE_TIMEOUT");
    expect(error.message).toContain("may or may not have happened");
  },
);

test("not sent: nothing happened, and the reason is told", () => {
  const error = failure(new NotSent("not connected", { cause: new Error("connect ECONNREFUSED 10.0.0.1:6379") }));
  expect(error.code).toBe("ENGINE_UNAVAILABLE");
  expect(error.message).toContain("connect ECONNREFUSED 10.0.0.1:6379");
  expect(
    failure(new NotSent("not connected", { cause: new Error("WRONGPASS invalid username-password pair") })).message,
  ).toContain("the password");
});

test("an AnynodeError stays itself", () => {
  const error = new AnynodeError("CLOSED", "closed");
  expect(failure(error)).toBe(error);
});

test("what clients hang on their errors doesn't leave", () => {
  const unknown = new Error("ERR unknown command 'EVALSHA', with args beginning with: '5f' '1' 'anynode:{tag}secret' ");
  const withCommand = Object.assign(new Error("OOM command not allowed"), { command: { name: "EVALSHA", args: ["secret"] } });
  for (const error of [unknown, withCommand]) {
    const wrapped = failure(error);
    expect(wrapped.cause).toBeInstanceOf(Error);
    expect(inspect(wrapped, { depth: 10, showHidden: true })).not.toContain("secret");
  }
});
