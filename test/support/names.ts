/** Keys and node ids for tests of engines. */
import { isKey, isNodeId, type Key, type NodeId } from "../../lib/names.js";

/** A key of its own for each `name`; all have the same tag. */
export function keyFor(name: string | number): Key {
  const key = `{test}${String(name).padStart(22, "0")}`;
  if (!isKey(key)) throw new TypeError(`not a key: ${key}`);
  return key;
}

export function nodeIdFor(name: string | number): NodeId {
  const id = String(name).padStart(8, "0");
  if (!isNodeId(id)) throw new TypeError(`not a node id: ${id}`);
  return id;
}
