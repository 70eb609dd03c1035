/** Scripted recogniser: reads the tone-coded id before an utterance and looks its words up. */
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { decodeUtteranceId, UtteranceToneDecoder } from '#lib/utterance-tones.ts';
import type { Language, SttEvent, SttProvider, SttSession, UtteranceAudio } from '../contract.ts';
import { faultAt, type SimScript } from './script.ts';

export type SimSttOptions = { readonly script: SimScript; readonly clock: Clock };

/** Codes heard and not yet claimed by an utterance; the oldest go. */
const MAX_PENDING = 8;

export function createSimStt(options: SimSttOptions): SttProvider {
  return {
    vendor: 'sim',
    reads: true,
    open: (call) => openSession(options, (event) => call.onEvent(event)),
  };
}

function openSession(options: SimSttOptions, onEvent: (event: SttEvent) => void): SttSession {
  const { script, clock } = options;
  const delayMs = script.delays?.sttMs ?? 0;
  const timers = new Set<TimerHandle>();
  let pending: number[] = [];
  let finals = 0;
  let isClosed = false;

  const later = (event: SttEvent): void => {
    const timer = clock.setTimer(() => {
      timers.delete(timer);
      if (!isClosed) onEvent(event);
    }, delayMs);
    timers.add(timer);
  };
  const textOf = (id: number): string => script.utterances?.[String(id)] ?? '';
  const decoder = new UtteranceToneDecoder((id) => {
    pending = [...pending, id].slice(-MAX_PENDING);
    const text = textOf(id);
    if (text !== '') later({ type: 'partial', text: firstHalf(text) });
  });
  return {
    push(pcm) {
      if (!isClosed) decoder.push(pcm);
    },
    speechStarted: () => undefined,
    speechStopped(audio) {
      if (isClosed) return;
      const ids = pending.length > 0 ? pending : idsIn(audio);
      pending = [];
      const text = ids.map(textOf).filter(Boolean).join(' ');
      const fault = faultAt(script, 'stt', ++finals, text);
      if (fault === 'hang') return;
      if (fault === 'error_midway') later({ type: 'partial', text: firstHalf(text) });
      if (fault === 'error' || fault === 'error_midway')
        later({ type: 'error', error: scripted() });
      else later(finalEvent(text, audio));
    },
    close() {
      isClosed = true;
      for (const timer of timers) clock.clearTimer(timer);
      timers.clear();
    },
  };
}

/** The code may lie in the utterance itself, when the session was opened in the middle of it. */
function idsIn(audio: UtteranceAudio): number[] {
  const id = decodeUtteranceId(audio.pcm);
  return id === null ? [] : [id];
}

function finalEvent(text: string, { startMs, endMs }: UtteranceAudio): SttEvent {
  const language: Language = /\p{Script=Han}/u.test(text) ? 'zh' : 'en';
  return {
    ...{ type: 'final', text, startMs, endMs },
    confidence: text === '' ? null : 1,
    language: text === '' ? null : language,
  };
}

function firstHalf(text: string): string {
  const words = text.match(/\p{Script=Han}|[^\s\p{Script=Han}]+\s*/gu) ?? [];
  return words
    .slice(0, Math.ceil(words.length / 2))
    .join('')
    .trimEnd();
}

function scripted(): AppError {
  return new AppError('E_PROVIDER_SERVER', 'scripted recogniser fault');
}
