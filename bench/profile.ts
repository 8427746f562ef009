/** `npm run bench -- --profile [subject]`: where a request's microseconds go, by a CPU profile of the subject's server under load. */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { microsByArea } from "./areas.js";
import { isRoute, type Route, Subject } from "./subject.js";
import { isSubjectName, type SubjectName, subjectNames } from "./subjects.js";
import { table } from "./table.js";

const CONNECTIONS = 16;
const SESSIONS = 200;

interface Options {
  readonly name: SubjectName;
  readonly route: Route;
  readonly requests: number;
  readonly keep: string | undefined;
}

async function main(): Promise<void> {
  const { name, route, requests, keep } = readOptions();
  const subject = await Subject.start(name, CONNECTIONS);
  try {
    await subject.signIn(SESSIONS);
    await subject.slice(route, requests);
    const { cpuMicrosPerRequest } = await subject.slice(route, requests);
    const text = await subject.profile(route, requests);
    if (keep !== undefined) writeFileSync(keep, text);
    const areas = [...microsByArea(text)].map(([area, micros]) => ({ area, micros: micros / requests }));
    const sum = areas.reduce((total, { micros }) => total + micros, 0);
    const lines = areas
      .toSorted((a, b) => b.micros - a.micros)
      .filter(({ micros }) => micros >= 0.05)
      .map(({ area, micros }) => [area, micros.toFixed(1), `${((100 * micros) / sum).toFixed(1)} %`]);
    console.log(
      `\n${name}, ${route}: ${requests} requests; self time on the main thread, as sampled (profiling itself slows it).`,
    );
    console.log(table(["area", "µs/request", "share"], [...lines, ["sum", sum.toFixed(1), ""]]));
    console.log(`CPU time per request without a profiler, all threads: ${cpuMicrosPerRequest.toFixed(1)} µs`);
  } finally {
    await subject.stop();
  }
}

function readOptions(): Options {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      profile: { type: "boolean" },
      quick: { type: "boolean", default: false },
      route: { type: "string", default: "read" },
      keep: { type: "string" },
    },
  });
  const { route, quick, keep } = values;
  const [name = "native-redis"] = positionals;
  if (!isSubjectName(name)) throw new RangeError(`--profile ${name}: the subjects are ${subjectNames.join(", ")}`);
  if (!isRoute(route)) throw new RangeError(`--route ${route}: read or write`);
  return { name, route, requests: quick ? 4_000 : 20_000, keep };
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
