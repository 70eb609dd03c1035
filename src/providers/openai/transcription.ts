/**
 * OpenAI's transcription of one utterance (`POST /audio/transcriptions`), and of every local server that offers the same
 * (providers.md 8.2): the words come as a stream where the server can, whole where it cannot.
 */
import OpenAI, { toFile } from 'openai';
import { AppError } from '#lib/errors.ts';
import { wavHeader } from '#lib/wav.ts';
import type { SttProvider } from '../contract.ts';
import { bytesOf } from '../rates.ts';
import type { HearingEvents, HearingLine } from '../stt-line.ts';
import { utteranceStt } from '../utterance-stt.ts';
import {
  credential,
  flagOption,
  numberOption,
  textOption,
  urlOption,
  type VendorSettings,
  type VendorTools,
} from '../vendor.ts';
import { classify } from './errors.ts';
import { CHAT_VENDORS } from './presets.ts';

const RATE_HZ = 16_000;
const FRAME_MS = 100;
/** 25 MB is the vendor's limit; an utterance is a minute at most. */
const MAX_FRAMES = (60 * 1000) / FRAME_MS;

type Reader = {
  readonly client: OpenAI;
  readonly model: string;
  readonly prompt: string;
  readonly streams: boolean;
  readonly apiKey: string;
  readonly setting: string;
};

export function transcription(settings: VendorSettings, tools: VendorTools): SttProvider {
  const baseUrl = urlOption(settings, 'base_url', CHAT_VENDORS.openai.baseUrl, ['https', 'http']);
  const isLocal = URL.parse(baseUrl)?.protocol === 'http:';
  const apiKey = isLocal
    ? (settings.credentials['api_key'] ?? '')
    : credential(settings, 'api_key');
  const reader: Reader = {
    client: new OpenAI({
      ...{ baseURL: baseUrl, apiKey: apiKey === '' ? 'none' : apiKey, maxRetries: 0 },
      ...{ organization: null, project: null, logLevel: 'off' },
    }),
    model: settings.model ?? textOption(settings, 'model', 'gpt-4o-mini-transcribe'),
    prompt: textOption(settings, 'prompt', ''),
    streams: flagOption(settings, 'stream', true),
    ...{ apiKey, setting: settings.setting },
  };
  return utteranceStt({
    ...{ vendor: 'openai', tools, rateHz: RATE_HZ, frameMs: FRAME_MS },
    finalMs: numberOption(settings, 'final_ms', 4_000, [500, 20_000]),
    connect: ({ language }, events) => Promise.resolve(new Line(reader, language, events)),
  });
}

/** Gathers the utterance; one request when it is over. */
class Line implements HearingLine {
  readonly #reader: Reader;
  readonly #language: string;
  readonly #events: HearingEvents;
  readonly #abort = new AbortController();
  readonly #frames: Uint8Array[] = [];
  #isAsked = false;

  constructor(reader: Reader, language: string, events: HearingEvents) {
    this.#reader = reader;
    this.#language = language;
    this.#events = events;
  }

  send(frame: Int16Array): void {
    if (!this.#isAsked && this.#frames.length < MAX_FRAMES) this.#frames.push(bytesOf(frame));
  }

  flush(): void {
    if (this.#isAsked) return;
    this.#isAsked = true;
    void this.#ask();
  }

  close(): void {
    this.#abort.abort();
    this.#frames.length = 0;
  }

  async #ask(): Promise<void> {
    const { client, model, prompt, streams, apiKey, setting } = this.#reader;
    const { signal } = this.#abort;
    try {
      const pcm = Buffer.concat(this.#frames);
      const header = wavHeader(pcm.length, { sampleRateHz: RATE_HZ, channels: 1 });
      const file = await toFile(Buffer.concat([header, pcm]), 'utterance.wav', {
        type: 'audio/wav',
      });
      const body = { file, model, language: this.#language, ...(prompt === '' ? {} : { prompt }) };
      const text = streams
        ? await this.#stream(body)
        : (
            await client.audio.transcriptions.create(
              { ...body, response_format: 'json' },
              { signal },
            )
          ).text;
      if (!signal.aborted) this.#events.final(text.trim(), null);
    } catch (thrown) {
      if (signal.aborted) return;
      const error = classify(thrown, apiKey, setting);
      const message = error.message.replace('language model', 'speech recogniser');
      this.#events.failed(
        new AppError(error.code, message, { cause: error, details: error.details }),
      );
    }
  }

  /** Servers that know no streams answer with the whole as JSON. */
  async #stream(
    body: Pick<OpenAI.Audio.TranscriptionCreateParams, 'file' | 'model'>,
  ): Promise<string> {
    const { signal } = this.#abort;
    const answer = await this.#reader.client.audio.transcriptions
      .create({ ...body, stream: true }, { signal })
      .asResponse();
    if (!(answer.headers.get('content-type') ?? '').includes('event-stream')) {
      const { text } = (await answer.json()) as { readonly text?: unknown };
      if (typeof text === 'string') return text;
      throw new AppError('E_PROVIDER_SERVER', 'speech recogniser: an answer without text');
    }
    let text = '';
    for await (const event of eventsOf(answer)) {
      if (event.type === 'transcript.text.delta' && typeof event.delta === 'string') {
        text += event.delta;
        this.#events.partial(text);
      } else if (event.type === 'transcript.text.done' && typeof event.text === 'string') {
        return event.text;
      }
    }
    throw new AppError('E_PROVIDER_SERVER', 'speech recogniser: the answer broke off');
  }
}

type TranscriptEvent = {
  readonly type?: unknown;
  readonly delta?: unknown;
  readonly text?: unknown;
};

const MAX_LINE_CHARS = 64 * 1024;

/** The `data:` lines of a server-sent stream, as JSON. Errors: E_PROVIDER_SERVER for anything else in them. */
async function* eventsOf(answer: Response): AsyncGenerator<TranscriptEvent, void> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const bytes of answer.body ?? []) {
    rest += decoder.decode(bytes, { stream: true });
    const lines = rest.split(/\r?\n/);
    rest = lines.pop() ?? '';
    if (rest.length > MAX_LINE_CHARS) break;
    for (const line of lines) {
      const data = /^data: ?(.*)$/.exec(line)?.[1];
      if (data === undefined || data === '[DONE]') continue;
      yield parsed(data);
    }
  }
}

function parsed(data: string): TranscriptEvent {
  try {
    const value: unknown = JSON.parse(data);
    if (typeof value === 'object' && value !== null) return value;
  } catch (cause) {
    throw new AppError('E_PROVIDER_SERVER', 'speech recogniser: an event is no JSON', { cause });
  }
  throw new AppError('E_PROVIDER_SERVER', 'speech recogniser: an event is no object');
}
