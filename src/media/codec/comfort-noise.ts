/**
 * What is heard while the other side says nothing and sends nothing: noise as its silence descriptors tell (RFC 3389), or
 * like its last silence (DTX of Opus, which has none). Without it a far end that suppresses silence would sound cut off
 * after every word. We ourselves send all the time and hence no descriptors.
 */
import { EMPTY_SAMPLE } from '../jitter/jitter-buffer.ts';
import { NoiseShape } from '../jitter/noise-shape.ts';
import { FRAME_SAMPLES } from '../types.ts';

/** Reflection coefficients that are used; more say nothing about telephone audio. */
const MAX_ORDER = 12;
const LARGEST = 0.98;
const OVERLOAD = 32_768;
/** The level moves to a new one within about 20 ms. */
const GLIDE = 1 / FRAME_SAMPLES;
/** Even noise between -1 and 1 has this power. */
const EVEN_POWER = Math.sqrt(1 / 3);

export class ComfortNoise {
  readonly #shape = new NoiseShape();
  readonly #quiet = new Float64Array(FRAME_SAMPLES);
  readonly #reflection = new Float64Array(MAX_ORDER);
  readonly #lattice = new Float64Array(MAX_ORDER + 1);
  #order = 0;
  #level = 0;
  #target = 0;
  #isLikeSound = false;
  #isLearnt = false;
  #seed = 0x1234_567;
  /** Call times of the silence that is on or was last, and of the one before. */
  #from = Number.POSITIVE_INFINITY;
  #until = Number.POSITIVE_INFINITY;
  #fromBefore = 0;
  #untilBefore = 0;

  /** The other side sends nothing at present, and has said so. */
  get isOn(): boolean {
    return this.#from < Number.POSITIVE_INFINITY && this.#until === Number.POSITIVE_INFINITY;
  }

  /** Where the stream is placed is not known any more. */
  restart(): void {
    this.#from = Number.POSITIVE_INFINITY;
    this.#until = Number.POSITIVE_INFINITY;
    this.#untilBefore = 0;
  }

  /** A silence descriptor: level in -dBov, then quantised reflection coefficients. From call time `position` on. */
  describe(payload: DataView, position: number): void {
    this.#target = OVERLOAD * 10 ** (-(payload.getUint8(0) & 0x7f) / 20);
    this.#order = Math.min(MAX_ORDER, payload.byteLength - 1);
    let rest = 1;
    for (let i = 0; i < this.#order; i++) {
      const value = ((payload.getUint8(i + 1) - 127) * 258) / OVERLOAD;
      const coefficient = Math.max(-LARGEST, Math.min(LARGEST, value));
      this.#reflection[i] = coefficient;
      rest *= 1 - coefficient * coefficient;
    }
    this.#target *= Math.sqrt(rest) / EVEN_POWER;
    if (!this.isOn) this.#level = this.#target;
    this.#isLikeSound = false;
    this.#begin(position);
  }

  /** The last `length` samples of `pcm` are silence as it sounds there, and packets may stay away from `position` on. */
  hear(pcm: Int16Array, length: number, position: number): void {
    const from = length - FRAME_SAMPLES;
    for (let i = 0; i < FRAME_SAMPLES; i++) {
      this.#quiet[i] = from + i < 0 ? 0 : (pcm[from + i] as number);
    }
    this.#isLikeSound = true;
    this.#isLearnt = false;
    this.#begin(position);
  }

  /** Sound has come; `position` is its call time. */
  audio(position: number): void {
    if (position >= this.#from && position < this.#until) this.#until = position;
  }

  /** Whether what is missing at call time `position` is silence. */
  covers(position: number): boolean {
    if (position >= this.#from) return position < this.#until;
    return position >= this.#fromBefore && position < this.#untilBefore;
  }

  /** Puts noise where nothing came in `frame`; `position` is its call time. True when there was silence in it. */
  fill(frame: Int16Array, position: number): boolean {
    let isSilence = false;
    for (let i = 0; i < frame.length; i++) {
      if (frame[i] !== EMPTY_SAMPLE || !this.covers(position + i)) continue;
      isSilence = true;
      frame[i] = this.#next();
    }
    return isSilence;
  }

  #begin(position: number): void {
    if (this.isOn && position >= this.#from) return;
    if (this.#until > this.#from && this.#until < Number.POSITIVE_INFINITY) {
      this.#fromBefore = this.#from;
      this.#untilBefore = this.#until;
    }
    this.#from = position;
    this.#until = Number.POSITIVE_INFINITY;
  }

  #next(): number {
    let value: number;
    if (this.#isLikeSound) {
      if (!this.#isLearnt) this.#shape.learn(this.#quiet, FRAME_SAMPLES);
      this.#isLearnt = true;
      value = this.#shape.next();
    } else {
      this.#level += (this.#target - this.#level) * GLIDE;
      value = this.#filtered(this.#white() * this.#level);
    }
    return Math.max(-32_767, Math.min(32_767, Math.round(value)));
  }

  /** All-pole lattice of the reflection coefficients. */
  #filtered(excitation: number): number {
    const [k, b] = [this.#reflection, this.#lattice];
    let value = excitation;
    for (let i = this.#order - 1; i >= 0; i--) {
      value -= (k[i] as number) * (b[i] as number);
      b[i + 1] = (b[i] as number) + (k[i] as number) * value;
    }
    b[0] = value;
    return value;
  }

  /** Even between -1 and 1. */
  #white(): number {
    this.#seed ^= this.#seed << 13;
    this.#seed ^= this.#seed >>> 17;
    this.#seed ^= this.#seed << 5;
    return this.#seed / 2_147_483_648;
  }
}
