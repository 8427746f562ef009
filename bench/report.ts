/** The figures as text for people. */
import { type Bar, bars, type Figures } from "./bars.js";
import type { Ratio } from "./ratio.js";

export function report(figures: Figures): string {
  const { machine, options } = figures;
  return [
    `Node ${machine.node}, Redis ${machine.redis}, ${machine.cpus} CPUs; ${options.rounds} rounds of ${options.requestsPerSlice} requests ` +
      `per subject and route over ${options.connections} connections, interleaved.`,
    "",
    table(
      ["subject", "route", "CPU µs/request", "requests/s"],
      figures.routes.map((one) => [one.subject, one.route, one.cpuMicrosPerRequest.toFixed(1), one.requestsPerSecond.toFixed(0)]),
    ),
    "",
    ...comparisonTable(figures),
    ...redisTable(figures),
    ...latencyTable(figures),
    ...alternationTable(figures),
    barsTable(bars(figures), options.rounds),
  ].join("\n");
}

function comparisonTable({ comparisons }: Figures): string[] {
  if (comparisons.length === 0) return [];
  const lines = comparisons.map((one) => [one.ours, one.other, one.route, interval(one.efficiency), interval(one.throughput)]);
  const heading = "efficiency: the other's server CPU time per request ÷ ours; throughput: ours ÷ the other's; 95 % intervals.";
  return [heading, table(["ours", "other", "route", "efficiency", "throughput"], lines), ""];
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

function interval({ mean, low, high }: Ratio): string {
  return `${mean.toFixed(2)} (${low.toFixed(2)}–${high.toFixed(2)})`;
}

function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = heads.map((head, at) => Math.max(head.length, ...rows.map((row) => row[at]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, at) => (/^[\d.-]/.test(cell) ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0)))
      .join("  ")
      .trimEnd();
  return [line(heads), widths.map((width) => "-".repeat(width)).join("  "), ...rows.map(line)].join("\n");
}
