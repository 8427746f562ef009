/** Ratios of paired figures: the mean of the log-ratios and its 95 % interval, so that what drifts in one run cancels out. */

export interface Ratio {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
  readonly pairs: number;
}

/** `ratio(theirs, ours)`: how many times ours goes into theirs. The lists are paired by round. */
export function ratio(numerators: readonly number[], denominators: readonly number[]): Ratio {
  const logs = numerators.map((numerator, round) => Math.log(numerator / (denominators[round] ?? Number.NaN)));
  const mean = average(logs);
  const variance = logs.reduce((sum, log) => sum + (log - mean) ** 2, 0) / (logs.length - 1);
  const half = tQuantile(logs.length - 1) * Math.sqrt(variance / logs.length);
  return { mean: Math.exp(mean), low: Math.exp(mean - half), high: Math.exp(mean + half), pairs: logs.length };
}

export function average(figures: readonly number[]): number {
  return figures.reduce((sum, figure) => sum + figure, 0) / figures.length;
}

/** Student's t for a two-sided 95 % interval: a table for few degrees of freedom, the usual expansion beyond. */
export function tQuantile(freedom: number): number {
  const table = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145];
  const z = 1.959964;
  const first = (z ** 3 + z) / (4 * freedom);
  const second = (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * freedom ** 2);
  return table[freedom - 1] ?? z + first + second;
}
