/** OpenAI's voice (`POST /audio/speech`) and that of local servers with the same route: raw 24 kHz as it is made (providers.md 8.3). */
import OpenAI from 'openai';
import type { TimerHandle } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import type { TtsChunk, TtsProvider, TtsRequest } from '../contract.ts';
import { evenMarks } from '../marks.ts';
import { samplesOf } from '../rates.ts';
import { speakable } from '../speakable.ts';
import {
  credential,
  numberOption,
  textOption,
  urlOption,
  type VendorSettings,
  type VendorTools,
} from '../vendor.ts';
import { classify } from './errors.ts';
import { CHAT_VENDORS } from './presets.ts';

const FIRST_BYTE_MS = 3_000;
const STALL_MS = 3_000;

type Voice = {
  readonly tools: VendorTools;
  readonly client: OpenAI;
  readonly model: string;
  readonly voice: string;
  readonly instructions: string;
  readonly speed: number | null;
  readonly rateHz: number;
  readonly apiKey: string;
  readonly setting: string;
};

export function speech(settings: VendorSettings, tools: VendorTools): TtsProvider {
  const baseUrl = urlOption(settings, 'base_url', CHAT_VENDORS.openai.baseUrl, ['https', 'http']);
  const isLocal = URL.parse(baseUrl)?.protocol === 'http:';
  const apiKey = isLocal
    ? (settings.credentials['api_key'] ?? '')
    : credential(settings, 'api_key');
  const voice: Voice = {
    tools,
    client: new OpenAI({
      ...{ baseURL: baseUrl, apiKey: apiKey === '' ? 'none' : apiKey, maxRetries: 0 },
      ...{ organization: null, project: null, logLevel: 'off' },
    }),
    model: settings.model ?? textOption(settings, 'model', 'gpt-4o-mini-tts'),
    voice: settings.voice ?? textOption(settings, 'voice', 'alloy'),
    instructions: textOption(settings, 'instructions', ''),
    speed: settings.speed,
    // Local servers answer with the rate of their model.
    rateHz: numberOption(settings, 'sample_rate', 24_000, [8_000, 48_000]),
    ...{ apiKey, setting: settings.setting },
  };
  return { vendor: 'openai', speak: (request, signal) => speak(voice, request, signal) };
}

async function* speak(
  voice: Voice,
  request: TtsRequest,
  signal: AbortSignal,
): AsyncGenerator<TtsChunk, void> {
  if (speakable(request.text) === '') return;
  const resampler = (await voice.tools.resampling()).open(voice.rateHz, 8_000);
  const watch = new Watch(voice, signal);
  try {
    const answer = await watch.during(FIRST_BYTE_MS, ask(voice, request, watch.signal));
    const bytes = (answer.body ?? new ReadableStream<Uint8Array>())[Symbol.asyncIterator]();
    let samples = 0;
    let odd: Uint8Array = new Uint8Array(0);
    for (;;) {
      const next = await watch.during(samples === 0 ? FIRST_BYTE_MS : STALL_MS, bytes.next());
      if (next.done === true) break;
      const whole = Buffer.concat([odd, next.value]);
      odd = whole.subarray(whole.length & ~1);
      const pcm = resampler.convert(samplesOf(whole));
      samples += pcm.length;
      if (pcm.length > 0) yield { pcm, marks: [] };
    }
    if (samples === 0)
      throw new AppError('E_PROVIDER_SERVER', 'voice: the answer had no sound in it');
    yield { pcm: new Int16Array(0), marks: evenMarks(request.text, samples) };
  } catch (thrown) {
    throw watch.explain(thrown);
  } finally {
    watch.close();
    resampler.close();
  }
}

function ask(voice: Voice, request: TtsRequest, signal: AbortSignal): Promise<Response> {
  const { client, model, instructions, speed } = voice;
  return client.audio.speech.create(
    {
      ...{
        model,
        voice: request.voice ?? voice.voice,
        input: request.text,
        response_format: 'pcm',
      },
      ...(instructions === '' ? {} : { instructions }),
      ...(speed === null ? {} : { speed }),
    },
    { signal },
  ) as unknown as Promise<Response>;
}

/** Gives up when the caller does, or when the vendor is too late. */
class Watch {
  readonly #voice: Voice;
  readonly #outer: AbortSignal;
  readonly #abort = new AbortController();
  readonly #onAbort = (): void => this.#abort.abort();
  #late: AppError | null = null;

  constructor(voice: Voice, outer: AbortSignal) {
    this.#voice = voice;
    this.#outer = outer;
    if (outer.aborted) this.#abort.abort();
    outer.addEventListener('abort', this.#onAbort, { once: true });
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  async during<T>(ms: number, work: Promise<T>): Promise<T> {
    const { clock } = this.#voice.tools;
    const { promise, reject } = Promise.withResolvers<never>();
    const stop = (): void => reject(new AppError('E_ABORTED', 'the speech was given up'));
    const timer: TimerHandle = clock.setTimer(() => {
      this.#late = new AppError('E_TIMEOUT', `voice: no sound within ${ms} ms`);
      this.#abort.abort();
    }, ms);
    this.signal.addEventListener('abort', stop, { once: true });
    if (this.signal.aborted) stop();
    try {
      return await Promise.race([work, promise]);
    } finally {
      clock.clearTimer(timer);
      this.signal.removeEventListener('abort', stop);
    }
  }

  explain(thrown: unknown): AppError {
    if (this.#outer.aborted) return new AppError('E_ABORTED', 'the speech was given up');
    if (this.#late !== null) return this.#late;
    const error = classify(thrown, this.#voice.apiKey, this.#voice.setting);
    const message = error.message.replace('language model', 'voice');
    return new AppError(error.code, message, { cause: error, details: error.details });
  }

  close(): void {
    this.#outer.removeEventListener('abort', this.#onAbort);
    this.#abort.abort();
  }
}
