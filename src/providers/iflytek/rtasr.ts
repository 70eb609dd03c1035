/** iFlytek's realtime transcription (providers.md 3.4): 16 kHz, one connection for a call, sentences cut by the vendor. */
import type { TimerHandle } from '#lib/clock.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import type { SttProvider } from '../contract.ts';
import { bytesOf } from '../rates.ts';
import type { HearingEvents, HearingLine } from '../stt-line.ts';
import { streamingStt } from '../streaming-stt.ts';
import { brokenMessage, numberIn, partOf, readJson, textIn } from '../vendor-json.ts';
import {
  credential,
  flagOption,
  textOption,
  urlOption,
  type VendorSettings,
  type VendorTools,
} from '../vendor.ts';
import { openChannel, type Channel } from '../ws-channel.ts';
import { iflytekError, refusal } from './errors.ts';
import { rtasrSignature } from './signature.ts';
import { wordsOf } from './words.ts';

const VENDOR = 'iflytek';
const RATE_HZ = 16_000;
const FRAME_MS = 40;
const STARTED_MS = 3_000;

type Ears = {
  readonly tools: VendorTools;
  readonly setting: string;
  addressFor(language: string): string;
};

/** Errors: E_CONFIG. */
export function createRtasr(settings: VendorSettings, tools: VendorTools): SttProvider {
  const appId = credential(settings, 'app_id');
  const apiKey = credential(settings, 'api_key');
  const url = urlOption(settings, 'url', 'wss://rtasr.xfyun.cn/v1/ws');
  const domain = textOption(settings, 'pd', '');
  const hasPunctuation = flagOption(settings, 'punctuation', true);
  const ears: Ears = {
    ...{ tools, setting: settings.setting },
    addressFor: (language) => {
      const timeS = Math.floor(tools.clock.wallMs() / 1000);
      const query = new URLSearchParams({
        ...{ appid: appId, ts: String(timeS), signa: rtasrSignature(appId, apiKey, timeS) },
        lang: language === 'en' ? 'en' : 'cn',
        ...(hasPunctuation ? {} : { punc: '0' }),
        ...(domain === '' ? {} : { pd: domain }),
      });
      return `${url}?${query.toString()}`;
    },
  };
  return streamingStt({
    ...{ vendor: VENDOR, tools, rateHz: RATE_HZ, frameMs: FRAME_MS },
    connect: (call, events, signal) => Line.open(ears, call.language, events, signal),
  });
}

class Line implements HearingLine {
  readonly #ears: Ears;
  readonly #events: HearingEvents;
  readonly #started = Promise.withResolvers<void>();
  #channel: Channel | null = null;
  #timer: TimerHandle | undefined;
  #isStarted = false;
  #isOver = false;

  static async open(
    ears: Ears,
    language: string,
    events: HearingEvents,
    signal: AbortSignal,
  ): Promise<Line> {
    const line = new Line(ears, events);
    try {
      await line.#connect(language, signal);
      return line;
    } catch (error) {
      line.close();
      throw error;
    }
  }

  private constructor(ears: Ears, events: HearingEvents) {
    this.#ears = ears;
    this.#events = events;
    this.#started.promise.catch(() => undefined); // told to whoever waits
  }

  send(frame: Int16Array): void {
    this.#channel?.send(bytesOf(frame));
  }

  close(): void {
    if (this.#isOver) return;
    if (this.#isStarted) this.#channel?.send(Buffer.from('{"end": true}'));
    this.#end();
  }

  async #connect(language: string, signal: AbortSignal): Promise<void> {
    const { tools, setting } = this.#ears;
    this.#channel = await openChannel(
      {
        ...{ url: this.#ears.addressFor(language), what: 'iflytek recogniser', clock: tools.clock },
        refused: (status, body) => refusal(status, body, setting),
        onText: (text) => this.#heard(text),
        onBinary: () => this.#fail(brokenMessage(VENDOR, 'binary data where text belongs')),
        onEnd: (error) => this.#fail(error),
      },
      signal,
    );
    this.#timer = tools.clock.setTimer(() => {
      this.#fail(new AppError('E_TIMEOUT', `iflytek: no start within ${STARTED_MS} ms`));
    }, STARTED_MS);
    const onAbort = (): void => this.#fail(new AppError('E_ABORTED', 'iflytek: given up'));
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await this.#started.promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
      tools.clock.clearTimer(this.#timer);
    }
  }

  #heard(text: string): void {
    if (this.#isOver) return;
    try {
      this.#message(text);
    } catch (thrown) {
      this.#fail(toAppError(thrown, 'E_PROVIDER_SERVER'));
    }
  }

  #message(text: string): void {
    const message = readJson(VENDOR, text);
    const action = textIn(message, 'action');
    const number = numberIn(message, 'code') ?? 0;
    if (action === 'error' || number !== 0) {
      throw iflytekError(number, textIn(message, 'desc'), this.#ears.setting);
    }
    if (action === 'started') {
      this.#isStarted = true;
      this.#started.resolve();
      return;
    }
    if (action !== 'result') return;
    const st = partOf(partOf(readJson(VENDOR, textIn(message, 'data')), 'cn'), 'st');
    const rt = Array.isArray(st['rt']) ? (st['rt'] as { readonly ws?: unknown }[]) : [];
    const words = rt.map((each) => wordsOf(each.ws)).join('');
    if (st['type'] === '0') this.#events.final(words, null);
    else this.#events.partial(words);
  }

  #fail(error: AppError): void {
    if (this.#isOver) return;
    const wasStarted = this.#isStarted;
    this.#end();
    if (wasStarted) this.#events.failed(error);
    else this.#started.reject(error);
  }

  #end(): void {
    this.#isOver = true;
    this.#ears.tools.clock.clearTimer(this.#timer);
    this.#channel?.close();
  }
}
