/** Tries a vendor out for whoever has just saved an account: connects, and asks for the least that shows it works. */
import { AppError } from '#lib/errors.ts';
import type { Clock } from '#lib/clock.ts';
import { toldElsewhere } from '#lib/deadline.ts';
import type { LlmProvider, RealtimeProvider, SttProvider, TtsProvider } from './contract.ts';

const QUESTION = {
  system: 'Answer with one word.',
  user: 'Hello',
  temperature: 0,
  maxTokens: 16,
} as const;
const WORDS = { text: '你好', language: 'zh' } as const;
/** A recogniser without `check` has failed by then, or listens. */
const LISTEN_MS = 3_500;
/** Not silence alone: some vendors hang up on it. */
const UTTERANCE_SAMPLES = 4_000;

/** Errors of all: E_PROVIDER_*, E_TIMEOUT, E_ABORTED, E_CONFIG. */
export async function probeLlm(llm: LlmProvider, signal: AbortSignal): Promise<void> {
  await llm.complete?.(QUESTION, signal);
}

export async function probeTts(tts: TtsProvider, signal: AbortSignal): Promise<void> {
  for await (const { pcm } of tts.speak(WORDS, signal)) if (pcm.length > 0) return;
  throw new AppError('E_PROVIDER_SERVER', `${tts.vendor}: the voice gave no sound`);
}

export async function probeRealtime(
  realtime: RealtimeProvider,
  signal: AbortSignal,
): Promise<void> {
  const failed = Promise.withResolvers<never>();
  let isOpening = true;
  const opening = realtime.open(
    {
      ...{ callId: 'probe', language: 'zh', instructions: 'Answer briefly.', codec: 'L16' },
      ...{ tools: [], history: [] },
      onEvent: (event) => {
        if (isOpening && event.type === 'error' && event.isFatal) failed.reject(event.error);
      },
    },
    signal,
  );
  // Also one that opens when the trial has failed already.
  const closing = opening.then((session) => session.close());
  await Promise.race([closing, failed.promise]).finally(() => (isOpening = false));
}

export async function probeStt(stt: SttProvider, clock: Clock, signal: AbortSignal): Promise<void> {
  if (!stt.reads) return;
  if (stt.check !== undefined) return stt.check(signal);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  toldElsewhere(promise); // whoever opens it may fail first
  const onAbort = (): void => reject(new AppError('E_ABORTED', 'the trial was given up'));
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  const session = stt.open({
    ...{ callId: 'probe', language: 'zh' },
    onEvent: (event) => {
      if (event.type === 'error') reject(event.error);
      // A text says it all; none may only mean that nobody has answered yet.
      else if (event.text !== '') resolve();
    },
  });
  const timer = clock.setTimer(resolve, LISTEN_MS);
  try {
    const pcm = new Int16Array(UTTERANCE_SAMPLES);
    session.speechStarted(0);
    session.push(pcm);
    session.speechStopped({ pcm, startMs: 0, endMs: pcm.length / 8 });
    await promise;
  } finally {
    clock.clearTimer(timer);
    signal.removeEventListener('abort', onAbort);
    session.close();
  }
}
