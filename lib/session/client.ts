/**
 * What is recorded of the client that signed in, if anything: to show a person their sessions, and to notice when one goes on from elsewhere.
 * Addresses may be cut to their network: enough to tell two places apart, not enough to tell two people.
 */
import { createHash } from "node:crypto";

/** What is recorded at sign-in. Default: nothing. */
export interface RecordedOptions {
  /** `"truncated"`: the network alone, /24 of an IPv4 and /48 of an IPv6 address. */
  readonly address?: "truncated" | boolean | undefined;
  /** The browser's User-Agent, its first 256 characters. */
  readonly agent?: boolean | undefined;
}

/** A client as a front end sees it. */
export interface Client {
  readonly address?: string | undefined;
  readonly agent?: string | undefined;
}

const MAX_CHARACTERS = 256;
const IPV4 = /^(?:::ffff:)?(\d{1,3}\.\d{1,3}\.\d{1,3})\.\d{1,3}$/i;

/** What of a client is recorded; "" = nothing. */
export function recordedOf(
  client: Client,
  { address, agent }: RecordedOptions,
): { readonly address: string; readonly agent: string } {
  const given = client.address ?? "";
  return {
    address: address === "truncated" ? networkOf(given) : address === true ? given.slice(0, MAX_CHARACTERS) : "",
    agent: agent === true ? (client.agent ?? "").slice(0, MAX_CHARACTERS) : "",
  };
}

/** `203.0.113.9` → `203.0.113.0`, `2001:db8:1:2::3` → `2001:db8:1::`; "" for what is neither. */
export function networkOf(address: string): string {
  const v4 = IPV4.exec(address)?.[1];
  if (v4 !== undefined) return `${v4}.0`;
  if (!/^[0-9a-f:.]+(%.*)?$/i.test(address) || !address.includes(":")) return "";
  const [head = "", tail] = address.toLowerCase().split("::");
  const groups = head === "" ? [] : head.split(":");
  // What "::" stands for is zeros; the first three groups are the network.
  const first = tail === undefined ? groups : [...groups, "0", "0", "0"];
  return `${first
    .slice(0, 3)
    .map((group) => group.replace(/^0+(?=.)/, ""))
    .join(":")}::`;
}

/** What a session's header keeps of it: enough to notice a change, nothing to read. "" = nothing was recorded. */
export function digestOf({ address, agent }: { readonly address: string; readonly agent: string }): string {
  return address === "" && agent === "" ? "" : `${short(address)}.${short(agent)}`;
}

/** Which of the recorded properties aren't what they were at sign-in. */
export function changedSince(digest: string, now: { readonly address: string; readonly agent: string }): ("address" | "agent")[] {
  const [address = "", agent = ""] = digest.split(".");
  const changed: ("address" | "agent")[] = [];
  if (address !== "" && address !== short(now.address)) changed.push("address");
  if (agent !== "" && agent !== short(now.agent)) changed.push("agent");
  return changed;
}

function short(text: string): string {
  return text === "" ? "" : createHash("sha256").update(`anynode client 1\n${text}`).digest("base64url").slice(0, 8);
}
