/** Tencent's realtime recogniser (providers.md 4.1): one signed connection for a call, sentences cut by the vendor. */
import { randomInt, randomUUID } from 'node:crypto';
import { toldElsewhere } from '#lib/deadline.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import type { SttProvider } from '../contract.ts';
import { bytesOf } from '../rates.ts';
import type { HearingEvents, HearingLine } from '../stt-line.ts';
import { streamingStt } from '../streaming-stt.ts';
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
import { assertWell, refusal, VENDOR } from './errors.ts';
import { signatureOf, signedQuery, textToSign, type Parameters } from './signature.ts';

const FRAME_MS = 40;
const ADDRESS = 'asr.cloud.tencent.com/asr/v2';
const STARTED_MS = 3_000;
/** A signature is good for a day; the vendor takes up to 90. */
const VALID_S = 86_400;
/** More than 3 s of sound within one second are refused (4000): catching up stays well below. */
const AHEAD_MS = 1_000;
const PCM = 1;
/** `slice_type` 0 is the start of a sentence. */
const SLICE_INTERIM = 1;
const SLICE_FINAL = 2;

type Ears = {
  readonly tools: VendorTools;
  readonly setting: string;
  readonly url: string;
  /** Host and path as the vendor knows itself, whatever way leads there. */
  readonly signedAddress: string;
  readonly appId: string;
  readonly secretId: string;
  readonly secretKey: string;
  readonly parameters: Parameters;
  /** `16k_en` for English, where the account does not say otherwise. */
  engineFor(language: string): string;
};

/** Errors: E_CONFIG. */
export function createTencentStt(settings: VendorSettings, tools: VendorTools): SttProvider {
  const rateHz =
    numberOption(settings, 'sample_rate', 8_000, [8_000, 16_000]) > 8_000 ? 16_000 : 8_000;
  const band = rateHz === 8_000 ? '8k' : '16k';
  const engine = settings.model ?? textOption(settings, 'engine_model_type', '');
  if (/^(8|16)k_/.test(engine) && !engine.startsWith(`${band}_`)) {
    const what = `options.engine_model_type ${engine} does not hear ${rateHz} Hz (options.sample_rate)`;
    throw new AppError('E_CONFIG', `${settings.setting}: ${what}`);
  }
  const ears: Ears = {
    tools,
    setting: settings.setting,
    url: urlOption(settings, 'url', `wss://${ADDRESS}`),
    signedAddress: textOption(settings, 'signed_address', ADDRESS),
    appId: credential(settings, 'app_id'),
    secretId: credential(settings, 'secret_id'),
    secretKey: credential(settings, 'secret_key'),
    parameters: parametersOf(settings),
    engineFor: (language) => engine || `${band}_${language === 'en' ? 'en' : 'zh'}`,
  };
  return streamingStt({
    ...{ vendor: VENDOR, tools, rateHz, frameMs: FRAME_MS, aheadMs: AHEAD_MS },
    connect: (call, events, signal) => Line.open(ears, call.language, events, signal),
  });
}

function parametersOf(settings: VendorSettings): Parameters {
  const texts = ['hotword_id', 'hotword_list', 'customization_id'].flatMap((name) => {
    const value = textOption(settings, name, '');
    return value === '' ? [] : [[name, value] as const];
  });
  return {
    ...{ voice_format: PCM, needvad: 1, filter_empty_result: 0 },
    vad_silence_time: numberOption(settings, 'vad_silence_time', 500, [500, 2_000]),
    filter_dirty: numberOption(settings, 'filter_dirty', 0, [0, 2]),
    filter_modal: numberOption(settings, 'filter_modal', 0, [0, 2]),
    filter_punc: numberOption(settings, 'filter_punc', 0, [0, 2]),
    convert_num_mode: numberOption(settings, 'convert_num_mode', 1, [0, 3]),
    ...Object.fromEntries(texts),
  };
}

function addressOf(ears: Ears, language: string): string {
  const nowS = Math.floor(ears.tools.clock.wallMs() / 1000);
  const parameters = {
    ...ears.parameters,
    secretid: ears.secretId,
    ...{ timestamp: nowS, expired: nowS + VALID_S, nonce: randomInt(1, 2_000_000_000) },
    ...{ engine_model_type: ears.engineFor(language), voice_id: randomUUID() },
  };
  const text = textToSign(`${ears.signedAddress}/${ears.appId}`, parameters);
  const signature = signatureOf(text, ears.secretKey);
  return `${ears.url}/${ears.appId}?${signedQuery(parameters, 'signature', signature)}`;
}

class Line implements HearingLine {
  readonly #ears: Ears;
  readonly #events: HearingEvents;
  readonly #started = Promise.withResolvers<void>();
  readonly #clock: Clock;
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
      await line.#connect(addressOf(ears, language), signal);
      return line;
    } catch (error) {
      line.close();
      throw error;
    }
  }

  private constructor(ears: Ears, events: HearingEvents) {
    this.#ears = ears;
    this.#events = events;
    this.#clock = ears.tools.clock;
    // Failures reach whoever waits; nobody may wait any more.
    toldElsewhere(this.#started.promise);
  }

  send(frame: Int16Array): void {
    this.#channel?.send(bytesOf(frame));
  }

  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#clock.clearTimer(this.#timer);
    if (this.#isStarted) this.#channel?.send('{"type":"end"}');
    this.#channel?.close();
  }

  async #connect(url: string, signal: AbortSignal): Promise<void> {
    this.#channel = await openChannel(
      {
        ...{ url, what: 'tencent recogniser', clock: this.#clock },
        onText: (text) => this.#heard(text),
        onBinary: () => this.#fail(brokenMessage(VENDOR, 'binary data where text belongs')),
        refused: (status) => refusal(status, this.#ears.setting),
        onEnd: (error) => this.#fail(error),
      },
      signal,
    );
    this.#timer = this.#clock.setTimer(() => {
      this.#fail(new AppError('E_TIMEOUT', `tencent: no start within ${STARTED_MS} ms`));
    }, STARTED_MS);
    const onAbort = (): void => this.#fail(new AppError('E_ABORTED', 'tencent: given up'));
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await this.#started.promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#clock.clearTimer(this.#timer);
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
    assertWell(message, this.#ears.setting);
    if (!this.#isStarted) {
      this.#isStarted = true;
      this.#started.resolve();
    }
    if (numberIn(message, 'final') === 1) {
      throw brokenMessage(VENDOR, 'the vendor ended the session by itself');
    }
    const result = partOf(message, 'result');
    const words = textIn(result, 'voice_text_str');
    const slice = numberIn(result, 'slice_type');
    if (slice === SLICE_FINAL) this.#events.final(words, null);
    else if (slice === SLICE_INTERIM || words !== '') this.#events.partial(words);
  }

  #fail(error: AppError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#clock.clearTimer(this.#timer);
    this.#channel?.close();
    if (this.#isStarted) this.#events.failed(error);
    else this.#started.reject(error);
  }
}
