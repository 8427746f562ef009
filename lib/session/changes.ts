/** Arithmetic of changes: what is left of them, and what attributes become by them. */
import type { AttributeTexts, Change, Changes } from "./attributes.js";

/** What is left to store of `wanted` when `stored` is stored already; both are told from the same base on. */
export function since(stored: Changes, wanted: Changes): Changes {
  if (stored.size === 0) return wanted;
  const left = new Map<string, Change>();
  for (const [name, { base, mine }] of wanted) {
    const before = stored.get(name);
    const there = before === undefined ? base : before.mine;
    if (there !== mine) left.set(name, { base: there, mine });
  }
  for (const [name, { base, mine }] of stored) if (!wanted.has(name)) left.set(name, { base: mine, mine: base });
  return left;
}

export function withChanges(texts: AttributeTexts, changes: Changes): AttributeTexts {
  const all = new Map(texts);
  for (const [name, { mine }] of changes) {
    if (mine === undefined) all.delete(name);
    else all.set(name, mine);
  }
  return all;
}
