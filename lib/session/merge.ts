/**
 * The three-way merge: what I loaded, what I made of it, what is there now. The unit is the attribute: never deep, never concatenating.
 * Changes to different attributes both survive, deletions included. What happens to one attribute that both changed is the policy's say.
 */
import { AnynodeError } from "../errors.js";
import { type AttributeTexts, type Changes, textOf } from "./attributes.js";

/** What a merge function sees of an attribute that two requests changed. Values are parsed copies; undefined = absent. */
export interface Clash {
  readonly name: string;
  /** As it was when this request loaded it. */
  readonly base: unknown;
  /** What this request wants. */
  readonly mine: unknown;
  /** What another request has stored meanwhile. */
  readonly theirs: unknown;
}
/**
 * Gives the value to store; undefined removes the attribute. Synchronous and pure: it may run again. Asked whenever others changed the
 * attribute too, be it to the same value. So a counter may merge as `({ base, mine, theirs }) => theirs + mine - base`.
 */
export type MergeFunction = (clash: Clash) => unknown;
/** `last`: the last writer's value stays (counted and reported). `reject`: CONFLICT, status 409, nothing is stored. */
export type ConflictPolicy = "last" | "reject" | MergeFunction;

export interface Merged {
  readonly attributes: AttributeTexts;
  /** Names of the attributes that both sides had changed, to different ends. */
  readonly conflicts: readonly string[];
}

/** Applies `changes` to what is there now. Throws CONFLICT under "reject", and whatever a merge function throws. */
export function merge(theirs: AttributeTexts, changes: Changes, policy: ConflictPolicy): Merged {
  if (changes.size === 0) return { attributes: theirs, conflicts: [] };
  const attributes = new Map(theirs);
  const conflicts: string[] = [];
  for (const [name, { base, mine }] of changes) {
    const there = theirs.get(name);
    let text = mine;
    // A function is asked even if both want the same: two requests that each counted from 3 to 4 mean 5.
    if (there !== base && (there !== mine || typeof policy === "function")) {
      if (there !== mine) conflicts.push(name);
      if (policy === "reject") {
        throw new AnynodeError(
          "CONFLICT",
          'Another request changed the same attribute (conflict: "reject"). Load the session again.',
        );
      }
      if (policy !== "last") text = settled(policy, { name, base: parse(base), mine: parse(mine), theirs: parse(there) });
    }
    if (text === undefined) attributes.delete(name);
    else attributes.set(name, text);
  }
  return { attributes, conflicts };
}

function settled(policy: MergeFunction, clash: Clash): string | undefined {
  const value = policy(clash);
  if (value instanceof Promise) {
    value.catch(() => {});
    throw new AnynodeError("OPTION_INVALID", "The merge function (conflict) returned a promise; it must be synchronous.");
  }
  return textOf(clash.name, value);
}

function parse(text: string | undefined): unknown {
  return text === undefined ? undefined : JSON.parse(text);
}
