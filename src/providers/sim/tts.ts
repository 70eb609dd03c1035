/** Scripted voice: 200 ms of a tone of its own for every word (every character of Chinese), with exact marks. */
import type { Clock } from '#lib/clock.ts';
import { delay } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import type { TtsChunk, TtsProvider, TtsRequest } from '../contract.ts';
import { faultAt, type SimScript } from './script.ts';
import { hang } from './wait.ts';

export type SimTtsOptions = { readonly script: SimScript; readonly clock: Clock };

export const SIM_WORD_MS = 200;
const WORD_SAMPLES = SIM_WORD_MS * 8;
const GAP_SAMPLES = 160;
const RAMP_SAMPLES = 80;
const AMPLITUDE = 0.3;
/** Slower than real time by half. */
const SLOW_MS = SIM_WORD_MS * 1.5;

export function createSimTts(options: SimTtsOptions): TtsProvider {
  let count = 0;
  return {
    vendor: 'sim',
    speak: (request, signal) => speak(options, request, ++count, signal),
  };
}

async function* speak(
  { script, clock }: SimTtsOptions,
  request: TtsRequest,
  count: number,
  signal: AbortSignal,
): AsyncGenerator<TtsChunk, void> {
  const fault = faultAt(script, 'tts', count, request.text);
  await delay(script.delays?.ttsMs ?? 0, signal, clock);
  if (fault === 'error') throw scripted();
  if (fault === 'hang') await hang(signal);
  if (fault === 'junk') return yield* junk(request.text);
  const words = simWords(request.text);
  for (const [index, word] of words.entries()) {
    if (signal.aborted) throw new AppError('E_ABORTED', 'the speech was given up');
    if (fault === 'error_midway' && index >= words.length / 2) throw scripted();
    if (fault === 'slow') await delay(SLOW_MS, signal, clock);
    const marks = [{ chars: word.end, ms: (index + 1) * SIM_WORD_MS }];
    yield { pcm: simWordSound(word.text), marks };
  }
}

export type SimWord = {
  readonly text: string;
  /** End in the text, UTF-16 units. */ readonly end: number;
};

/** The units that get a tone each; punctuation counts to the word before it. */
export function simWords(text: string): SimWord[] {
  const unit = /(?:\p{Script=Han}|(?:(?!\p{Script=Han})[\p{L}\p{N}'’])+)[\p{P}\p{S}]*/gu;
  return [...text.matchAll(unit)].map((match) => ({
    text: match[0],
    end: match.index + match[0].length,
  }));
}

/** The sound of one word: three harmonics of a pitch made from its letters, then 20 ms of silence. */
export function simWordSound(word: string): Int16Array {
  let hash = 7;
  for (const char of word) hash = (hash * 31 + (char.codePointAt(0) ?? 0)) % 9973;
  const step = (2 * Math.PI * (140 + (hash % 64) * 5)) / 8000;
  const pcm = new Int16Array(WORD_SAMPLES);
  const length = WORD_SAMPLES - GAP_SAMPLES;
  for (let i = 0; i < length; i++) {
    const ramp = Math.min(1, i / RAMP_SAMPLES, (length - i) / RAMP_SAMPLES);
    const wave = Math.sin(step * i) + 0.6 * Math.sin(2 * step * i) + 0.4 * Math.sin(3 * step * i);
    pcm[i] = Math.round((32767 * AMPLITUDE * ramp * wave) / 2);
  }
  return pcm;
}

/** Chunks of odd sizes, a loud click, marks out of order and beyond the text. */
async function* junk(text: string): AsyncGenerator<TtsChunk, void> {
  yield { pcm: new Int16Array(0), marks: [{ chars: text.length + 50, ms: 9000 }] };
  yield { pcm: new Int16Array(1).fill(32767), marks: [{ chars: 2, ms: 40 }] };
  yield { pcm: new Int16Array(333).fill(-32768), marks: [{ chars: 1, ms: 20 }] };
}

function scripted(): AppError {
  return new AppError('E_PROVIDER_SERVER', 'scripted voice fault');
}
