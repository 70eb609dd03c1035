/**
 * A recording read by a recogniser: the detector of the telephone cuts it into utterances, and the recogniser gets them
 * as it gets those of a call, only faster.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { AppError } from '#lib/errors.ts';
import { newId } from '#lib/ids.ts';
import { toTelephoneRate } from '#media/codec/resample.ts';
import { FRAME_SAMPLES, SAMPLE_RATE_HZ } from '#media/types.ts';
import { loadSpeechClassifiers, Vad } from '#media/speech/vad.ts';
import type { Language, SttEvent, SttProvider, UtteranceAudio } from '#providers/contract.ts';

export type RecognisedSegment = {
  readonly text: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly confidence: number | null;
};

export type RecordedSpeech = {
  /** What was understood; empty segments are left out. */
  readonly segments: readonly RecognisedSegment[];
  /** From the first utterance to the last; null when there is nothing but silence. */
  readonly spoken: UtteranceAudio | null;
};

/** As `UtteranceAudio` has it in calls. */
const BEFORE_MS = 200;
/** Whoever reads a recording has time: an utterance ends with a pause that is one. */
const PAUSE_MS = 440;
const FRAMES_A_TURN = 250;
/** Quieter than this from first to last is a silent recording. */
const SILENCE = 16;

/**
 * `pcm` is mono at `rateHz`. It has no deadline of its own: aborting `signal` gives up. Errors: E_PROVIDER_*, E_MEDIA,
 * E_ABORTED.
 */
export async function readSpeech(
  stt: SttProvider,
  pcm: Int16Array,
  rateHz: number,
  language: Language,
  signal: AbortSignal,
): Promise<RecordedSpeech> {
  const audio = await toTelephoneRate(pcm, rateHz);
  throwIfLeft(signal);
  const utterances = await utterancesIn(audio, signal);
  const ears = new Ears();
  const session = stt.open({ callId: newId(), language, onEvent: (event) => ears.hear(event) });
  const onAbort = (): void => ears.fail(new AppError('E_ABORTED', 'nobody waits any more'));
  signal.addEventListener('abort', onAbort, { once: true });
  const segments: RecognisedSegment[] = [];
  let pushedTo = 0;
  try {
    for (const span of utterances) {
      const to = Math.min(audio.length, samplesIn(span.endMs));
      session.speechStarted(span.startMs);
      for (let frames = 1; pushedTo < to; frames++) {
        const end = Math.min(to, pushedTo + FRAME_SAMPLES);
        session.push(audio.subarray(pushedTo, end));
        pushedTo = end;
        if (frames % FRAMES_A_TURN === 0) await nextTurn();
        throwIfLeft(signal);
      }
      session.speechStopped(utteranceAudio(audio, span));
      segments.push(...(await ears.next(span)));
    }
    return { segments, spoken: spokenPart(audio, utterances) };
  } finally {
    signal.removeEventListener('abort', onAbort);
    session.close();
  }
}

/** All of it as one text, with the mean confidence of those segments that have one. */
export function joined(segments: readonly RecognisedSegment[]): {
  readonly text: string;
  readonly confidence: number | null;
} {
  const sure = segments.flatMap(({ confidence }) => (confidence === null ? [] : [confidence]));
  const mean = sure.reduce((sum, each) => sum + each, 0) / sure.length;
  let text = '';
  for (const segment of segments) {
    // Chinese runs on; words of other scripts are kept apart.
    const needsSpace = /[\p{L}\p{N}.!?,;]$/u.test(text) && !/\p{Script=Han}$/u.test(text);
    text += needsSpace ? ` ${segment.text}` : segment.text;
  }
  return { text, confidence: sure.length === 0 ? null : Math.round(mean * 1000) / 1000 };
}

function throwIfLeft(signal: AbortSignal): void {
  if (signal.aborted) throw new AppError('E_ABORTED', 'nobody waits any more');
}

type Span = { readonly startMs: number; readonly endMs: number };

/** One at a time: a recogniser owes one `final` for each utterance, and may give more. */
class Ears {
  #finals: Extract<SttEvent, { type: 'final' }>[] = [];
  #error: Error | null = null;
  #wake: (() => void) | null = null;

  hear(event: SttEvent): void {
    if (event.type === 'partial') return;
    if (event.type === 'error') return this.fail(event.error);
    this.#finals.push(event);
    this.#wake?.();
  }

  fail(error: Error): void {
    this.#error ??= error;
    this.#wake?.();
  }

  async next(span: Span): Promise<RecognisedSegment[]> {
    while (this.#finals.length === 0 && this.#error === null) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
    this.#wake = null;
    if (this.#error !== null) throw this.#error;
    const finals = this.#finals;
    this.#finals = [];
    return finals.flatMap(({ text, startMs, endMs, confidence }) => {
      if (text.trim() === '') return [];
      const from = Math.round(startMs ?? span.startMs);
      const to = Math.max(from, Math.round(endMs ?? span.endMs));
      return [{ text: text.trim(), startMs: from, endMs: to, confidence }];
    });
  }
}

/** Where somebody speaks. Sound in which the detector finds no speech is one utterance; silence is none. */
async function utterancesIn(audio: Int16Array, signal: AbortSignal): Promise<Span[]> {
  const spans: Span[] = [];
  const classifier = (await loadSpeechClassifiers())();
  const told = {
    started: () => undefined,
    stopped: (startMs: number, endMs: number) => spans.push({ startMs, endMs }),
  };
  const vad = new Vad(classifier, told, { hangoverMs: PAUSE_MS });
  try {
    const frame = new Int16Array(FRAME_SAMPLES);
    // Silence behind the end lets the detector finish the last utterance.
    const total = audio.length + samplesIn(PAUSE_MS) + 4 * FRAME_SAMPLES;
    for (let at = 0, frames = 1; at < total; at += FRAME_SAMPLES, frames++) {
      const part = audio.subarray(at, at + FRAME_SAMPLES);
      frame.fill(0);
      frame.set(part);
      vad.write(frame, FRAME_SAMPLES, millisecondsIn(at), millisecondsIn(at));
      if (frames % FRAMES_A_TURN === 0) await nextTurn();
      throwIfLeft(signal);
    }
  } finally {
    vad.free();
  }
  if (spans.length > 0) return spans;
  const isSilent = !audio.some((sample) => sample > SILENCE || sample < -SILENCE);
  return isSilent ? [] : [{ startMs: 0, endMs: millisecondsIn(audio.length) }];
}

function spokenPart(audio: Int16Array, spans: readonly Span[]): UtteranceAudio | null {
  const [first] = spans;
  const last = spans.at(-1);
  if (first === undefined || last === undefined) return null;
  return utteranceAudio(audio, { startMs: first.startMs, endMs: last.endMs });
}

function utteranceAudio(audio: Int16Array, { startMs, endMs }: Span): UtteranceAudio {
  const from = Math.max(0, samplesIn(startMs - BEFORE_MS));
  return { pcm: audio.slice(from, samplesIn(endMs)), startMs, endMs };
}

function samplesIn(ms: number): number {
  return Math.round((ms * SAMPLE_RATE_HZ) / 1000);
}

function millisecondsIn(samples: number): number {
  return (samples * 1000) / SAMPLE_RATE_HZ;
}
