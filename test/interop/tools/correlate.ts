/** Compares what was sent with what was heard: delay, correlation, gaps, slips, repeats, level. 8 kHz mono throughout. */

const RATE_PER_MS = 8;

export type Comparison = {
  /** Where the reference begins in the heard audio; negative when its head is missing. */
  readonly delayMs: number;
  /** |normalised cross-correlation| over the overlap at that delay: 1 is identical up to gain. */
  readonly correlation: number;
  readonly gain: number;
  /** Longest run of the reference being active while the heard audio has under a tenth of it. */
  readonly longestGapMs: number;
  readonly gapMs: number;
  /** Spread of the best lag over 600 ms windows: a jitter buffer that slipped shows here. */
  readonly lagSpreadMs: number;
  /** Identical consecutive 20 ms frames while the reference is active. */
  readonly repeats: number;
  readonly levelDb: number;
};

/** Compares `heard` with `reference`; the delay may be anything from -reference to +heard length. */
export function compareAudio(reference: Int16Array, heard: Int16Array): Comparison {
  const lag = bestLag(reference, heard);
  const { correlation, gain } = correlationAt(reference, heard, lag);
  const gaps = gapsAt(reference, heard, lag, Math.abs(gain) || 1);
  return {
    delayMs: lag / RATE_PER_MS,
    correlation,
    gain,
    ...gaps,
    lagSpreadMs: lagSpread(reference, heard, lag),
    repeats: countRepeats(heard, lag, reference.length),
    levelDb: levelDb(heard),
  };
}

export function levelDb(pcm: Int16Array): number {
  const energy = rms(pcm, 0, pcm.length);
  return energy === 0 ? -120 : 20 * Math.log10(energy / 32768);
}

/** Lag in samples at which `heard` matches `reference` best, by FFT cross-correlation. */
export function bestLag(reference: Int16Array, heard: Int16Array): number {
  const size = 2 ** Math.ceil(Math.log2(reference.length + heard.length));
  const a = spectrum(reference, size);
  const b = spectrum(heard, size);
  // conj(A) * B is the cross-correlation's spectrum; its inverse peaks at the lag.
  const re = new Float64Array(size);
  const im = new Float64Array(size);
  for (let at = 0; at < size; at++) {
    re[at] = num(a.re, at) * num(b.re, at) + num(a.im, at) * num(b.im, at);
    im[at] = -(num(a.re, at) * num(b.im, at) - num(a.im, at) * num(b.re, at));
  }
  // The inverse transform of X is conj(FFT(conj(X))) / size; only the real part is of interest here.
  transform(re, im);
  let best = 0;
  for (let at = 1; at < size; at++) if (Math.abs(num(re, at)) > Math.abs(num(re, best))) best = at;
  return best < heard.length ? best : best - size;
}

/** Normalised correlation and least-squares gain of the overlap at `lag`. */
export function correlationAt(
  reference: Int16Array,
  heard: Int16Array,
  lag: number,
): { correlation: number; gain: number } {
  const from = Math.max(0, -lag);
  const to = Math.min(reference.length, heard.length - lag);
  let cross = 0;
  let energyA = 0;
  let energyB = 0;
  for (let at = from; at < to; at++) {
    const a = num(reference, at);
    const b = num(heard, at + lag);
    cross += a * b;
    energyA += a * a;
    energyB += b * b;
  }
  if (energyA === 0 || energyB === 0) return { correlation: 0, gain: 0 };
  return { correlation: Math.abs(cross) / Math.sqrt(energyA * energyB), gain: cross / energyA };
}

const GAP_FRAME = 10 * RATE_PER_MS;
/** About -50 dBFS: frames below it say nothing about gaps. */
const ACTIVE_RMS = 100;

function gapsAt(
  reference: Int16Array,
  heard: Int16Array,
  lag: number,
  gain: number,
): { longestGapMs: number; gapMs: number } {
  let run = 0;
  let longest = 0;
  let total = 0;
  for (let at = 0; at + GAP_FRAME <= reference.length; at += GAP_FRAME) {
    const wanted = rms(reference, at, GAP_FRAME);
    const got = rms(heard, at + lag, GAP_FRAME) / gain;
    if (wanted >= ACTIVE_RMS && got < wanted / 10) {
      run += 10;
      total += 10;
      longest = Math.max(longest, run);
    } else run = 0;
  }
  return { longestGapMs: longest, gapMs: total };
}

const WINDOW = 600 * RATE_PER_MS;
const SEARCH = 200 * RATE_PER_MS;
/** Correlations that differ by less are the same. */
const SAME = 0.005;

function lagSpread(reference: Int16Array, heard: Int16Array, lag: number): number {
  const lags: number[] = [];
  for (let at = 0; at + WINDOW <= reference.length; at += WINDOW) {
    if (rms(reference, at, WINDOW) < ACTIVE_RMS * 3) continue;
    const from = Math.max(0, at + lag - SEARCH);
    const window = heard.subarray(from, Math.max(from, at + lag + WINDOW + SEARCH));
    if (window.length < WINDOW) continue;
    const found = bestLag(reference.subarray(at, at + WINDOW), window) + from - at;
    const alikeAt = (shift: number): number =>
      correlationAt(reference.subarray(at, at + WINDOW), heard.subarray(at), shift).correlation;
    const alike = alikeAt(found);
    // A tone is like itself a period later: where it fits the lag of the whole as well, it has not slipped.
    if (alike > 0.8) lags.push(alikeAt(lag) >= alike - SAME ? lag : found);
  }
  return lags.length === 0 ? 0 : (Math.max(...lags) - Math.min(...lags)) / RATE_PER_MS;
}

function countRepeats(heard: Int16Array, lag: number, length: number): number {
  const frame = 20 * RATE_PER_MS;
  let repeats = 0;
  for (
    let at = Math.max(frame, lag);
    at + frame <= Math.min(heard.length, lag + length);
    at += frame
  ) {
    if (rms(heard, at, frame) < ACTIVE_RMS) continue;
    let same = true;
    for (let n = 0; same && n < frame; n++) same = heard[at + n] === heard[at + n - frame];
    if (same) repeats += 1;
  }
  return repeats;
}

function rms(pcm: Int16Array, from: number, length: number): number {
  let sum = 0;
  for (let at = from; at < from + length; at++) sum += num(pcm, at) ** 2;
  return Math.sqrt(sum / Math.max(1, length));
}

function num(array: Int16Array | Float64Array, at: number): number {
  return array[at] ?? 0;
}

function spectrum(pcm: Int16Array, size: number): { re: Float64Array; im: Float64Array } {
  const re = new Float64Array(size);
  const im = new Float64Array(size);
  re.set(pcm);
  transform(re, im);
  return { re, im };
}

/** In-place radix-2 FFT. */
function transform(re: Float64Array, im: Float64Array): void {
  const size = re.length;
  for (let at = 1, to = 0; at < size; at++) {
    let bit = size >> 1;
    for (; to & bit; bit >>= 1) to ^= bit;
    to ^= bit;
    if (at < to) {
      [re[at], re[to]] = [num(re, to), num(re, at)];
      [im[at], im[to]] = [num(im, to), num(im, at)];
    }
  }
  for (let span = 2; span <= size; span *= 2) {
    const half = span / 2;
    const stepRe = Math.cos((-2 * Math.PI) / span);
    const stepIm = Math.sin((-2 * Math.PI) / span);
    for (let start = 0; start < size; start += span) {
      let wRe = 1;
      let wIm = 0;
      for (let at = start; at < start + half; at++) {
        const oddRe = num(re, at + half) * wRe - num(im, at + half) * wIm;
        const oddIm = num(re, at + half) * wIm + num(im, at + half) * wRe;
        re[at + half] = num(re, at) - oddRe;
        im[at + half] = num(im, at) - oddIm;
        re[at] = num(re, at) + oddRe;
        im[at] = num(im, at) + oddIm;
        [wRe, wIm] = [wRe * stepRe - wIm * stepIm, wRe * stepIm + wIm * stepRe];
      }
    }
  }
}
