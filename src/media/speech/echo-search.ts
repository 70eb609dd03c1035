/** At which delay what was heard is most like what was sent. */

/** At 2 kHz, as in `EchoBand`: delays up to 480 ms. */
export const SEARCH_LAGS = 960;
/** An echo, squared: at least 4 dB below what was sent, and no more than 40 dB. */
const MAX_GAIN = 0.4;
const MIN_GAIN = 0.0001;
/** Less alike than this (squared) is nothing. */
const LEAST = 0.2;
/** Delays that are looked at together: what was heard is read once for all of them. */
const AT_ONCE = 4;

/**
 * The delay, from `first` on, at which `count` samples of `heard` from `from` on are most like `sent`, where they begin at
 * `at` if there is no delay. -1: nothing that was sent is like them.
 */
export function searchEcho(
  heard: Float32Array,
  from: number,
  count: number,
  sent: Float32Array,
  at: number,
  first: number,
): number {
  let heardEnergy = 1;
  for (let i = 0; i < count; i++) heardEnergy += (heard[from + i] as number) ** 2;
  const least = heardEnergy / MAX_GAIN;
  const most = heardEnergy / MIN_GAIN;
  let energy = 0;
  for (let i = 0; i < count; i++) energy += (sent[at - first + i] as number) ** 2;
  let best = LEAST * heardEnergy;
  let bestLag = -1;
  for (let lag = first; lag <= SEARCH_LAGS; lag += AT_ONCE) {
    const begin = at - lag;
    const isLikely = energy > least && energy < most;
    let d0 = 0;
    let d1 = 0;
    let d2 = 0;
    let d3 = 0;
    if (isLikely)
      for (let i = 0; i < count; i++) {
        const sample = heard[from + i] as number;
        const k = begin + i;
        d0 += sample * (sent[k] as number);
        d1 += sample * (sent[k - 1] as number);
        d2 += sample * (sent[k - 2] as number);
        d3 += sample * (sent[k - 3] as number);
      }
    for (let i = 0; i < AT_ONCE; i++) {
      const dot = i === 0 ? d0 : i === 1 ? d1 : i === 2 ? d2 : d3;
      if (isLikely && dot * dot > best * energy) {
        best = (dot * dot) / energy;
        bestLag = lag + i;
      }
      const joins = sent[begin - i - 1] as number;
      const leaves = sent[begin - i + count - 1] as number;
      energy = Math.max(1, energy + joins * joins - leaves * leaves);
    }
  }
  return bestLag;
}
