/**
 * The protocol's model (model/README.md), checked by SPIN: with all rules it holds, and without any one of them it fails.
 * ANYNODE_FULL=1 takes the wider bounds.
 */
import { execFile, execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";

const MODEL = resolve(__dirname, "../../model/leases.pml");
const FULL = process.env["ANYNODE_FULL"] === "1";
const run = promisify(execFile);

interface Configuration {
  readonly name: string;
  readonly bounds: Readonly<Record<string, number>>;
  /** What the full run changes. */
  readonly full?: Readonly<Record<string, number>>;
  /** The rules that this configuration shows to be needed. */
  readonly needs: readonly string[];
  /** Too large for the default run. */
  readonly fullOnly?: true;
}

/** Masks: 1 is the first node, 2 the second, 4 the third. */
const CONFIGURATIONS: readonly Configuration[] = [
  {
    name: "one node caches, leaves and joins again, another commits; links break",
    bounds: { CACHES: 1, COMMITS: 2, LINKS: 1, LEAVES: 1, ROOM: 2 },
    full: { LEASE: 3, ROOM: 3 },
    needs: [
      "TICKET",
      "RUN_FOR_TICKET",
      "BIT_WITH_READ",
      "JOINING",
      "ECHO_RENEWS",
      "SENT_TIME",
      "COUNT",
      "WAIT",
      "WAIT_FOR_SILENT",
      "NAMED_ACK",
      "FRESH_BEAT",
      "RUN_ENDS_FIRST",
    ],
  },
  {
    name: "two nodes commit, a third caches",
    bounds: { NODES: 3, CACHES: 1, COMMITS: 6, LEASE: 1, ROOM: 1 },
    full: { ROOM: 2 },
    needs: ["TOLD"],
  },
  {
    name: "two nodes commit, one of them caches and gives up commands that run later",
    bounds: { CACHES: 1, COMMITS: 3, LATE: 1, LEASE: 1, ROOM: 1 },
    full: { LEASE: 2 },
    needs: ["TOLD_FOR_WRITER", "BIT_FOR_WRITER", "TICKET_FOR_KEPT", "OWN_COPY", "OWN_TICKET"],
  },
  {
    name: "two nodes cache, and commit",
    bounds: { CACHES: 3, COMMITS: 2, VERSIONS: 2, LEASE: 1, ROOM: 1 },
    full: { COMMITS: 3 },
    needs: [],
  },
  {
    name: "two nodes end, in parallel and again; one caches, and gives up ends that run later",
    bounds: { CACHES: 1, COMMITS: 0, ENDS: 3, LATE: 1, VERSIONS: 1, LEASE: 2, ROOM: 1 },
    full: { ROOM: 2 },
    needs: ["ANNOUNCE_AT_MARK", "DROP_TO_WRITER", "FENCE", "OWN_UNTIL"],
  },
  {
    name: "the same, and the engine may evict",
    bounds: { CACHES: 1, COMMITS: 0, ENDS: 3, LATE: 1, EVICTION: 1, VERSIONS: 1, LEASE: 2, ROOM: 1 },
    needs: ["LATE_WHEN_MISSING"],
    fullOnly: true,
  },
  {
    name: "the same, and the one that caches commits",
    bounds: { CACHES: 1, COMMITS: 1, ENDS: 3, LATE: 1, VERSIONS: 2, LEASE: 2, ROOM: 1 },
    needs: ["FENCE_OF_WRITES"],
    fullOnly: true,
  },
  {
    name: "a node ends what another one commits to, and what the engine may have evicted",
    bounds: { CACHES: 1, COMMITS: 1, ENDS: 2, EVICTION: 1, VERSIONS: 2, LEASE: 1, ROOM: 1 },
    full: { LATE: 1, ROOM: 3 },
    needs: ["MARK"],
  },
  {
    name: "the engine may evict, and may lose the ledger",
    bounds: { CACHES: 1, COMMITS: 2, EVICTION: 1, LOSS: 1, VERSIONS: 2, LEASE: 2, ROOM: 1 },
    full: { ROOM: 2, VERSIONS: 3 },
    needs: ["DROP_WHEN_MISSING", "LOST_LEASE", "LOST_LIVE", "LOST_COUNT"],
  },
  {
    name: "the engine may lose everything, rows included",
    bounds: { CACHES: 1, COMMITS: 2, LOSS: 2, VERSIONS: 2, LEASE: 2, ROOM: 1 },
    full: { VERSIONS: 3 },
    needs: ["LOST_ROWS"],
  },
  {
    name: "the engine's clock jumps ahead; the writer leaves and joins",
    bounds: { CACHES: 1, COMMITS: 2, VERSIONS: 2, STEP: 2, UNNOTICED: 1, LEASE: 1, ROOM: 1, LEAVES: 2 },
    full: { VERSIONS: 3 },
    needs: ["SUSPECT", "DOUBT", "DOUBT_AT_JOIN", "FULL_LEASE", "MARGIN"],
  },
  {
    name: "the engine's clock jumps ahead between two ends",
    bounds: { CACHES: 1, COMMITS: 0, ENDS: 2, VERSIONS: 1, STEP: 2, UNNOTICED: 1, LEASE: 1, ROOM: 1 },
    full: { EVICTION: 1, LEAVES: 2 },
    needs: ["TOLD_RAW"],
  },
];
const SEARCHED = CONFIGURATIONS.filter(({ fullOnly }) => FULL || fullOnly === undefined);

/** The rules by name, with the number that a verifier knows each by. */
function rules(): ReadonlyMap<string, string> {
  const text = readFileSync(MODEL, "utf8");
  return new Map([...text.matchAll(/^#define (\w+) (\d+) \/\*/gm)].map(([, name = "", number = ""]) => [name, number]));
}

function ensureSpin(): void {
  const missing = ["spin", "gcc"].filter((program) => spawnSync("sh", ["-c", `command -v ${program}`]).status !== 0);
  if (missing.length === 0) return;
  if (!existsSync("/usr/bin/apt-get") || process.getuid?.() !== 0)
    throw new Error(`The model needs ${missing.join(" and ")}. On Debian: sudo apt-get install spin gcc libc6-dev`);
  const options = { env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } };
  execFileSync("apt-get", ["update", "-qq"], options);
  execFileSync("apt-get", ["install", "-y", "-qq", "--no-install-recommends", "spin", "gcc", "libc6-dev"], options);
}

/** Makes a configuration's verifier: one for all rules, since the one that is switched off is named when it starts. */
async function compile(directory: string, { bounds, full }: Configuration): Promise<void> {
  const defines = Object.entries({ ...bounds, ...(FULL ? full : {}) }).map(([name, value]) => `-D${name}=${value}`);
  await run("spin", ["-a", ...defines, MODEL], { cwd: directory });
  // No statement is local to a process, so partial order reduction finds nothing: NOREDUCE saves the looking.
  // REVERSE, the other order of processes, comes upon most of the errors sooner.
  const flags = ["-w", "-O1", "-DSAFETY", "-DNOREDUCE", "-DREVERSE", "-DNOBOUNDCHECK", "-DNOFAIR", "-DMEMLIM=6000"];
  await run("nice", ["-n", "10", "gcc", ...flags, "-o", "pan", "pan.c"], { cwd: directory });
}

/** Runs the verifier to its end or its first error: how many errors it found. An unfinished search is a failure of the test. */
async function errors(directory: string, without = "0"): Promise<number> {
  const env = { ...process.env, WITHOUT: without };
  const { stdout } = await run("nice", ["-n", "10", "./pan", "-m5000000", "-w22"], { cwd: directory, env });
  const found = /errors: (\d+)/.exec(stdout)?.[1];
  const finished = found === "0" && !/Search not completed|max search depth too small|out of memory/.test(stdout);
  if (!finished && !/assertion violated/.test(stdout)) throw new Error(stdout);
  return Number(found);
}

beforeAll(ensureSpin, 300_000);

for (const configuration of SEARCHED)
  describe(`model: ${configuration.name}`, () => {
    let directory = "";
    beforeAll(async () => {
      directory = await mkdtemp(join(tmpdir(), "anynode-model-"));
      await compile(directory, configuration);
    }, 120_000);
    afterAll(() => rm(directory, { recursive: true, force: true }));

    test("G1, G3: no read that started after a completed write or end serves anything older", async () => {
      expect(await errors(directory)).toBe(0);
    }, 600_000);

    for (const rule of configuration.needs)
      test(`without ${rule} it fails`, async () => {
        const number = rules().get(rule);
        expect(number).toBeDefined();
        expect(await errors(directory, number)).toBe(1);
      }, 600_000);
  });

test("each rule of the model is shown to be needed", () => {
  expect([...rules().keys()].sort()).toEqual(CONFIGURATIONS.flatMap(({ needs }) => needs).sort());
});
