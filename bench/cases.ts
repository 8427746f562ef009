/** What the middleware alone is measured with: who, sessions of which shape, and what the handler does with them. */

export const sessionNames = ["memory-store", "native-memory", "native-redis", "native-redis-checked"] as const;
export type SessionName = (typeof sessionNames)[number];

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

export function isSessionName(text: string | undefined): text is SessionName {
  return sessionNames.some((name) => name === text);
}
