/** How the demo speaks: headings, lines with a tick, node names in their colours. A check that fails ends the story. */
import { inspect, isDeepStrictEqual } from "node:util";

const COLOURS: Readonly<Record<string, number>> = { A: 36, B: 33, C: 35 };

/** A step of the story came out differently. */
export class CheckFailed extends Error {}

export function say(line = ""): void {
  console.log(line === "" ? "" : `  ${line}`);
}

export function heading(text: string): void {
  console.log(`\n  ${paint(1, text)}`);
}

/** Prints `line` with a tick if `actual` equals `expected`. */
export function check(line: string, actual: unknown, expected: unknown): void {
  if (!isDeepStrictEqual(actual, expected)) {
    console.log(`  ${paint(31, "✗")} ${line}`);
    throw new CheckFailed(`expected ${inspect(expected)}, got ${inspect(actual)}`);
  }
  tick(line);
}

export function tick(line: string): void {
  console.log(`  ${paint(32, "✓")} ${line}`);
}

/** A node's name in its colour. */
export function chip(name: string): string {
  return paint(COLOURS[name] ?? 34, name);
}

export function dim(text: string): string {
  return paint(2, text);
}

export function red(text: string): string {
  return paint(31, text);
}

/** Closes only what it opened, so that a colour may stand inside bold text. */
function paint(code: number, text: string): string {
  const { NO_COLOR } = process.env;
  return NO_COLOR || !process.stdout.isTTY ? text : `\u001b[${code}m${text}\u001b[${code < 30 ? 22 : 39}m`;
}
