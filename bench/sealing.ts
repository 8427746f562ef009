/**
 * What sealing adds to a record, in process: the CPU time of encoding it, and of decoding it, with a key, less that without. Interleaved,
 * by records of 1 and of 16 KB, so that what a record costs whatever its size is told from what each kilobyte costs.
 */
import { Codec } from "../lib/session/codec.js";
import { keyOf, makeSid } from "../lib/session/id.js";
import { Keyring, membersOf } from "../lib/session/keyring.js";
import { NOBODY, type SessionRecord } from "../lib/session/record.js";
import { randomText } from "./contents.js";
import { type Interval, interval } from "./ratio.js";

export interface Sealing {
  readonly verb: "seal" | "open";
  /** What it adds to a record of 1 KB, in all. */
  readonly firstMicros: Interval;
  /** What each kilobyte more adds. */
  readonly furtherMicros: Interval;
}

const KEY = keyOf(makeSid(), "bench");
const NAMESPACE = "bench";
const MAX_BYTES = 1_048_576;
const [SMALL, LARGE] = [1, 16];

export function sealing({ rounds, repeats }: { rounds: number; repeats: number }): Sealing[] {
  const plain = new Codec(MAX_BYTES, NAMESPACE, new Keyring([]));
  const sealed = new Codec(MAX_BYTES, NAMESPACE, new Keyring(membersOf([{ id: "2030-01", key: Buffer.alloc(32, 7) }])));
  const verbs = {
    seal: (codec: Codec, record: SessionRecord) => () => codec.encode(record, KEY),
    open: (codec: Codec, record: SessionRecord) => {
      const body = codec.encode(record, KEY);
      return () => codec.decode(body, KEY);
    },
  };
  return (["seal", "open"] as const).map((verb) => {
    const tasks = [SMALL, LARGE].map((kilobytes) => {
      const record = recordOf(kilobytes);
      return { with: verbs[verb](sealed, record), without: verbs[verb](plain, record) };
    });
    const added = () => tasks.map((task) => microsOf(task.with, repeats) - microsOf(task.without, repeats));
    added();
    const pairs = Array.from({ length: rounds }, added);
    return {
      verb,
      firstMicros: interval(pairs.map(([small = Number.NaN]) => small)),
      furtherMicros: interval(pairs.map(([small = Number.NaN, large = Number.NaN]) => (large - small) / (LARGE - SMALL))),
    };
  });
}

/** Each. */
function microsOf(task: () => unknown, repeats: number): number {
  const before = process.cpuUsage();
  for (let i = 0; i < repeats; i++) task();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / repeats;
}

/** Hardly compressible; what compressing costs, it costs with a key and without. */
function recordOf(kilobytes: number): SessionRecord {
  const header = { createdAt: 1, absoluteAt: 0, idleMs: 1, ...NOBODY, cookie: "", movedTo: "" } as const;
  return { header, attributes: new Map([["text", JSON.stringify(randomText(kilobytes * 1_024))]]) };
}
