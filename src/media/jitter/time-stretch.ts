/**
 * Makes a stretch of sound a little shorter or longer without a click: two copies of it, one pitch period apart, are
 * faded into each other (overlap-add). Works on arrays of the caller; allocates nothing.
 */

/** 2.5 to 16 ms: 62 to 400 Hz. */
export const MIN_PERIOD = 20;
export const MAX_PERIOD = 128;

/** The distance at which `pcm` is most like itself, and how like it is there (-1..1). Made once, used again. */
export class PeriodFinder {
  period = MIN_PERIOD;
  likeness = 0;

  /** Looks at `length` samples from `from` on, for periods up to `most`. */
  find(pcm: Int16Array, from: number, length: number, most = MAX_PERIOD): void {
    this.likeness = -1;
    this.period = MIN_PERIOD;
    for (let lag = MIN_PERIOD; lag <= most; lag += 2) this.#try(pcm, from, length, lag, 2);
    const near = this.period;
    this.likeness = -1;
    for (let lag = Math.max(MIN_PERIOD, near - 2); lag <= Math.min(most, near + 2); lag++)
      this.#try(pcm, from, length, lag, 1);
  }

  #try(pcm: Int16Array, from: number, length: number, lag: number, step: number): void {
    let dot = 0;
    let first = 1;
    let second = 1;
    for (let i = from; i < from + length - lag; i += step) {
      const a = pcm[i] as number;
      const b = pcm[i + lag] as number;
      dot += a * b;
      first += a * a;
      second += b * b;
    }
    const likeness = dot / Math.sqrt(first * second);
    if (likeness <= this.likeness) return;
    this.likeness = likeness;
    this.period = lag;
  }
}

/**
 * Writes `length + change` samples of `pcm` to `into` and returns how many: it begins and ends as `pcm` does, and in
 * between one copy is faded into another that is `change` samples away. `|change| < length`.
 */
export function stretch(pcm: Int16Array, length: number, change: number, into: Int16Array): number {
  const total = length + change;
  // Where both copies are there: all of a shortened sound, the middle of a lengthened one.
  const from = Math.max(0, change);
  const until = Math.min(total, length);
  for (let i = 0; i < from; i++) into[i] = pcm[i] as number;
  const span = until - from;
  for (let i = from; i < until; i++) {
    const share = (i - from + 0.5) / span;
    const early = pcm[i] as number;
    const late = pcm[i - change] as number;
    into[i] = Math.round(early + (late - early) * share);
  }
  for (let i = until; i < total; i++) into[i] = pcm[i - change] as number;
  return total;
}

/** Fades `count` samples of `pcm` from `from` on into those from `to` on: begins like the one, ends like the other. */
export function blend(
  pcm: Int16Array,
  from: number,
  to: number,
  count: number,
  into: Int16Array,
): void {
  for (let i = 0; i < count; i++) {
    const early = pcm[from + i] as number;
    const late = pcm[to + i] as number;
    into[i] = Math.round(early + ((late - early) * (i + 0.5)) / count);
  }
}

/** Mean size of a sample, by every fourth. */
export function levelOf(pcm: Int16Array, from: number, length: number): number {
  let sum = 0;
  for (let i = from; i < from + length; i += 4) sum += Math.abs(pcm[i] as number);
  return length === 0 ? 0 : (sum * 4) / length;
}
