/**
 * A voice that says one piece of a reply over one session of a vendor: what all such voices share. The text is cut to the
 * vendor's limit, the sound brought to 8 kHz, marks estimated, and a session that fails before its first sound is
 * replaced once.
 */
import { AppError, toAppError } from '#lib/errors.ts';
import type { TtsChunk, TtsProvider, TtsRequest, WordMark } from './contract.ts';
import { evenMarks } from './marks.ts';
import { SAMPLE_RATE_HZ, SAMPLES_PER_MS, samplesOf } from './rates.ts';
import type { VendorTools } from './vendor.ts';

export type PieceSession = {
  /**
   * s16le at the voice's rate, cut anywhere. Ends after the last sound. Errors: E_PROVIDER_*, E_TIMEOUT, and E_ABORTED as
   * soon as `signal` aborts.
   */
  say(text: string, signal: AbortSignal): AsyncGenerator<Uint8Array, void>;
  /** After the last sound: the vendor's own times in this piece; absent or empty: it gave none. */
  marks?(): readonly WordMark[];
  /** Its piece was said to the end: it may serve another, or is closed. */
  done(): void;
  /** Gives it up. Idempotent; nothing after `done`. */
  close(): void;
};

export type PieceVoice = {
  readonly vendor: string;
  readonly tools: VendorTools;
  readonly rateHz: number;
  /** Characters of one piece; a longer text is said in several. */
  readonly maxChars: number;
  /** A session that may speak now. Errors: E_PROVIDER_*, E_TIMEOUT, E_ABORTED. */
  open(request: TtsRequest, signal: AbortSignal): Promise<PieceSession>;
};

/** How late the converter is (lib/stream-resampler.ts). */
const TAIL_MS = 5;

/** `speak` of a TtsProvider. */
export function speakPieces(voice: PieceVoice): TtsProvider['speak'] {
  return (request, signal) => speak(voice, request, signal);
}

async function* speak(
  voice: PieceVoice,
  request: TtsRequest,
  signal: AbortSignal,
): AsyncGenerator<TtsChunk, void> {
  if (signal.aborted) throw givenUp();
  const text = request.text.trimEnd();
  let chars = 0;
  let ms = 0;
  for (const piece of cut(text, voice.maxChars)) {
    if (/[\p{L}\p{N}]/u.test(piece)) {
      const { samples, told }: Said = yield* speakOne(voice, { ...request, text: piece }, signal);
      const own = tidyMarks(told, piece, samples);
      const marks: WordMark[] = (own ?? evenMarks(piece, samples)).map((mark) => ({
        chars: chars + mark.chars,
        ms: ms + mark.ms,
      }));
      yield { pcm: new Int16Array(0), marks };
      ms += samples / SAMPLES_PER_MS;
    }
    chars += piece.length;
  }
}

/** How many samples were given, and what the vendor said of their times. */
type Said = { readonly samples: number; readonly told: readonly WordMark[] };

async function* speakOne(
  voice: PieceVoice,
  request: TtsRequest,
  signal: AbortSignal,
): AsyncGenerator<TtsChunk, Said> {
  const resampling = await voice.tools.resampling();
  for (let attempt = 1; ; attempt++) {
    const session = await voice.open(request, signal);
    const resampler = resampling.open(voice.rateHz, SAMPLE_RATE_HZ);
    let samples = 0;
    let odd: Uint8Array = new Uint8Array(0);
    try {
      for await (const bytes of session.say(request.text, signal)) {
        if (signal.aborted) throw givenUp();
        // A message may end in the middle of a sample.
        const whole = odd.length === 0 ? bytes : Buffer.concat([odd, bytes]);
        odd = whole.subarray(whole.length & ~1);
        const pcm = resampler.convert(samplesOf(whole));
        samples += pcm.length;
        if (pcm.length > 0) yield { pcm, marks: [] };
      }
      if (samples > 0 && voice.rateHz !== SAMPLE_RATE_HZ) {
        // The converter still holds the last of the sound.
        const pcm = resampler.convert(new Int16Array((voice.rateHz * TAIL_MS) / 1000));
        samples += pcm.length;
        yield { pcm, marks: [] };
      }
      if (samples === 0) {
        throw new AppError('E_PROVIDER_SERVER', `${voice.vendor}: the answer had no sound in it`);
      }
      const told = session.marks?.() ?? [];
      session.done();
      return { samples, told };
    } catch (thrown) {
      if (signal.aborted) throw givenUp();
      const error = toAppError(thrown, 'E_PROVIDER_SERVER');
      // A session kept warm may have died unnoticed; what was heard is not said again.
      const isPassing = /^E_PROVIDER_(?:SERVER|IDLE)$/.test(error.code);
      if (samples > 0 || !isPassing || attempt > 1) throw error;
    } finally {
      session.close();
      resampler.close();
    }
  }
}

/** The vendor's marks, when they can be true: rising in both, inside the sound; the last is at the text's end. */
function tidyMarks(
  told: readonly WordMark[],
  piece: string,
  samples: number,
): readonly WordMark[] | null {
  const end = piece.trimEnd().length;
  const endMs = samples / SAMPLES_PER_MS;
  const isRising = told.every(({ chars, ms }, i) => {
    const before = told[i - 1] ?? { chars: 0, ms: 0 };
    return chars > before.chars && ms >= before.ms && chars <= end;
  });
  const last = told.at(-1);
  // Where the times end long before the sound, or behind it, they are of something else.
  if (!isRising || last === undefined || last.ms > endMs + 200 || last.ms < endMs - 2_000)
    return null;
  const within = told.slice(0, -1).map(({ chars, ms }) => ({ chars, ms: Math.min(ms, endMs) }));
  return [...within, { chars: end, ms: Math.floor(endMs) }];
}

function givenUp(): AppError {
  return new AppError('E_ABORTED', 'the speech was given up');
}

const ENDS = [/[。！？；…\n]+|[.!?;]+(?=\s|$)/gu, /[，、：]+|[,:]+(?=\s|$)/gu, /\s+/gu];

/** Pieces of at most `max` characters that are the text when joined, cut behind sentences, else clauses, else spaces. */
export function cut(text: string, max: number): string[] {
  const pieces: string[] = [];
  let rest = text;
  while (rest.length > max) {
    const head = rest.slice(0, max);
    const at =
      ENDS.map((pattern) => lastEnd(head, pattern)).find((end) => end > 0) ?? whole(rest, max);
    pieces.push(rest.slice(0, at));
    rest = rest.slice(at);
  }
  return rest === '' ? pieces : [...pieces, rest];
}

function lastEnd(text: string, pattern: RegExp): number {
  const last = [...text.matchAll(pattern)].at(-1);
  return last === undefined ? 0 : last.index + last[0].length;
}

/** Never between the halves of a surrogate pair. */
function whole(text: string, at: number): number {
  const code = text.charCodeAt(at);
  return at > 1 && code >= 0xdc00 && code <= 0xdfff ? at - 1 : at;
}
