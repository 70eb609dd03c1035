/**
 * G.722 at 64 kbit/s, as far as a plane of 8 kHz needs it: the lower sub-band (ITU-T G.722 clauses 3 to 5, mode 1), whose
 * own rate is 8 kHz. Its samples are the band up to 4 kHz, so no filter bank and no conversion of rates is wanted, and
 * nothing is delayed. Bit exact with the Recommendation in that band.
 */
import { ILB, ILN, ILP, Q6, QM4, QM6, STEP_CHANGE } from './g722-tables.ts';

/**
 * The two bits of the upper sub-band that decode to exact silence: their level times the smallest step is less than one,
 * and they keep the step at its smallest.
 */
const SILENT_UPPER_BAND = 0xc0;
const STEP_START = 32;
const ZEROS = 6;

/** Six-bit ADPCM of one direction: predictor with two poles and six zeros, and the step that follows the signal. */
class LowerBand {
  /** Of the next sample. */
  #prediction = 0;
  #fromZeros = 0;
  #step = STEP_START;
  #logStep = 0;
  #pole1 = 0;
  #pole2 = 0;
  /** Partially and fully reconstructed signal, one and two samples ago. */
  #partial1 = 0;
  #partial2 = 0;
  #whole1 = 0;
  readonly #differences = new Int32Array(ZEROS);
  readonly #zeros = new Int32Array(ZEROS);

  encode(sample: number): number {
    const difference = saturate(sample - this.#prediction);
    const magnitude = difference < 0 ? -(difference + 1) : difference;
    let interval = 1;
    while (interval < Q6.length && magnitude >= ((Q6[interval] as number) * this.#step) >> 12) {
      interval++;
    }
    const code = (difference < 0 ? ILN[interval] : ILP[interval]) as number;
    this.#adapt(code >> 2);
    return code;
  }

  /** The sample, 15 bits. */
  decode(code: number): number {
    const difference = (this.#step * (QM6[code] as number)) >> 15;
    const sample = this.#prediction + difference;
    this.#adapt(code >> 2);
    return sample < -16_384 ? -16_384 : sample > 16_383 ? 16_383 : sample;
  }

  /** Clauses 3.5 to 3.7: what both ends derive from the upper four bits of a code. */
  #adapt(code: number): void {
    const difference = (this.#step * (QM4[code] as number)) >> 15;
    this.#scale(STEP_CHANGE[code] as number);
    const partial = saturate(this.#fromZeros + difference);
    const whole = saturate(this.#prediction + difference);
    this.#movePoles(partial);
    const fromZeros = this.#moveZeros(difference);
    const fromPoles = saturate(
      ((this.#pole1 * saturate(whole + whole)) >> 15) +
        ((this.#pole2 * saturate(this.#whole1 + this.#whole1)) >> 15),
    );
    this.#whole1 = whole;
    this.#partial2 = this.#partial1;
    this.#partial1 = partial;
    this.#fromZeros = fromZeros;
    this.#prediction = saturate(fromPoles + fromZeros);
  }

  #scale(change: number): void {
    const log = ((this.#logStep * 127) >> 7) + change;
    this.#logStep = log < 0 ? 0 : log > 18_432 ? 18_432 : log;
    const mantissa = ILB[(this.#logStep >> 6) & 31] as number;
    const shift = 8 - (this.#logStep >> 11);
    this.#step = (shift < 0 ? mantissa << -shift : mantissa >> shift) << 2;
  }

  #movePoles(partial: number): void {
    const isSame1 = partial < 0 === this.#partial1 < 0;
    const isSame2 = partial < 0 === this.#partial2 < 0;
    const quadruple = saturate(this.#pole1 << 2);
    let change = isSame1 ? -quadruple : quadruple;
    if (change > 32_767) change = 32_767;
    let pole2 = (change >> 7) + (isSame2 ? 128 : -128) + ((this.#pole2 * 32_512) >> 15);
    pole2 = pole2 > 12_288 ? 12_288 : pole2 < -12_288 ? -12_288 : pole2;
    const pole1 = saturate((isSame1 ? 192 : -192) + ((this.#pole1 * 32_640) >> 15));
    const limit = 15_360 - pole2;
    this.#pole1 = pole1 > limit ? limit : pole1 < -limit ? -limit : pole1;
    this.#pole2 = pole2;
  }

  /** Moves the zeros towards the difference and gives what they predict. */
  #moveZeros(difference: number): number {
    const zeros = this.#zeros;
    const differences = this.#differences;
    const change = difference === 0 ? 0 : 128;
    let sum = 0;
    for (let i = ZEROS - 1; i >= 0; i--) {
      const before = differences[i] as number;
      const step = before < 0 === difference < 0 ? change : -change;
      const zero = saturate(step + (((zeros[i] as number) * 32_640) >> 15));
      zeros[i] = zero;
      // What was the difference before this one belongs to the next zero.
      const now = i === 0 ? difference : (differences[i - 1] as number);
      differences[i] = now;
      sum += (zero * saturate(now + now)) >> 15;
    }
    return saturate(sum);
  }
}

export class G722Encoder {
  readonly #band = new LowerBand();

  /** Encodes the first `samples` samples of `pcm`, a byte each. */
  encode(pcm: Int16Array, samples: number, payload: Uint8Array): void {
    for (let i = 0; i < samples; i++) {
      payload[i] = SILENT_UPPER_BAND | this.#band.encode((pcm[i] as number) >> 1);
    }
  }
}

export class G722Decoder {
  readonly #band = new LowerBand();

  /** Decodes all of `payload`, a sample of 8 kHz for each byte. Whatever the bytes are, they are a valid signal. */
  decode(payload: DataView, pcm: Int16Array): void {
    for (let i = 0; i < payload.byteLength; i++) {
      const sample = this.#band.decode(payload.getUint8(i) & 0x3f) << 1;
      // -32,768 marks holes.
      pcm[i] = sample < -32_767 ? -32_767 : sample;
    }
  }
}

function saturate(value: number): number {
  return value > 32_767 ? 32_767 : value < -32_768 ? -32_768 : value;
}
