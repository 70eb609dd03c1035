/**
 * Sounds made here by arithmetic and thus nobody else's work: backgrounds to be played in a loop, and short effects. Each is
 * made once per process, in shared memory, when it is first asked for; a fixed seed makes it the same in every process.
 */
import { RAMP } from '../playout/seam.ts';
import { SAMPLE_RATE_HZ } from '../types.ts';

export const BACKGROUND_NAMES = ['office', 'cafe', 'white'] as const;
export type BackgroundName = (typeof BACKGROUND_NAMES)[number];

/** Root mean square of every background: -40 dBFS, well below any voice. */
const LEVEL = 32_768 * 10 ** (-40 / 20);
const LENGTH = 12 * SAMPLE_RATE_HZ;

const made = new Map<string, Int16Array>();

/** 12 seconds that begin where they end. */
export function backgroundSound(name: BackgroundName): Int16Array {
  return once(name, () => levelled({ office, cafe, white }[name]()));
}

/** Somebody types, for a bit more than a second. */
export function typingSound(): Int16Array {
  return once('typing', () => shared(typing()));
}

/** Before a notice of recording: 1400 Hz for 200 ms at -20 dBFS. */
export function beepSound(): Int16Array {
  return once('beep', () => {
    const pcm = new Float64Array(0.2 * SAMPLE_RATE_HZ);
    for (let i = 0; i < pcm.length; i++) {
      const edge = Math.min(1, (i + 1) / RAMP, (pcm.length - i) / RAMP);
      pcm[i] = 4634 * edge * Math.sin((2 * Math.PI * 1400 * i) / SAMPLE_RATE_HZ);
    }
    return shared(pcm);
  });
}

function once(name: string, make: () => Int16Array): Int16Array {
  let pcm = made.get(name);
  if (pcm === undefined) {
    pcm = make();
    made.set(name, pcm);
  }
  return pcm;
}

/** Air from the ceiling, a mains hum far away, and now and then a key at another desk. */
function office(): Float64Array {
  const random = randomFrom(11);
  const sum = lowPassed(noise(random), 350, 2);
  scale(sum, 1);
  addTone(sum, 100, 0.25);
  addTone(sum, 200, 0.12);
  const keys = new Float64Array(LENGTH);
  for (let burst = 0; burst < 5; burst++) {
    let at = Math.floor(random() * LENGTH);
    for (let key = 0; key < 6 + 4 * random(); key++) {
      addClick(keys, at, 0.6 + 0.4 * random(), random);
      at += Math.floor((0.09 + 0.1 * random()) * SAMPLE_RATE_HZ);
    }
  }
  addTo(sum, lowPassed(keys, 2200, 1), 2.2);
  return sum;
}

/** Voices that cannot be told apart, and a cup that is put down. */
function cafe(): Float64Array {
  const random = randomFrom(23);
  const sum = lowPassed(noise(random), 250, 1);
  scale(sum, 0.5);
  for (let voice = 0; voice < 7; voice++) {
    const pitch = 250 + 450 * random();
    const murmur = lowPassed(highPassed(noise(random), pitch), pitch * 2, 2);
    scale(murmur, 1);
    // Syllables: four a second, swelling and fading, a whole number of them in the loop.
    const rate = (Math.round((3 + 2 * random()) * 12) * 2 * Math.PI) / LENGTH;
    const phrase = (Math.round(2 + 4 * random()) * 2 * Math.PI) / LENGTH;
    const [a, b] = [7 * random(), 7 * random()];
    for (let i = 0; i < LENGTH; i++) {
      const syllable = 0.5 + 0.5 * Math.sin(rate * i + a + 2 * Math.sin(phrase * i));
      murmur[i] =
        (murmur[i] as number) * syllable * syllable * (0.6 + 0.4 * Math.sin(phrase * i + b));
    }
    addTo(sum, murmur, 0.6);
  }
  for (let cup = 0; cup < 4; cup++) {
    const at = Math.floor(random() * LENGTH);
    const hz = 1900 + 900 * random();
    for (let i = 0; i < 1600; i++) {
      const ring = Math.sin((2 * Math.PI * hz * i) / SAMPLE_RATE_HZ) * Math.exp(-i / 250);
      addAt(sum, at + i, 1.2 * Math.min(1, i / 8) * ring);
    }
  }
  return sum;
}

function white(): Float64Array {
  return noise(randomFrom(5));
}

function typing(): Float64Array {
  const random = randomFrom(3);
  const pcm = new Float64Array(1.25 * SAMPLE_RATE_HZ);
  for (
    let at = 80;
    at < pcm.length - 800;
    at += Math.floor((0.08 + 0.1 * random()) * SAMPLE_RATE_HZ)
  )
    addClick(pcm, at, 0.5 + 0.5 * random(), random);
  const loudest = pcm.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  for (let i = 0; i < pcm.length; i++) pcm[i] = ((pcm[i] as number) / loudest) * 3300;
  return pcm;
}

/** A key going down and, softer, up again. */
function addClick(into: Float64Array, at: number, level: number, random: () => number): void {
  for (const [delay, share] of [
    [0, 1],
    [520, 0.4],
  ] as const)
    for (let i = 0; i < 160; i++) {
      const rise = Math.min(1, i / 6);
      addAt(into, at + delay + i, level * share * rise * Math.exp(-i / 25) * (2 * random() - 1));
    }
}

// ---- Parts ----

/** -1..1, `LENGTH` samples. */
function noise(random: () => number): Float64Array {
  return Float64Array.from({ length: LENGTH }, () => 2 * random() - 1);
}

/** One pole, `times` over. It goes round twice, so that the end leads into the beginning. */
function lowPassed(pcm: Float64Array, hz: number, times: number): Float64Array {
  const share = 1 - Math.exp((-2 * Math.PI * hz) / SAMPLE_RATE_HZ);
  let from = pcm;
  for (let pass = 0; pass < times; pass++) {
    const into = new Float64Array(from.length);
    let value = 0;
    for (let i = 0; i < 2 * from.length; i++) {
      const at = i % from.length;
      value += share * ((from[at] as number) - value);
      into[at] = value;
    }
    from = into;
  }
  return from;
}

function highPassed(pcm: Float64Array, hz: number): Float64Array {
  const low = lowPassed(pcm, hz, 1);
  return pcm.map((x, i) => x - (low[i] as number));
}

/** To a root mean square of `level`. */
function scale(pcm: Float64Array, level: number): void {
  const factor = level / rmsOf(pcm);
  for (let i = 0; i < pcm.length; i++) pcm[i] = (pcm[i] as number) * factor;
}

function addTo(into: Float64Array, pcm: Float64Array, factor: number): void {
  for (let i = 0; i < into.length; i++) into[i] = (into[i] as number) + factor * (pcm[i] as number);
}

/** What sounds beyond the end sounds at the beginning again. */
function addAt(into: Float64Array, at: number, value: number): void {
  const place = at % into.length;
  into[place] = (into[place] as number) + value;
}

/** A whole number of waves in the loop. */
function addTone(into: Float64Array, hz: number, level: number): void {
  const angle = (2 * Math.PI * Math.round((hz * into.length) / SAMPLE_RATE_HZ)) / into.length;
  for (let i = 0; i < into.length; i++) into[i] = (into[i] as number) + level * Math.sin(angle * i);
}

function rmsOf(pcm: Float64Array): number {
  return Math.sqrt(pcm.reduce((power, x) => power + x * x, 0) / pcm.length);
}

function levelled(pcm: Float64Array): Int16Array {
  scale(pcm, LEVEL);
  return shared(pcm);
}

function shared(pcm: Float64Array): Int16Array {
  const out = new Int16Array(new SharedArrayBuffer(pcm.length * 2));
  for (let i = 0; i < pcm.length; i++) out[i] = Math.round(pcm[i] as number);
  return out;
}

/** 0..1, the same row for the same seed (a linear congruential generator, 32 bits). */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 4_294_967_296;
  };
}

/** Longest part of a file that is laid over its beginning. */
const LAP_S = 0.25;

/**
 * A copy in shared memory that can be played in a loop: its end is faded over its beginning, so it gets shorter by as much
 * (a quarter of a second, or a quarter of what there is). Equal power, as befits two sounds that have nothing in common.
 */
export function seamless(pcm: Int16Array): Int16Array {
  const lap = Math.min(LAP_S * SAMPLE_RATE_HZ, Math.floor(pcm.length / 4));
  const length = pcm.length - lap;
  const out = new Int16Array(new SharedArrayBuffer(length * 2));
  out.set(pcm.subarray(0, length));
  for (let i = 0; i < lap; i++) {
    const angle = ((i + 0.5) / lap) * (Math.PI / 2);
    const sum =
      (pcm[i] as number) * Math.sin(angle) + (pcm[length + i] as number) * Math.cos(angle);
    out[i] = Math.max(-32_768, Math.min(32_767, Math.round(sum)));
  }
  return out;
}
