/** Whether memory grows with the number of calls: a straight line through samples, and how sure one can be of its slope. */

export type Sample = { readonly calls: number; readonly bytes: number };

/** Least squares: bytes per call, and the standard error of that. */
export function slopeOf(samples: readonly Sample[]): { slope: number; error: number } {
  const n = samples.length;
  const meanX = samples.reduce((sum, { calls }) => sum + calls, 0) / n;
  const meanY = samples.reduce((sum, { bytes }) => sum + bytes, 0) / n;
  let [xx, xy] = [0, 0];
  for (const { calls, bytes } of samples) {
    xx += (calls - meanX) ** 2;
    xy += (calls - meanX) * (bytes - meanY);
  }
  const slope = xy / xx;
  const rest = samples.reduce(
    (sum, { calls, bytes }) => sum + (bytes - meanY - slope * (calls - meanX)) ** 2,
    0,
  );
  return { slope, error: Math.sqrt(rest / (n - 2) / xx) };
}
