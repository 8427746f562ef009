/**
 * The HTTP suite: what visitors of an application see of its sessions, whatever the host and the engine. Two nodes serve every visitor.
 * Where hosts differ, test/support/app/hosts.ts says so; a test for what only some hosts have is declared with `only`.
 */
import type { Host } from "../support/app/hosts.js";
import type { MediumKind } from "../support/media.js";
import { ends } from "./ends.js";
import { faults } from "./faults.js";
import { life } from "./life.js";
import { sharing } from "./sharing.js";
import { stageFor } from "./stage.js";

export function httpSuite(host: Host, kind: MediumKind): void {
  const stage = stageFor(host, kind);
  for (const part of [sharing, ends, life, faults]) part(stage);
}
