/**
 * A number as four tones: how a scripted caller says which utterance it speaks, so that tests and the demo run through
 * real audio without speech recognition. Each symbol is two tones, one telling its place (0-3), one its value (0-7);
 * places 0-2 are octal digits, place 3 a check digit. Because a symbol carries its own place, 20 ms lost or repeated
 * by a jitter buffer do no harm. All frequencies are multiples of 50 Hz (whole cycles in a 20 ms window), none is DTMF.
 */

const RATE_HZ = 8000;
const PLACE_HZ = [350, 450, 550, 650] as const;
const VALUE_HZ = [1800, 1950, 2100, 2250, 2400, 2550, 2700, 2850] as const;
const SYMBOL_SAMPLES = 640;
const RAMP_SAMPLES = 40;
const TAIL_SAMPLES = 160;
/** Of full scale, per tone. */
const AMPLITUDE = 0.18;

const WINDOW = 160;
const HOP = 80;
/** A window counts when each tone is this many times stronger than the others of its group, */
const DOMINANCE = 6;
/** both together make up this share of all energy in it, */
const PURITY = 0.7;
/** and it is not silence (mean square; full scale is 32768²). */
const MIN_POWER = 200 ** 2;
/** Windows in a row that make a symbol; 80 ms hold seven, and five of them may be spoilt by one lost frame. */
const MIN_WINDOWS = 2;
/** Windows without the next symbol after which a code is given up. */
const MAX_GAP_WINDOWS = 25;

/** Ids from 0 to this one can be sent. */
export const MAX_UTTERANCE_ID = 511;

/** PCM (8 kHz) of the code for `id`, 340 ms, to be played right before the utterance. Errors: RangeError. */
export function encodeUtteranceId(id: number): Int16Array {
  if (!Number.isInteger(id) || id < 0 || id > MAX_UTTERANCE_ID) {
    throw new RangeError(`an utterance id is a whole number from 0 to ${MAX_UTTERANCE_ID}: ${id}`);
  }
  const digits = [(id >> 6) & 7, (id >> 3) & 7, id & 7];
  const symbols = [...digits, checkDigit(digits)];
  const pcm = new Int16Array(symbols.length * SYMBOL_SAMPLES + TAIL_SAMPLES);
  for (const [place, value] of symbols.entries()) {
    const low = (2 * Math.PI * (PLACE_HZ[place] ?? 0)) / RATE_HZ;
    const high = (2 * Math.PI * (VALUE_HZ[value] ?? 0)) / RATE_HZ;
    for (let i = 0; i < SYMBOL_SAMPLES; i++) {
      const ramp = Math.min(1, (i + 1) / RAMP_SAMPLES, (SYMBOL_SAMPLES - i) / RAMP_SAMPLES);
      const sample = Math.sin(low * i) + Math.sin(high * i);
      pcm[place * SYMBOL_SAMPLES + i] = Math.round(32767 * AMPLITUDE * ramp * sample);
    }
  }
  return pcm;
}

/** Odd weights: any single wrong digit changes the sum modulo 8. */
function checkDigit(digits: readonly number[]): number {
  const [a = 0, b = 0, c = 0] = digits;
  return (3 * a + 5 * b + 7 * c + 5) % 8;
}

/** The first id in `pcm`, or null. */
export function decodeUtteranceId(pcm: Int16Array): number | null {
  let found: number | null = null;
  const decoder = new UtteranceToneDecoder((id) => (found ??= id));
  decoder.push(pcm);
  return found;
}

/** Finds codes in a stream of 8 kHz audio of any chunk size. */
export class UtteranceToneDecoder {
  readonly #onId: (id: number) => void;
  readonly #window = new Int16Array(WINDOW);
  #filled = 0;
  #symbol = -1;
  #run = 0;
  #gap = 0;
  #digits: number[] = [];

  constructor(onId: (id: number) => void) {
    this.#onId = onId;
  }

  push(pcm: Int16Array): void {
    for (const sample of pcm) {
      this.#window[this.#filled++] = sample;
      if (this.#filled < WINDOW) continue;
      this.#onWindow(symbolIn(this.#window));
      this.#window.copyWithin(0, HOP);
      this.#filled = WINDOW - HOP;
    }
  }

  #onWindow(symbol: number): void {
    if (this.#digits.length > 0 && ++this.#gap > MAX_GAP_WINDOWS) this.#digits = [];
    this.#run = symbol === this.#symbol ? this.#run + 1 : 1;
    this.#symbol = symbol;
    if (symbol >= 0 && this.#run === MIN_WINDOWS) {
      this.#onSymbol(symbol >> 3, symbol & 7);
    }
  }

  #onSymbol(place: number, value: number): void {
    // The same symbol again: a window in between was spoilt.
    if (place === this.#digits.length - 1 && value === this.#digits[place]) return;
    this.#gap = 0;
    if (place === 0) {
      this.#digits = [value];
      return;
    }
    if (place !== this.#digits.length) {
      this.#digits = [];
      return;
    }
    if (place < 3) {
      this.#digits.push(value);
      return;
    }
    const [a = 0, b = 0, c = 0] = this.#digits;
    const isSound = checkDigit(this.#digits) === value;
    this.#digits = [];
    if (isSound) this.#onId(a * 64 + b * 8 + c);
  }
}

/** place * 8 + value of the symbol that fills the window, or -1. */
function symbolIn(window: Int16Array): number {
  let energy = 0;
  for (const sample of window) energy += sample * sample;
  if (energy < MIN_POWER * WINDOW) return -1;
  const place = strongest(window, PLACE_HZ);
  const value = strongest(window, VALUE_HZ);
  if (place === null || value === null) return -1;
  // A tone of amplitude a has power (a * N / 2)² in its bin and energy a² * N / 2 in the window.
  const tonal = (2 * (place.power + value.power)) / WINDOW;
  return tonal >= PURITY * energy ? place.index * 8 + value.index : -1;
}

function strongest(
  window: Int16Array,
  frequencies: readonly number[],
): { index: number; power: number } | null {
  let index = -1;
  let power = 0;
  let second = 0;
  for (const [at, hz] of frequencies.entries()) {
    const found = goertzel(window, hz);
    if (found > power) {
      second = power;
      power = found;
      index = at;
    } else if (found > second) {
      second = found;
    }
  }
  return index >= 0 && power >= DOMINANCE * second ? { index, power } : null;
}

/** Power of one frequency in the window. */
function goertzel(window: Int16Array, hz: number): number {
  const k = 2 * Math.cos((2 * Math.PI * hz) / RATE_HZ);
  let s1 = 0;
  let s2 = 0;
  for (const sample of window) {
    const s0 = sample + k * s1 - s2;
    s2 = s1;
    s1 = s0;
  }
  return s1 * s1 + s2 * s2 - k * s1 * s2;
}
