/** What may be mixed into a call, checked before it is sent to the worker. */
import { AppError } from '#lib/errors.ts';
import { MAX_EFFECT_SAMPLES, type BackgroundSound } from './mix-types.ts';
import { checkGain } from './party.ts';
import { FRAME_SAMPLES, SAMPLE_RATE_HZ } from '../types.ts';

/** Ten minutes. */
const MAX_BACKGROUND = 600 * SAMPLE_RATE_HZ;
const MAX_DUCK_DB = 60;

/** Errors: E_REQUEST. */
export function checkedBackground(sound: BackgroundSound): BackgroundSound {
  const { pcm, gainDb, duckDb } = sound;
  checkGain(gainDb);
  if (!(duckDb >= 0 && duckDb <= MAX_DUCK_DB))
    throw new AppError('E_REQUEST', `a background is ducked by 0 to ${MAX_DUCK_DB} dB`);
  if (pcm.length < FRAME_SAMPLES || pcm.length > MAX_BACKGROUND)
    throw new AppError('E_REQUEST', 'a background lasts 20 ms to 10 min');
  return { ...sound, pcm: toSend(pcm) };
}

/** Errors: E_REQUEST. */
export function checkedEffect(pcm: Int16Array): Int16Array {
  if (pcm.length === 0 || pcm.length > MAX_EFFECT_SAMPLES)
    throw new AppError('E_REQUEST', 'an effect lasts 10 s at most');
  return toSend(pcm);
}

/** A part of a larger buffer would be copied with all of it. */
function toSend(pcm: Int16Array): Int16Array {
  const isPart =
    !(pcm.buffer instanceof SharedArrayBuffer) && pcm.byteLength < pcm.buffer.byteLength;
  return isPart ? pcm.slice() : pcm;
}
