/**
 * Whether a frame may be two tones of the keypad at all, by figures that cost next to nothing: nine of ten frames of a voice
 * are none. Asked of halves of 10 ms, so that whatever is long enough for a key has some that are nothing but tone.
 */
import type { FrameSound } from '../speech/frame-sound.ts';
import { FRAME_SAMPLES } from '../types.ts';

const HALF = FRAME_SAMPLES / 2;
/** A square less than the quietest key; two tones swing against each other. */
const MIN_POWER = 190 ** 2;
/** Peak, squared, to power: 4.5 of two tones, up to 8 in noise 10 dB below them; a voice mostly has more. */
const MAX_CREST = 8.5;
/** Likeness to itself a sample, and two, later: 0.34 to 0.83 and -0.66 to 0.41 of two tones, and room for noise. */
const LEAST_NEXT = 0.22;
const MOST_NEXT = 0.87;
const LEAST_SECOND = -0.74;
const MOST_SECOND = 0.5;

/** Of the last half when a tone as quiet as that may begin within it. */
const MIN_BEGINNING = (MIN_POWER * HALF) / 4;

/** Whether it is loud enough for a tone, or for the beginning of one. */
export function isAudible(sound: FrameSound): boolean {
  return sound.lastEnergy >= MIN_BEGINNING || sound.firstEnergy >= MIN_POWER * HALF;
}

export function mayBeTone(sound: FrameSound): boolean {
  return (
    isLike(sound, 0, sound.firstEnergy, sound.firstPeak) ||
    isLike(sound, HALF, sound.lastEnergy, sound.lastPeak)
  );
}

function isLike(sound: FrameSound, from: number, energy: number, peak: number): boolean {
  if (energy < MIN_POWER * HALF || peak * peak * HALF > MAX_CREST * energy) return false;
  const { samples } = sound;
  let next = 0;
  let second = 0;
  for (let i = from + 2; i < from + HALF; i++) {
    const sample = samples[i] as number;
    next += sample * (samples[i - 1] as number);
    second += sample * (samples[i - 2] as number);
  }
  return (
    next > LEAST_NEXT * energy &&
    next < MOST_NEXT * energy &&
    second > LEAST_SECOND * energy &&
    second < MOST_SECOND * energy
  );
}
