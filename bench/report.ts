/** The figures as text for people. */
import { type Bar, bars, type Figures } from "./bars.js";
import { shapes } from "./cases.js";
import type { Interval } from "./ratio.js";
import { table } from "./table.js";

export function report(figures: Figures): string {
  const { machine, options } = figures;
  return [
    `Node ${machine.node}, Redis ${machine.redis}, ${machine.cpus} CPUs; ${options.rounds} rounds, ${options.starts} starts of each process.`,
    "",
    ...routesTable(figures),
    ...comparisonTable(figures),
    ...middlewareTables(figures),
    ...sealingTable(figures),
    ...redisTable(figures),
    ...latencyTable(figures),
    ...alternationTable(figures),
    barsTable(bars(figures), options.rounds),
  ].join("\n");
}

function routesTable({ routes, options }: Figures): string[] {
  if (routes.length === 0) return [];
  const lines = routes.map((one) => [
    one.subject,
    one.route,
    one.cpuMicrosPerRequest.toFixed(1),
    one.requestsPerSecond.toFixed(0),
  ]);
  const heading =
    `Slices of ${options.requestsPerSlice} requests over ${options.connections} connections, interleaved, each right after ` +
    `${options.warmInPerSlice.requests} or more that don't count: the processes take turns, and one that had nothing to do comes back cold.`;
  return [heading, table(["subject", "route", "CPU µs/request", "requests/s"], lines), ""];
}

function comparisonTable({ comparisons }: Figures): string[] {
  if (comparisons.length === 0) return [];
  const lines = comparisons.map((one) => [one.ours, one.other, one.route, interval(one.efficiency), interval(one.throughput)]);
  const heading = "efficiency: the other's server CPU time per request ÷ ours; throughput: ours ÷ the other's; 95 % intervals.";
  return [heading, table(["ours", "other", "route", "efficiency", "throughput"], lines), ""];
}

function middlewareTables({ middleware }: Figures): string[] {
  if (middleware === undefined) return [];
  const { added, growth, cheaper, noneMicros } = middleware;
  const rows = growth.map(({ middleware, use, byBytes, perAttribute }) => {
    const micros = shapes.map(
      (shape) =>
        added.find((one) => one.middleware === middleware && one.use === use && one.shape === shape)?.addedMicros ?? Number.NaN,
    );
    const times = cheaper.find((one) => one.middleware === middleware && one.use === use)?.ratio;
    return [
      ...[middleware, use, ...micros.map((one) => one.toFixed(1))],
      ...[times === undefined ? "" : interval(times), interval(byBytes), interval(perAttribute)],
    ];
  });
  return [
    `The middleware alone, in process: CPU µs that it adds to a request whose handler uses no, reads one, writes one attribute ` +
      `(without it: ${noneMicros.toFixed(1)}), by KB and number of attributes; memory-store's ÷ its own (of 0.5 KB); growth with bytes ` +
      "(50 KB ÷ 0.5 KB), and µs per attribute (of 5 to 50 in 5 KB); 95 % intervals.",
    table(
      ["middleware", "use", ...shapes.map((one) => `${one.kilobytes}/${one.attributes}`), "cheaper", "by bytes", "per attribute"],
      rows,
    ),
    "",
  ];
}

function sealingTable({ sealing = [] }: Figures): string[] {
  if (sealing.length === 0) return [];
  const lines = sealing.map(({ verb, firstMicros, furtherMicros }) => [verb, interval(firstMicros), interval(furtherMicros)]);
  return ["What sealing adds to a record, CPU µs; 95 % intervals.", table(["verb", "first KB", "each KB more"], lines), ""];
}

function redisTable({ redis }: Figures): string[] {
  if (redis.length === 0) return [];
  const costs = redis.flatMap(({ subject, ...routes }) =>
    (["read", "write"] as const).map((route) => [
      subject,
      route,
      routes[route].commandsPerRequest.toFixed(2),
      routes[route].changesPerRequest.toFixed(2),
      routes[route].bytesPerRequest.toFixed(0),
      route === "read" ? `${routes.memory.keyBytes.toFixed(0)} (${routes.memory.usedBytes.toFixed(0)})` : "",
    ]),
  );
  const heading = "Redis, per request, and bytes of memory per session by MEMORY USAGE (by used_memory).";
  return [heading, table(["subject", "route", "commands", "changes", "network bytes", "memory"], costs), ""];
}

function latencyTable({ latencies }: Figures): string[] {
  if (latencies.length === 0) return [];
  const lines = latencies.map((one) => [one.subject, one.medianMs.toFixed(2), one.addedMs.toFixed(2)]);
  const heading = "Redis 1 ms away, each way: ms of a read-only request, median, and by how much more than bare Express.";
  return [heading, table(["subject", "ms", "added"], lines), ""];
}

function alternationTable({ alternations }: Figures): string[] {
  if (alternations.length === 0) return [];
  const lines = alternations.map((one) => [one.ours, one.other, interval(one.throughput)]);
  const heading = "Each session written on every request, by 4 nodes in turn: our requests per second ÷ the other's.";
  return [heading, table(["ours", "other", "throughput"], lines), ""];
}

function barsTable(all: readonly Bar[], rounds: number): string {
  if (all.length === 0) return "None of the bars is about these subjects.";
  const lines = all.map(({ what, measured, bound, passed }) => [what, measured.toFixed(4), bound, passed ? "pass" : "MISS"]);
  const caution = rounds < 15 ? ["Fewer than 15 rounds: the intervals are too wide to tell.", ""] : [];
  return [...caution, table(["bar", "measured", "bound", ""], lines)].join("\n");
}

function interval({ mean, low, high }: Interval): string {
  return `${mean.toFixed(2)} (${low.toFixed(2)}–${high.toFixed(2)})`;
}
