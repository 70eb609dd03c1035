/** Digits as tones in the audio: two frequencies each (ITU-T Q.23), the upper 2 dB louder, rounded off at both ends. */
import { SAMPLE_RATE_HZ } from '../types.ts';

/** Of RFC 4733 (table 3), which is also the order of the event numbers. */
export const DTMF_DIGITS = '0123456789*#ABCD';

export const DTMF_ROWS_HZ = [697, 770, 852, 941] as const;
export const DTMF_COLUMNS_HZ = [1209, 1336, 1477, 1633] as const;
/** Rows by columns of a keypad. */
export const DTMF_KEYPAD = '123A456B789C*0#D';

/** Amplitude of a sine of 0 dBm0 in G.711, full scale being 3.14 dB above it. */
const ZERO_DBM0 = 32_767 * 10 ** (-3.14 / 20);
/** The two together stay well below full scale, and within what Q.24 receivers take. */
const LOW_AMPLITUDE = ZERO_DBM0 * 10 ** (-10 / 20);
const HIGH_AMPLITUDE = ZERO_DBM0 * 10 ** (-8 / 20);
/** 5 ms at either end: no click. */
const RAMP = 40;

/** The two frequencies of a digit. Errors: RangeError for anything else. */
export function dtmfFrequencies(digit: string): readonly [lowHz: number, highHz: number] {
  const key = DTMF_KEYPAD.indexOf(digit);
  if (key < 0 || digit.length !== 1) throw new RangeError(`no DTMF digit: ${digit}`);
  return [DTMF_ROWS_HZ[key >> 2] as number, DTMF_COLUMNS_HZ[key & 3] as number];
}

/** Fills `frame` with samples `from` and up of a tone of `length` samples; silence after its end. */
export function renderTone(frame: Int16Array, digit: string, from: number, length: number): void {
  const key = DTMF_KEYPAD.indexOf(digit);
  const low = (2 * Math.PI * (DTMF_ROWS_HZ[key >> 2] as number)) / SAMPLE_RATE_HZ;
  const high = (2 * Math.PI * (DTMF_COLUMNS_HZ[key & 3] as number)) / SAMPLE_RATE_HZ;
  for (let i = 0; i < frame.length; i++) {
    const at = from + i;
    const tone = LOW_AMPLITUDE * Math.sin(low * at) + HIGH_AMPLITUDE * Math.sin(high * at);
    frame[i] = at < length ? Math.round(tone * gainAt(at, length)) : 0;
  }
}

function gainAt(at: number, length: number): number {
  const edge = Math.min(at, length - 1 - at);
  return edge >= RAMP ? 1 : (1 - Math.cos((Math.PI * edge) / RAMP)) / 2;
}
