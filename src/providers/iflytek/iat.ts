/** iFlytek's dictation (providers.md 3.2, 3.3), plain and large model: one connection for an utterance. */
import { toAppError, type AppError } from '#lib/errors.ts';
import type { SttProvider } from '../contract.ts';
import { bytesOf } from '../rates.ts';
import type { HearingEvents, HearingLine } from '../stt-line.ts';
import { utteranceStt } from '../utterance-stt.ts';
import { brokenMessage, numberIn, partOf, readJson, textIn, type Json } from '../vendor-json.ts';
import {
  credential,
  numberOption,
  textOption,
  urlOption,
  type VendorSettings,
  type VendorTools,
} from '../vendor.ts';
import { openChannel, type Channel } from '../ws-channel.ts';
import { iflytekError, refusal } from './errors.ts';
import { signedUrl, type Key } from './signature.ts';
import { GrowingWords } from './words.ts';

const VENDOR = 'iflytek';
const FRAME_MS = 40;
/** 58 s at 16 kHz, as base64 in JSON. */
const MAX_WAITING_BYTES = 3 * 1024 * 1024;

/** What the two generations of the protocol differ in. */
type Dialect = {
  readonly url: string;
  message(frame: string, status: 0 | 1 | 2, seq: number, language: string): object;
  /** Null for what brings no words. */
  read(message: Json): {
    readonly number: number;
    readonly said: string;
    readonly result: Json | null;
    readonly isLast: boolean;
  };
};

type Ears = {
  readonly tools: VendorTools;
  readonly setting: string;
  readonly key: Key;
  readonly dialect: Dialect;
};

/** `large`: the Spark large model. Errors: E_CONFIG. */
export function createIat(
  settings: VendorSettings,
  tools: VendorTools,
  large: boolean,
): SttProvider {
  const rateHz =
    numberOption(settings, 'sample_rate', 8_000, [8_000, 16_000]) > 8_000 ? 16_000 : 8_000;
  const ears: Ears = {
    ...{ tools, setting: settings.setting },
    key: { apiKey: credential(settings, 'api_key'), apiSecret: credential(settings, 'api_secret') },
    dialect: large ? sparkDialect(settings, rateHz) : plainDialect(settings, rateHz),
  };
  return utteranceStt({
    ...{ vendor: VENDOR, tools, rateHz, frameMs: FRAME_MS },
    connect: (call, events, signal) => Line.open(ears, call.language, events, signal),
  });
}

function plainDialect(settings: VendorSettings, rateHz: number): Dialect {
  const appId = credential(settings, 'app_id');
  const accent = textOption(settings, 'accent', 'mandarin');
  const eos = numberOption(settings, 'vad_eos', 10_000, [500, 60_000]);
  const domain = textOption(settings, 'domain', 'iat');
  const wished = textOption(settings, 'language', '');
  return {
    url: urlOption(settings, 'url', 'wss://iat-api.xfyun.cn/v2/iat'),
    message: (audio, status, _seq, language) => ({
      ...(status === 0
        ? {
            common: { app_id: appId },
            business: {
              language: wished === '' ? (language === 'en' ? 'en_us' : 'zh_cn') : wished,
              ...{ domain, accent, vad_eos: eos, dwa: 'wpgs', ptt: 1 },
            },
          }
        : {}),
      data:
        status === 2 && audio === ''
          ? { status }
          : { status, format: `audio/L16;rate=${rateHz}`, encoding: 'raw', audio },
    }),
    read: (message) => {
      const data = partOf(message, 'data');
      const result = partOf(data, 'result');
      return {
        number: numberIn(message, 'code') ?? 0,
        said: textIn(message, 'message'),
        result: 'sn' in result ? result : null,
        isLast: data['status'] === 2,
      };
    },
  };
}

function sparkDialect(settings: VendorSettings, rateHz: number): Dialect {
  const appId = credential(settings, 'app_id');
  const accent = textOption(settings, 'accent', 'mandarin');
  const eos = numberOption(settings, 'vad_eos', 10_000, [500, 60_000]);
  // This one hears English, too.
  const language = textOption(settings, 'language', 'zh_cn');
  const shape = { encoding: 'raw', sample_rate: rateHz, channels: 1, bit_depth: 16 };
  return {
    url: urlOption(settings, 'url', 'wss://iat.xf-yun.com/v1'),
    message: (audio, status, seq) => ({
      header: { app_id: appId, status },
      ...(status === 0
        ? {
            parameter: {
              iat: {
                ...{ domain: 'slm', language, accent, eos },
                ...{ vinfo: 1, dwa: 'wpgs' },
                result: { encoding: 'utf8', compress: 'raw', format: 'json' },
              },
            },
          }
        : {}),
      payload: { audio: { ...shape, seq, status, audio } },
    }),
    read: (message) => {
      const header = partOf(message, 'header');
      const result = partOf(partOf(message, 'payload'), 'result');
      const text = textIn(result, 'text');
      const words =
        text === '' ? null : readJson(VENDOR, Buffer.from(text, 'base64').toString('utf8'));
      return {
        number: numberIn(header, 'code') ?? 0,
        said: textIn(header, 'message'),
        result: words,
        isLast: result['status'] === 2 || header['status'] === 2,
      };
    },
  };
}

class Line implements HearingLine {
  readonly #ears: Ears;
  readonly #events: HearingEvents;
  readonly #language: string;
  readonly #words = new GrowingWords();
  #channel: Channel | null = null;
  #seq = 0;
  #isFlushed = false;
  #isOver = false;

  static async open(
    ears: Ears,
    language: string,
    events: HearingEvents,
    signal: AbortSignal,
  ): Promise<Line> {
    const line = new Line(ears, language, events);
    line.#channel = await openChannel(
      {
        url: signedUrl(ears.dialect.url, ears.key, ears.tools.clock.wallMs()),
        ...{ what: 'iflytek recogniser', clock: ears.tools.clock },
        refused: (status, body, { date }) =>
          refusal({ status, body, date }, ears.setting, ears.tools.clock.wallMs()),
        // An utterance that has to be said again comes in one go.
        maxWaitingBytes: MAX_WAITING_BYTES,
        onText: (text) => line.#heard(text),
        onBinary: () => line.#fail(brokenMessage(VENDOR, 'binary data where text belongs')),
        onEnd: (error) => line.#fail(error),
      },
      signal,
    );
    return line;
  }

  private constructor(ears: Ears, language: string, events: HearingEvents) {
    this.#ears = ears;
    this.#language = language;
    this.#events = events;
  }

  /** The vendor itself may think that speech is over. */
  get isOver(): boolean {
    return this.#isOver;
  }

  send(frame: Int16Array): void {
    if (!this.#isFlushed)
      this.#say(Buffer.from(bytesOf(frame)).toString('base64'), this.#seq === 0 ? 0 : 1);
  }

  flush(): void {
    if (this.#isFlushed || this.#isOver) return;
    // An utterance without a whole frame has still to be begun before it can be ended.
    if (this.#seq === 0) this.#say('', 0);
    this.#isFlushed = true;
    this.#say('', 2);
  }

  close(): void {
    this.#isOver = true;
    this.#channel?.close();
  }

  #say(audio: string, status: 0 | 1 | 2): void {
    this.#seq += 1;
    const message = this.#ears.dialect.message(audio, status, this.#seq, this.#language);
    this.#channel?.send(JSON.stringify(message));
  }

  #heard(text: string): void {
    if (this.#isOver) return;
    try {
      const { number, said, result, isLast } = this.#ears.dialect.read(readJson(VENDOR, text));
      if (number !== 0) throw iflytekError(number, said, this.#ears.setting);
      if (result !== null) this.#words.add(result);
      if (isLast) {
        this.close();
        this.#events.final(this.#words.text, null);
      } else if (result !== null) this.#events.partial(this.#words.text);
    } catch (thrown) {
      this.#fail(toAppError(thrown, 'E_PROVIDER_SERVER'));
    }
  }

  #fail(error: AppError): void {
    if (this.#isOver) return;
    this.close();
    this.#events.failed(error);
  }
}
