/** The voices of Aliyun NLS behind the contract of voices: one task for a piece of the reply, on a connection that is warm. */
import { AppError, toAppError } from '#lib/errors.ts';
import type { StreamResampler } from '#lib/stream-resampler.ts';
import type { TtsChunk, TtsProvider, TtsRequest } from '../contract.ts';
import { evenMarks } from '../marks.ts';
import { samplesOf, SAMPLE_RATE_HZ, SAMPLES_PER_MS } from '../rates.ts';
import { SpareSockets } from '../spare-sockets.ts';
import {
  choiceOption,
  flagOption,
  numberOption,
  textOption,
  type VendorSettings,
  type VendorTools,
} from '../vendor.ts';
import { Intake } from './intake.ts';
import { gateOf, withToken, type NlsAccess } from './nls-access.ts';
import { isTokenRefused, vendorError } from './nls-errors.ts';
import { openNlsSocket, type NlsGate, type NlsSocket } from './nls-socket.ts';
import { splitAtMost } from './pieces.ts';
import { accessOf } from './settings.ts';
import { flows, MAX_TEXT, SpeechTask, type Voice } from './speech-task.ts';
import { SubtitleMarks, type Subtitle } from './subtitles.ts';

/** The gateway closes a connection that rests for 10 s. */
const MAX_REST_MS = 8_000;
/** A quarter of an hour of speech. */
const MAX_BYTES = 16 * 1024 * 1024;
const TRIES = 3;
const DEFAULT_VOICE = 'longxiaochun';

type Item = { readonly bytes: number } & (
  | { readonly type: 'audio'; readonly data: Buffer }
  | { readonly type: 'sentence' }
  | { readonly type: 'subtitles'; readonly list: readonly Subtitle[] }
);

type Parts = {
  readonly access: NlsAccess;
  readonly tools: VendorTools;
  readonly spares: SpareSockets<NlsSocket>;
  voiceOf(request: TtsRequest): Voice;
};

/** Errors: E_CONFIG. */
export function createAliyunTts(settings: VendorSettings, tools: VendorTools): TtsProvider {
  const access = accessOf(settings, tools);
  const spares = new SpareSockets<NlsSocket>({
    ...{ clock: tools.clock, maxIdleMs: MAX_REST_MS, keepAtMost: 2 },
    open: (signal) => withToken(access, (gate) => openNlsSocket(gate, signal)),
  });
  const parts: Parts = { access, tools, spares, voiceOf: voiceReader(settings) };
  return {
    vendor: 'aliyun',
    speak: (request, signal) => speak(parts, request, signal),
    warm: () => spares.warm(),
    close: () => spares.close(),
  };
}

/** Errors: E_CONFIG. */
function voiceReader(settings: VendorSettings): Parts['voiceOf'] {
  const ownName = settings.voice ?? textOption(settings, 'voice', DEFAULT_VOICE);
  const kind = choiceOption(settings, 'synthesizer', ['auto', 'flowing', 'single']);
  const wishHz = numberOption(settings, 'sample_rate', SAMPLE_RATE_HZ, [8000, 24000]);
  const rateHz = wishHz > 16000 ? 24000 : wishHz > 8000 ? 16000 : 8000;
  const speechRate = speechRateOf(settings.speed ?? 1);
  const volume = Math.round(Math.min(2, Math.max(0, settings.volume ?? 1)) * 50);
  const pitchRate = Math.round(numberOption(settings, 'pitch_rate', 0, [-500, 500]));
  const wantsSubtitles = settings.options['enable_subtitle'] != null;
  const hasSubtitles = flagOption(settings, 'enable_subtitle', true);
  return ({ voice: name = ownName }) => {
    const isFlowing = kind === 'auto' ? flows(name) : kind === 'flowing';
    return {
      ...{ isFlowing, name, format: 'pcm', rateHz, volume, speechRate, pitchRate },
      // Only some of the voices that do not flow can tell their words.
      hasSubtitles: isFlowing || wantsSubtitles ? hasSubtitles : false,
    };
  };
}

/** 0.5 to 2 times as fast is -500 to 500, by the vendor's formula. */
export function speechRateOf(speed: number): number {
  const share = 1 - 1 / Math.min(2, Math.max(0.5, speed));
  return Math.round(share / (share < 0 ? 0.002 : 0.001));
}

async function* speak(
  parts: Parts,
  request: TtsRequest,
  signal: AbortSignal,
): AsyncGenerator<TtsChunk, void> {
  if (signal.aborted) throw vendorError('E_ABORTED', 'the speech was given up');
  if (!/[\p{L}\p{N}]/u.test(request.text)) return;
  const voice = parts.voiceOf(request);
  const resampler =
    voice.rateHz === SAMPLE_RATE_HZ
      ? null
      : (await parts.tools.resampling()).open(voice.rateHz, SAMPLE_RATE_HZ);
  try {
    let done = { chars: 0, ms: 0 };
    const pieces = voice.isFlowing ? [request.text] : splitAtMost(request.text, MAX_TEXT.single);
    for (const [index, piece] of pieces.entries()) {
      const text = index === pieces.length - 1 ? piece.trimEnd() : piece;
      done = yield* speakPiece(parts, { voice, text, from: done, resampler }, signal);
    }
  } finally {
    resampler?.close();
  }
}

type Place = { readonly chars: number; readonly ms: number };
type Piece = {
  readonly voice: Voice;
  readonly text: string;
  /** What was said of the request before it. */
  readonly from: Place;
  readonly resampler: StreamResampler | null;
};

/** One task; another one on a new connection when it fails before its first sound. */
async function* speakPiece(
  parts: Parts,
  piece: Piece,
  signal: AbortSignal,
): AsyncGenerator<TtsChunk, Place> {
  const end = { chars: piece.from.chars + piece.text.length, ms: piece.from.ms };
  if (!/[\p{L}\p{N}]/u.test(piece.text)) return end;
  let renewed: NlsGate | null = null;
  for (let attempt = 1; ; attempt++) {
    // Spares have the former token.
    const socket: NlsSocket =
      renewed === null ? await parts.spares.take(signal) : await openNlsSocket(renewed, signal);
    let hasSound = false;
    try {
      for await (const chunk of runTask(socket, piece, signal)) {
        hasSound = true;
        end.ms += chunk.pcm.length / SAMPLES_PER_MS;
        yield chunk;
      }
      parts.spares.giveBack(socket);
      return end;
    } catch (thrown) {
      const error = toAppError(thrown, 'E_PROVIDER_SERVER');
      if (hasSound || attempt >= TRIES || signal.aborted) throw error;
      if (isTokenRefused(error)) {
        const refused = socket.gate.token.token;
        renewed = await gateOf(parts.access, refused);
        if (renewed.token.token === refused) throw error;
      } else if (!/^E_PROVIDER_(?:SERVER|IDLE)$/.test(error.code) || attempt > 1) {
        throw error;
      }
    } finally {
      // A task that did not come to its end is given up with its connection; one given back is not touched.
      if (socket.isBusy) socket.close();
    }
  }
}

async function* runTask(
  socket: NlsSocket,
  { voice, text, from, resampler }: Piece,
  signal: AbortSignal,
): AsyncGenerator<TtsChunk, void> {
  const intake = new Intake<Item>(MAX_BYTES);
  const task = new SpeechTask(
    socket,
    voice,
    {
      audio: (data) => intake.push({ type: 'audio', data, bytes: data.length }),
      sentence: () => intake.push({ type: 'sentence', bytes: 64 }),
      subtitles: (list) => intake.push({ type: 'subtitles', list, bytes: 64 * list.length }),
      done: () => intake.end(),
      failed: (error) => intake.fail(error),
    },
    { text },
  );
  const onAbort = (): void => intake.fail(vendorError('E_ABORTED', 'the speech was given up'));
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    for (const each of voice.isFlowing ? splitAtMost(text, MAX_TEXT.flowing, true) : []) {
      task.say(each);
    }
    task.finish();
    yield* chunksOf(intake, { text, from, rateHz: voice.rateHz, resampler });
  } finally {
    signal.removeEventListener('abort', onAbort);
    task.cancel();
  }
}

type Reading = Pick<Piece, 'text' | 'from' | 'resampler'> & { readonly rateHz: number };

/** Sound and marks as they come; the last mark is at the end of text and sound. */
async function* chunksOf(
  intake: Intake<Item>,
  { text, from, rateHz, resampler }: Reading,
): AsyncGenerator<TtsChunk, void> {
  const told = new SubtitleMarks(text);
  const shift = (marks: readonly { chars: number; ms: number }[]) =>
    marks.map(({ chars, ms }) => ({ chars: chars + from.chars, ms: ms + Math.floor(from.ms) }));
  let samples = 0;
  let odd: Buffer = Buffer.alloc(0);
  let marks: { chars: number; ms: number }[] = [];
  for (let item = await intake.next(); item !== null; item = await intake.next()) {
    if (item.type === 'sentence') told.sentence(samples / SAMPLES_PER_MS);
    else if (item.type === 'subtitles') marks.push(...told.take(item.list));
    else {
      // A sample may be cut in two by the vendor's messages.
      const bytes = odd.length === 0 ? item.data : Buffer.concat([odd, item.data]);
      odd = bytes.subarray(bytes.length - (bytes.length % 2));
      const given = samplesOf(bytes);
      const pcm = resampler === null ? given : resampler.convert(given);
      if (pcm.length === 0) continue;
      samples += pcm.length;
      yield { pcm, marks: shift(marks) };
      marks = [];
    }
  }
  if (samples === 0) {
    throw new AppError('E_PROVIDER_SERVER', `aliyun: the voice said nothing at ${rateHz} Hz`, {
      details: { vendor: 'aliyun' },
    });
  }
  yield { pcm: new Int16Array(0), marks: shift(lastMarks(text, samples, told.chars, marks)) };
}

function lastMarks(
  text: string,
  samples: number,
  chars: number,
  marks: readonly { chars: number; ms: number }[],
): { chars: number; ms: number }[] {
  if (chars === 0) return evenMarks(text, samples);
  const { length } = text.trimEnd();
  const end = { chars: length, ms: Math.floor(samples / SAMPLES_PER_MS) };
  return chars >= length ? [...marks] : [...marks, end];
}
