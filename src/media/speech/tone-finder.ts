/**
 * Finds steady single tones in 8 kHz audio: the beep of a voicemail box, the call of a fax. Each 20 ms frame is fitted
 * with one sine (a recurrence of order 2 tells its frequency, Goertzel how much of the energy it is); frames in a
 * row that agree are a tone. Nothing is allocated per frame.
 */
import { FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE_HZ } from '../types.ts';

export type FoundTone = {
  readonly hz: number;
  /** In the time that `push` is given. */
  readonly startMs: number;
  readonly endMs: number;
  /** False for one that has lasted `LONG_TONE_MS` and goes on; it is told again at its end. */
  readonly isOver: boolean;
};

/** Shorter ones are told by nobody on purpose. */
export const MIN_TONE_MS = 120;
export const LONG_TONE_MS = 1_000;

/** Of what telephones and machines signal with single tones. */
const LOWEST_HZ = 380;
const HIGHEST_HZ = 2_150;
/** So much of a frame's energy is the sine. */
const PURITY = 0.85;
/** A vowel glides; a tone does not. */
const DRIFT_HZ = 20;
/** Mean square of the quietest tone, about -48 dBFS. */
const MIN_POWER = 130 ** 2;
/** Ratio of power between frames of one tone. */
const MAX_SWING = 4;
/** A fax turns its tone's phase round every 450 ms (ITU-T V.25): that spoils one frame or two. */
const MAX_SPOILT = 2;

export class ToneFinder {
  readonly #onTone: (tone: FoundTone) => void;
  readonly #frame = new Int16Array(FRAME_SAMPLES);
  #fill = 0;
  /** Frames of the present tone that are one, and those since the last of them. */
  #frames = 0;
  #spoilt = 0;
  #hz = 0;
  #power = 0;
  #startMs = 0;
  #endMs = 0;
  #isLongTold = false;
  #framePower = 0;

  constructor(onTone: (tone: FoundTone) => void) {
    this.#onTone = onTone;
  }

  /** The next samples; `endMs`: when the last of them was heard. */
  push(pcm: Int16Array, count: number, endMs: number): void {
    for (let i = 0; i < count; i++) {
      this.#frame[this.#fill++] = pcm[i] as number;
      if (this.#fill < FRAME_SAMPLES) continue;
      this.#fill = 0;
      this.#take(endMs - ((count - 1 - i) * 1000) / SAMPLE_RATE_HZ);
    }
  }

  #take(endMs: number): void {
    const hz = this.#frequency();
    const isTone = hz > 0;
    if (isTone && this.#frames > 0 && this.#agrees(hz)) {
      // A slow average: the estimate of one frame is off by some hertz on a noisy line.
      this.#hz += (hz - this.#hz) / Math.min(8, this.#frames + 1);
      this.#power += (this.#framePower - this.#power) / 4;
      this.#grow(endMs);
      return;
    }
    if (this.#frames > 0 && ++this.#spoilt <= MAX_SPOILT && this.#frames > 1) return;
    this.#finish();
    if (!isTone) return;
    this.#hz = hz;
    this.#power = this.#framePower;
    this.#startMs = endMs - FRAME_MS;
    this.#grow(endMs);
  }

  #grow(endMs: number): void {
    this.#frames++;
    this.#spoilt = 0;
    this.#endMs = endMs;
    const lastedMs = this.#endMs - this.#startMs;
    if (this.#isLongTold || lastedMs < LONG_TONE_MS) return;
    this.#isLongTold = true;
    this.#tell(false);
  }

  #agrees(hz: number): boolean {
    const ratio = this.#framePower / this.#power;
    return Math.abs(hz - this.#hz) <= DRIFT_HZ && ratio < MAX_SWING && ratio > 1 / MAX_SWING;
  }

  #finish(): void {
    if (this.#frames > 0 && this.#endMs - this.#startMs >= MIN_TONE_MS) this.#tell(true);
    this.#frames = 0;
    this.#spoilt = 0;
    this.#isLongTold = false;
  }

  #tell(isOver: boolean): void {
    const { hz, startMs, endMs } = { hz: this.#hz, startMs: this.#startMs, endMs: this.#endMs };
    this.#onTone({ hz: Math.round(hz), startMs, endMs, isOver });
  }

  /**
   * Of the sine that the frame is; 0: it is none. Of a sine x[n] + x[n-2] is 2 cos(w) x[n-1]; the factor is fitted by
   * total least squares, because an ordinary fit is drawn towards 2 kHz by the noise of the line.
   */
  #frequency(): number {
    const frame = this.#frame;
    let before = frame[0] as number;
    let x = frame[1] as number;
    let energy = before * before + x * x;
    let sums = 0;
    let product = 0;
    let middle = 0;
    for (let i = 2; i < FRAME_SAMPLES; i++) {
      const next = frame[i] as number;
      const sum = next + before;
      sums += sum * sum;
      product += x * sum;
      middle += x * x;
      energy += next * next;
      before = x;
      x = next;
    }
    this.#framePower = energy / FRAME_SAMPLES;
    if (this.#framePower < MIN_POWER || product === 0) return 0;
    const cosine = slopeOf(middle, product / Math.SQRT2, sums / 2) / Math.SQRT2;
    const hz = (Math.acos(cosine) * SAMPLE_RATE_HZ) / (2 * Math.PI);
    // Also what is no cosine.
    if (!(hz >= LOWEST_HZ && hz <= HIGHEST_HZ)) return 0;
    return this.#share(2 * cosine, energy) >= PURITY ? hz : 0;
  }

  /** How much of the frame's energy lies at one frequency, by Goertzel. */
  #share(k: number, energy: number): number {
    let s1 = 0;
    let s2 = 0;
    for (let i = 0; i < FRAME_SAMPLES; i++) {
      const s0 = (this.#frame[i] as number) + k * s1 - s2;
      s2 = s1;
      s1 = s0;
    }
    const power = s1 * s1 + s2 * s2 - k * s1 * s2;
    return (2 * power) / (FRAME_SAMPLES * energy);
  }
}

/** Of the line through points whose squares and products sum up to these, both sides being equally noisy. */
function slopeOf(xx: number, xy: number, yy: number): number {
  const root = Math.hypot(yy - xx, 2 * xy);
  return yy < xx ? (2 * xy) / (xx - yy + root) : (yy - xx + root) / (2 * xy);
}
