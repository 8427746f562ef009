/** What the middleware alone is measured with: who, sessions of which shape, and what the handler does with them. */

export const middlewareNames = ["none", "memory-store", "native-memory", "native-redis", "native-redis-checked"] as const;
export type MiddlewareName = (typeof middlewareNames)[number];
/** "none" is no session at all: what the others are measured against. */
export type SessionName = Exclude<MiddlewareName, "none">;

export interface Shape {
  readonly kilobytes: number;
  readonly attributes: number;
}

/** By bytes with the attributes kept, and by attributes with the bytes kept. */
export const SMALL: Shape = { kilobytes: 0.5, attributes: 5 };
export const LARGE: Shape = { kilobytes: 50, attributes: 5 };
export const FEW: Shape = { kilobytes: 5, attributes: 5 };
export const MANY: Shape = { kilobytes: 5, attributes: 50 };
export const shapes: readonly Shape[] = [SMALL, FEW, LARGE, { kilobytes: 5, attributes: 20 }, MANY];

/** What a handler does with its session's attributes: read and write are of one small one. */
export const uses = ["nothing", "read", "write"] as const;
export type Use = (typeof uses)[number];

export interface Case {
  readonly shape: Shape;
  readonly use: Use;
}
export const cases: readonly Case[] = uses.flatMap((use) => shapes.map((shape) => ({ shape, use })));

export function isMiddlewareName(text: string | undefined): text is MiddlewareName {
  return middlewareNames.some((name) => name === text);
}
