/** Replies of the verbs on holders; lua/holders.lua has the layout. */
import { isVersion } from "../../names.js";
import type { Attached, Gone, Holder } from "../engine.js";
import { holderOf } from "../holders.js";
import { header } from "./value.js";

/** nodeId and facts in turn. */
export function holdersOf(reply: unknown): Holder[] {
  const texts = Array.isArray(reply) ? reply.map(String) : [];
  const holders = texts.map((nodeId, i) => (i % 2 === 0 ? holderOf(nodeId, texts[i + 1] ?? "") : undefined));
  return holders.filter((holder) => holder !== undefined);
}

/** What lua/attach-2.lua gives: the record's facts, or the header of what is there instead. */
export function attached(reply: unknown): Attached | Gone {
  const [version, idleAt, now] = Array.isArray(reply) ? reply.map(Number) : [];
  if (version !== undefined && isVersion(version)) {
    return { outcome: "attached", version, idleAt: Number(idleAt), now: Number(now) };
  }
  const facts = header(reply);
  return "outcome" in facts ? facts : { outcome: "gone", ended: false };
}
