/** The voice that needs no key: recorded prompts at once, any other text by eSpeak NG when that is installed. */
import type { Clock } from '#lib/clock.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type { Language, TtsChunk, TtsProvider, TtsRequest, WordMark } from '../contract.ts';
import { speakable } from '../speakable.ts';
import { spokenForm } from '../spoken-form/spoken-form.ts';
import { speakWritten } from '../spoken-voice.ts';
import { EspeakEngine } from './espeak-engine.ts';
import { createPhraseCache, type PhraseCache, type PhraseKey } from './phrase-cache.ts';
import { phraseOf, slicesOf, throwIfAborted, type Phrase } from './phrase.ts';
import { openRecordedPrompts, type RecordedPrompts } from './recorded.ts';
import { isKnownVoice, markMaker, planSpeech } from './speech-plan.ts';

export type LocalTts = TtsProvider & {
  /** False: only the recorded prompts can be said. */
  readonly hasVoice: boolean;
  /** Reads the recordings, starts the voice, and has it say `texts` (greetings of agents) once, kept on disk. */
  warmUp(texts?: readonly { readonly text: string; readonly language: Language }[]): Promise<void>;
  close(): void;
};

export type LocalTtsOptions = {
  readonly log: Log;
  readonly clock: Clock;
  /** Folder for synthesised fixed texts; null keeps them in memory only. */
  readonly cacheDir: string | null;
  /** Default: eSpeak NG when its package is installed. Null: recordings only. */
  readonly engine?: EspeakEngine | null;
  readonly recorded?: RecordedPrompts;
};

/** Raise it when the voice, its settings or the marks change. */
export const VOICE_VERSION = 'espeak-ng-emscripten-0.3.5/1';
const MEMORY_BYTES = 16 * 1024 * 1024;
/** Longer texts are not worth keeping (about 30 s). */
const MAX_KEPT_SAMPLES = 8000 * 30;
const MAX_TEXT_CHARS = 4000;

/** What one local voice is made of. */
type Parts = {
  readonly log: Log;
  readonly engine: EspeakEngine | null;
  readonly recorded: RecordedPrompts;
  readonly cache: PhraseCache;
};

export function createLocalTts(options: LocalTtsOptions): LocalTts {
  const { log, clock, cacheDir } = options;
  const engine = options.engine === undefined ? installedEngine(log, clock) : options.engine;
  const recorded = options.recorded ?? openRecordedPrompts();
  const cache = createPhraseCache({ dir: cacheDir, maxBytes: MEMORY_BYTES, log });
  const parts = { log, engine, recorded, cache };
  return {
    vendor: 'local',
    hasVoice: engine !== null,
    speak: (request, signal) => speak(parts, request, signal),
    async warmUp(texts = []) {
      recorded.preload();
      if (engine === null) return;
      await engine.start();
      for (const request of texts) await prepare(parts, engine, request);
    },
    close: () => engine?.close(),
  };
}

async function* speak(
  parts: Parts,
  request: TtsRequest,
  signal: AbortSignal,
): AsyncGenerator<TtsChunk, void> {
  throwIfAborted(signal);
  if (speakable(request.text) === '') return;
  const asked = { ...request, text: request.text.slice(0, MAX_TEXT_CHARS) };
  const { engine } = parts;
  const phrase = known(parts, asked);
  if (phrase !== undefined) yield* slicesOf(phrase, signal);
  else if (engine === null) yield* substitute(parts, asked, signal);
  // Its recordings are found by the written words, so the spoken ones are its own matter.
  else yield* speakWritten({ speak: (form, own) => made(parts, engine, form, own) }, asked, signal);
}

/** Of the words as they are spoken. */
async function* made(
  parts: Parts,
  engine: EspeakEngine,
  request: TtsRequest,
  signal: AbortSignal,
): AsyncGenerator<TtsChunk, void> {
  const phrase = parts.cache.get(keyOf(request));
  if (phrase === undefined) yield* voiced(parts, engine, request, signal);
  else yield* slicesOf(phrase, signal);
}

/** A recording, unless another voice is asked for and there is one. */
function known({ engine, recorded }: Parts, request: TtsRequest): Phrase | undefined {
  const isOther = engine !== null && request.voice !== undefined && isKnownVoice(request.voice);
  return isOther ? undefined : recorded.find(request.text, request.language);
}

/** The nearest recording: a call never ends for want of a voice. */
async function* substitute(
  { recorded, log }: Parts,
  request: TtsRequest,
  signal: AbortSignal,
): AsyncGenerator<TtsChunk, void> {
  const { phrase, text } = recorded.nearest(request.text, request.language);
  log.warn('voice.substituted', { instead: text, pii: { text: request.text } });
  const marks = [{ chars: request.text.length, ms: phrase.pcm.length / 8 }];
  yield* slicesOf({ pcm: phrase.pcm, marks }, signal);
}

async function* voiced(
  parts: Parts,
  engine: EspeakEngine,
  request: TtsRequest,
  signal: AbortSignal,
): AsyncGenerator<TtsChunk, void> {
  const chunks: TtsChunk[] = [];
  let samples = 0;
  try {
    for await (const chunk of synthesise(engine, request, signal)) {
      samples += chunk.pcm.length;
      if (samples <= MAX_KEPT_SAMPLES) chunks.push(chunk);
      yield chunk;
    }
    if (samples <= MAX_KEPT_SAMPLES) parts.cache.put(keyOf(request), phraseOf(chunks));
  } catch (thrown) {
    const error = toAppError(thrown, 'E_PROVIDER_SERVER');
    if (error.code === 'E_ABORTED' || samples > 0) throw error;
    parts.log.warn('voice.failed', { error });
    yield* substitute(parts, request, signal);
  }
}

async function prepare(parts: Parts, engine: EspeakEngine, text: TtsRequest): Promise<void> {
  const request = { ...text, text: spokenForm(text.text, text.language).text };
  const key = keyOf(request);
  if (known(parts, text) !== undefined || (await parts.cache.load(key)) !== undefined) return;
  try {
    const chunks: TtsChunk[] = [];
    const never = new AbortController().signal;
    for await (const chunk of synthesise(engine, request, never)) chunks.push(chunk);
    await parts.cache.store(key, phraseOf(chunks));
  } catch (error) {
    // A text that cannot be prepared is tried again when it is asked for.
    parts.log.warn('voice.notPrepared', { error: toAppError(error, 'E_PROVIDER_SERVER') });
  }
}

function keyOf(request: TtsRequest): PhraseKey {
  const { text, language, voice = '' } = request;
  return { text, language, voice: isKnownVoice(voice) ? voice : '', version: VOICE_VERSION };
}

/** Piece by piece: another call's piece may come between, and an abort takes effect at the next one. */
export async function* synthesise(
  engine: EspeakEngine,
  request: TtsRequest,
  signal: AbortSignal,
): AsyncGenerator<TtsChunk, void> {
  let samples = 0;
  for (const piece of planSpeech(request.text, request.language, request.voice)) {
    throwIfAborted(signal);
    const startMs = samples / 8;
    const maker = markMaker(request.text, piece, startMs);
    const startSamples = samples;
    for await (const { pcm, events } of engine.synthesize(piece, signal)) {
      samples += pcm.length;
      const marks: readonly WordMark[] = maker.onEvents(events);
      if (pcm.length > 0 || marks.length > 0) yield { pcm, marks };
    }
    const marks = maker.onEnd((samples - startSamples) / 8);
    const pause = new Int16Array(piece.pauseMs * 8);
    samples += pause.length;
    if (pause.length > 0 || marks.length > 0) yield { pcm: pause, marks };
  }
  if (samples === 0) throw new AppError('E_PROVIDER_SERVER', 'the local voice made no sound');
}

function installedEngine(log: Log, clock: Clock): EspeakEngine | null {
  try {
    import.meta.resolve('@echogarden/espeak-ng-emscripten');
  } catch (error) {
    log.info('voice.absent', { reason: toAppError(error).message });
    return null;
  }
  return new EspeakEngine({ log, clock });
}
