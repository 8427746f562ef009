/** One node of a fleet in this process: Sessions over an engine that the test made, on a clock that the test moves. */
import type { Engine } from "../../lib/engines/engine.js";
import type { Sid } from "../../lib/names.js";
import { type AnynodeOptions, settingsOf } from "../../lib/options.js";
import { type AttributeTexts, changesBetween, textsOf } from "../../lib/session/attributes.js";
import { makeSid } from "../../lib/session/id.js";
import type { Loaded } from "../../lib/session/record.js";
import { Sessions } from "../../lib/sessions.js";

export function aNode(engine: Engine, options: Omit<AnynodeOptions, "engine"> = {}): Sessions {
  return new Sessions(engine, false, settingsOf({ engine, ...options }));
}

/** A stored session with these attributes. */
export async function stored(node: Sessions, attributes: object = {}): Promise<Sid> {
  const sid = makeSid();
  const { outcome } = await node.replace(sid, textsOf(attributes));
  if (outcome !== "committed") throw new Error(outcome);
  return sid;
}

export async function loadedOf(node: Sessions, sid: string): Promise<Loaded> {
  const loaded = await node.load(sid);
  if (loaded === undefined) throw new Error("There is no such session.");
  return loaded;
}

/** The attributes of a session as they are now; undefined if there is none. */
export async function valuesOf(node: Sessions, sid: string): Promise<Record<string, unknown> | undefined> {
  const loaded = await node.load(sid);
  return loaded === undefined ? undefined : parsed(loaded.record.attributes);
}

export function parsed(texts: AttributeTexts): Record<string, unknown> {
  return Object.fromEntries([...texts].map(([name, text]) => [name, JSON.parse(text)]));
}

/** What a request does that loaded a session: it sets some attributes (undefined removes one) and saves. */
export async function saveOf(node: Sessions, loaded: Loaded, set: Record<string, unknown>) {
  const mine = textsOf({ ...parsed(loaded.record.attributes), ...set });
  return node.save(loaded, changesBetween(loaded.record.attributes, mine));
}
