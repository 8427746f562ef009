/** A CPU profile's samples added up by area: our own files one by one, the rest by package or by part of node. */
import { relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = resolve(__dirname, "..");

interface Node {
  readonly id: number;
  readonly name: string;
  readonly url: string;
  readonly children: readonly number[];
}

/** Self time by area, without what the process was idle. */
export function microsByArea(profile: string): Map<string, number> {
  const { nodes, samples, timeDeltas } = Object(JSON.parse(profile));
  const byId = new Map<number, Node>(listed(nodes).map((one) => [Number(Object(one).id), nodeOf(one)]));
  const areas = new Map<number, string>();
  const visit = (id: number, callers: string) => {
    const node = byId.get(id);
    if (node === undefined) return;
    const area = areaOf(node) ?? callers;
    areas.set(id, area);
    for (const child of node.children) visit(child, area);
  };
  for (const { id, name } of byId.values()) if (name === "(root)") visit(id, "other");
  const micros = new Map<string, number>();
  const deltas = listed(timeDeltas);
  listed(samples).forEach((id, at) => {
    // A delta is the time before its sample; what lies until the next one is the sample's.
    const area = areas.get(Number(id)) ?? "other";
    micros.set(area, (micros.get(area) ?? 0) + Number(deltas[at + 1] ?? 0));
  });
  micros.delete("idle");
  return micros;
}

function nodeOf(node: unknown): Node {
  const { id, callFrame, children } = Object(node);
  const { functionName, url } = Object(callFrame);
  return { id: Number(id), name: String(functionName), url: String(url), children: listed(children ?? []).map(Number) };
}

function listed(value: unknown): unknown[] {
  if (!Array.isArray(value)) throw new Error("not a CPU profile");
  return value;
}

const SYSCALLS = /^(writev|write\w*String|writeBuffer|readStart|readStop|shutdown|accept|open|close)$/;

/** Of the parts of node, the first that fits. */
const PARTS: readonly (readonly [RegExp, string])[] = [
  [/^node:(_http|internal\/http|http)/, "node http"],
  [/^node:(net|_stream|stream|internal\/(streams?\b|stream_base|net|dtrace))/, "node net, streams"],
  [/^node:(crypto|internal\/crypto)/, "crypto"],
  [/^node:(buffer|internal\/buffer|string_decoder)/, "node buffers"],
  [
    /^node:(events|async_hooks|timers|internal\/(async_hooks|timers|process\/task_queues|process\/promises))/,
    "node events, timers, ticks",
  ],
  [/^node:/, "node, other"],
];

/** By what people call them. */
const PACKAGES: readonly (readonly [RegExp, string])[] = [
  [/^(redis|@redis\/.*|ioredis|@ioredis\/.*|redis-parser)$/, "redis client"],
  [/^(express|router)$/, "express"],
  [/^(koa|koa-compose)$/, "koa"],
];

/** Undefined: built in, and so its caller's. */
function areaOf({ name, url }: Node): string | undefined {
  if (name === "(idle)") return "idle";
  if (name === "(garbage collector)") return "GC";
  if (name === "(program)") return "native code that no JS called (event loop, HTTP parser, syscalls)";
  if (url === "") return SYSCALLS.test(name) ? "syscalls (writev …)" : undefined;
  if (url.startsWith("node:")) return PARTS.find(([pattern]) => pattern.test(url))?.[1];
  const path = url.startsWith("file:") ? fileURLToPath(url) : url;
  const dependency = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1];
  if (dependency !== undefined) return PACKAGES.find(([pattern]) => pattern.test(dependency))?.[1] ?? dependency;
  const own = relative(ROOT, path);
  return own.startsWith("dist/") ? own : "the application";
}
