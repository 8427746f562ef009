/**
 * The Lua verbs, one file each, named <verb>-<number of keys>.lua ("n": as many as the caller says); the head of each file is its contract.
 * A server that doesn't know a script (it restarted, or its scripts were flushed) is given it once, and asked once more.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Argument } from "./client.js";
import { replyCode } from "./failure.js";

/** Which shared heads stand in front of which verb. */
const HEADS = {
  "fill-2": ["record"],
  "answer-n": ["record"],
  "create-4": ["record", "copies"],
  "commit-3": ["record", "copies"],
  "touch-2": ["record"],
  "end-4": ["record", "copies", "holders"],
  "regenerate-4": ["record", "copies", "holders"],
  "attach-2": ["record"],
  "detach-1": [],
  "holders-2": ["record"],
  "join-4": ["registry"],
  "beat-4": ["registry"],
  "leave-4": ["registry"],
  "nodes-3": ["registry"],
  "ended-before-3": ["registry"],
} as const;
export type Verb = keyof typeof HEADS;

interface Script {
  readonly text: string;
  readonly sha: string;
  readonly keyCount: string;
  /** Several commands that meet the gap at once share one load. */
  loading: Promise<unknown> | undefined;
}

export class Scripts {
  readonly #call: (args: Argument[]) => Promise<unknown>;
  readonly #scripts = new Map<Verb, Script>();

  constructor(call: (args: Argument[]) => Promise<unknown>) {
    this.#call = call;
  }

  async run(verb: Verb, keysAndArguments: readonly Argument[], keys?: number): Promise<unknown> {
    const script = this.#script(verb);
    const command = ["EVALSHA", script.sha, keys === undefined ? script.keyCount : String(keys), ...keysAndArguments];
    try {
      return await this.#call(command);
    } catch (error) {
      // The only error after which a command is sent again: it says that nothing ran.
      if (replyCode(error) !== "NOSCRIPT") throw error;
    }
    script.loading ??= this.#call(["SCRIPT", "LOAD", script.text]).finally(() => {
      script.loading = undefined;
    });
    await script.loading;
    return this.#call(command);
  }

  #script(verb: Verb): Script {
    const known = this.#scripts.get(verb);
    if (known !== undefined) return known;
    const read = (name: string) => readFileSync(join(__dirname, "lua", `${name}.lua`), "utf8");
    const text = [...HEADS[verb], verb].map(read).join("");
    const sha = createHash("sha1").update(text).digest("hex");
    const script: Script = { text, sha, keyCount: verb.slice(verb.lastIndexOf("-") + 1), loading: undefined };
    this.#scripts.set(verb, script);
    return script;
  }
}
