/** The bench's statistics: intervals of paired ratios. */
import { ratio, tQuantile } from "../../bench/ratio.js";

test("the quantiles are those of the tables", () => {
  const table = { 1: 12.706, 2: 4.303, 4: 2.776, 10: 2.228, 14: 2.145, 15: 2.131, 19: 2.093, 30: 2.042, 120: 1.98 };
  for (const [freedom, quantile] of Object.entries(table)) expect(tQuantile(Number(freedom))).toBeCloseTo(quantile, 2);
});

test("what drifts for both alike doesn't widen the interval", () => {
  const ours = [100, 150, 300, 110];
  const { mean, low, high, pairs } = ratio(
    ours.map((figure) => 2 * figure),
    ours,
  );
  expect(pairs).toBe(4);
  for (const bound of [mean, low, high]) expect(bound).toBeCloseTo(2, 9);
});

test("the interval is that of the mean of the log-ratios", () => {
  const { mean, low, high } = ratio([Math.E, Math.E ** 2, Math.E ** 3], [1, 1, 1]);
  expect(Math.log(mean)).toBeCloseTo(2, 9);
  // Standard deviation 1, three pairs: 2 ± 4.303 / √3.
  expect(Math.log(low)).toBeCloseTo(2 - 4.303 / Math.sqrt(3), 3);
  expect(Math.log(high)).toBeCloseTo(2 + 4.303 / Math.sqrt(3), 3);
});
