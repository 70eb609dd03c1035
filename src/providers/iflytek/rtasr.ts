/**
 * iFlytek's realtime transcription (providers.md 3.4), standard and large model: 16 kHz, one connection for a call,
 * sentences cut by the vendor.
 */
import { randomUUID } from 'node:crypto';
import type { TimerHandle } from '#lib/clock.ts';
import { toldElsewhere } from '#lib/deadline.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import type { SttProvider } from '../contract.ts';
import { bytesOf } from '../rates.ts';
import type { HearingEvents, HearingLine } from '../stt-line.ts';
import { streamingStt } from '../streaming-stt.ts';
import { brokenMessage, numberIn, partOf, readJson, textIn, type Json } from '../vendor-json.ts';
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
import { encoded, rtasrLlmUrl, rtasrSignature, withQuery } from './signature.ts';
import { spokenWordsOf } from './words.ts';

const VENDOR = 'iflytek';
const RATE_HZ = 16_000;
const FRAME_MS = 40;
const STARTED_MS = 3_000;

/** What the two generations of the service differ in. */
type Dialect = {
  addressFor(language: string, sessionId: string): string;
  /** Says goodbye. */
  end(sessionId: string): string | Uint8Array;
};

type Ears = {
  readonly tools: VendorTools;
  readonly setting: string;
  readonly keepsFillers: boolean;
  readonly dialect: Dialect;
};

/** `large`: the large model. Errors: E_CONFIG. */
export function createRtasr(
  settings: VendorSettings,
  tools: VendorTools,
  large: boolean,
): SttProvider {
  const ears: Ears = {
    ...{ tools, setting: settings.setting },
    keepsFillers: flagOption(settings, 'keep_fillers', false),
    dialect: large ? largeDialect(settings, tools) : standardDialect(settings, tools),
  };
  return streamingStt({
    ...{ vendor: VENDOR, tools, rateHz: RATE_HZ, frameMs: FRAME_MS },
    connect: (call, events, signal) => Line.open(ears, call.language, events, signal),
  });
}

function standardDialect(settings: VendorSettings, { clock }: VendorTools): Dialect {
  const appId = credential(settings, 'app_id');
  const apiKey = credential(settings, 'api_key');
  const url = urlOption(settings, 'url', 'wss://rtasr.xfyun.cn/v1/ws');
  const domain = textOption(settings, 'pd', '');
  const hasPunctuation = flagOption(settings, 'punctuation', true);
  return {
    addressFor: (language) => {
      const timeS = Math.floor(clock.wallMs() / 1000);
      const query = encoded({
        ...{ appid: appId, ts: String(timeS), signa: rtasrSignature(appId, apiKey, timeS) },
        lang: language === 'en' ? 'en' : 'cn',
        ...(hasPunctuation ? {} : { punc: '0' }),
        ...(domain === '' ? {} : { pd: domain }),
      });
      return withQuery(url, query);
    },
    end: () => Buffer.from('{"end": true}'),
  };
}

function largeDialect(settings: VendorSettings, { clock }: VendorTools): Dialect {
  const appId = credential(settings, 'app_id');
  const key = {
    apiKey: credential(settings, 'api_key'),
    apiSecret: credential(settings, 'api_secret'),
  };
  const standard = 'wss://office-api-ast-dx.iflyaisol.com/ast/communicate/v1';
  const url = urlOption(settings, 'url', standard);
  const lang = textOption(settings, 'lang', 'autodialect');
  const domain = textOption(settings, 'pd', '');
  const more: Readonly<Record<string, string>> = domain === '' ? {} : { pd: domain };
  return {
    addressFor: (_language, uuid) =>
      rtasrLlmUrl(url, key, { appId, lang, uuid, nowMs: clock.wallMs(), more }),
    end: (sessionId) => JSON.stringify({ end: true, sessionId }),
  };
}

class Line implements HearingLine {
  readonly #ears: Ears;
  readonly #events: HearingEvents;
  readonly #started = Promise.withResolvers<void>();
  #channel: Channel | null = null;
  #timer: TimerHandle | undefined;
  /** Ours, until the vendor gives it another name. */
  #sessionId: string = randomUUID();
  /** The newest sentence that is over: nothing more is heard of it or those before. */
  #done = -1;
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
      // Also when it was over before there was a channel to close.
      line.#end();
      throw error;
    }
  }

  private constructor(ears: Ears, events: HearingEvents) {
    this.#ears = ears;
    this.#events = events;
    toldElsewhere(this.#started.promise);
  }

  send(frame: Int16Array): void {
    this.#channel?.send(bytesOf(frame));
  }

  close(): void {
    if (this.#isOver) return;
    if (this.#isStarted) this.#channel?.send(this.#ears.dialect.end(this.#sessionId));
    this.#end();
  }

  async #connect(language: string, signal: AbortSignal): Promise<void> {
    const { tools, setting, dialect } = this.#ears;
    const { clock } = tools;
    this.#channel = await openChannel(
      {
        url: dialect.addressFor(language, this.#sessionId),
        ...{ what: 'iflytek recogniser', clock },
        refused: (status, body, { date }) =>
          refusal({ status, body, date }, setting, clock.wallMs()),
        onText: (text) => this.#heard(text),
        onBinary: () => this.#fail(brokenMessage(VENDOR, 'binary data where text belongs')),
        onEnd: (error) => this.#fail(error),
      },
      signal,
    );
    this.#timer = clock.setTimer(() => {
      this.#fail(new AppError('E_TIMEOUT', `iflytek: no start within ${STARTED_MS} ms`));
    }, STARTED_MS);
    const onAbort = (): void => this.#fail(new AppError('E_ABORTED', 'iflytek: given up'));
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await this.#started.promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
      clock.clearTimer(this.#timer);
    }
  }

  #heard(text: string): void {
    if (this.#isOver) return;
    try {
      this.#message(readJson(VENDOR, text));
    } catch (thrown) {
      this.#fail(toAppError(thrown, 'E_PROVIDER_SERVER'));
    }
  }

  #message(message: Json): void {
    // A text with JSON in it, or the very object; the large model has its code in there, too.
    const inner = textIn(message, 'data');
    const data = inner.startsWith('{') ? readJson(VENDOR, inner) : partOf(message, 'data');
    const action = textIn(message, 'action') || textIn(data, 'action');
    const number = numberIn(message, 'code') || numberIn(data, 'code') || 0;
    if (action === 'error' || number !== 0 || data['normal'] === false) {
      const said = textIn(message, 'desc') || textIn(data, 'desc');
      throw iflytekError(number, said, this.#ears.setting);
    }
    const isGreeting = action === 'started' || textIn(message, 'msg_type') === 'action';
    if (!isGreeting) return this.#result(data);
    this.#sessionId = textIn(data, 'sessionId') || this.#sessionId;
    this.#isStarted = true;
    this.#started.resolve();
  }

  #result(data: Json): void {
    const st = partOf(partOf(data, 'cn'), 'st');
    const isFinal = st['type'] === '0';
    if (!isFinal && st['type'] !== '1') return;
    const segment = numberIn(data, 'seg_id');
    if (segment !== null && segment <= this.#done) return;
    const words = spokenWordsOf(st['rt'], this.#ears.keepsFillers);
    if (!isFinal) return this.#events.partial(words);
    this.#done = segment ?? this.#done;
    this.#events.final(words, null);
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
