/** The public face of anynode: sessions that any node behind a plain round-robin load balancer can serve. */
import { openEngine } from "./engines/open.js";
import { type AnynodeOptions, settingsOf } from "./options.js";
import { Sessions } from "./sessions.js";

/**
 * Makes this process a node: opens the engine, joins the registry, and returns the sessions that the front ends share.
 * Throws OPTION_INVALID for options that can't work; what only shows on the way (an unreachable engine …) comes from `ready()`.
 */
export function anynode(options: AnynodeOptions = {}): Sessions {
  const settings = settingsOf(options);
  const { engine } = settings;
  return typeof engine === "string"
    ? new Sessions(openEngine(engine, settings), true, settings)
    : new Sessions(engine, false, settings);
}

export type { EndResult } from "./ends.js";
export type { Engine } from "./engines/engine.js";
export { AnynodeError, type ErrorCode } from "./errors.js";
export type { EventMap, EventName } from "./events.js";
export type { AnynodeOptions } from "./options.js";
export type { Handle } from "./people.js";
export type { Dispose, DisposeReason, Hold, HoldOptions } from "./registry/hold.js";
export type { Node } from "./registry/node.js";
export type { Registry } from "./registry/registry.js";
export type { Socket } from "./registry/socket.js";
export type { RecordedOptions } from "./session/client.js";
export type { Keyring, KeyringEntry, KeyringKey } from "./session/keyring.js";
export type { Clash, ConflictPolicy, MergeFunction } from "./session/merge.js";
export type { Sessions } from "./sessions.js";
export type { UpdateOutcome } from "./write-path.js";
