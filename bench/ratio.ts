/** Ratios of paired figures: the mean of the log-ratios and its 95 % interval, so that what drifts in one run cancels out. */

export interface Interval {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}
export interface Ratio extends Interval {
  readonly pairs: number;
}

/** `ratio(theirs, ours)`: how many times ours goes into theirs. The lists are paired by round. */
export function ratio(numerators: readonly number[], denominators: readonly number[]): Ratio {
  const logs = numerators.map((numerator, round) => Math.log(numerator / (denominators[round] ?? Number.NaN)));
  const { mean, low, high } = interval(logs);
  return { mean: Math.exp(mean), low: Math.exp(low), high: Math.exp(high), pairs: logs.length };
}

/** The mean and its 95 % interval. */
export function interval(figures: readonly number[]): Interval {
  const mean = average(figures);
  const variance = figures.reduce((sum, figure) => sum + (figure - mean) ** 2, 0) / (figures.length - 1);
  const half = tQuantile(figures.length - 1) * Math.sqrt(variance / figures.length);
  return { mean, low: mean - half, high: mean + half };
}

export function average(figures: readonly number[]): number {
  return figures.reduce((sum, figure) => sum + figure, 0) / figures.length;
}

export function median(figures: readonly number[]): number {
  return figures.toSorted((a, b) => a - b)[Math.floor(figures.length / 2)] ?? Number.NaN;
}

/** Student's t for a two-sided 95 % interval: a table for few degrees of freedom, the usual expansion beyond. */
export function tQuantile(freedom: number): number {
  const table = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145];
  const z = 1.959964;
  const first = (z ** 3 + z) / (4 * freedom);
  const second = (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * freedom ** 2);
  return table[freedom - 1] ?? z + first + second;
}
