/** Baidu's realtime recogniser (providers.md 5.1): 16 kHz, sentences cut by the vendor. */
import { randomUUID } from 'node:crypto';
import type { TimerHandle } from '#lib/clock.ts';
import { AppError, toAppError, type ErrorCode } from '#lib/errors.ts';
import type { SttProvider } from '../contract.ts';
import { bytesOf } from '../rates.ts';
import type { HearingEvents, HearingLine } from '../stt-line.ts';
import { streamingStt } from '../streaming-stt.ts';
import { brokenMessage, numberIn, readJson, textIn, type Json } from '../vendor-json.ts';
import {
  choiceOption,
  credential,
  numberOption,
  textOption,
  urlOption,
  type VendorSettings,
  type VendorTools,
} from '../vendor.ts';
import { openChannel, type Channel } from '../ws-channel.ts';
import { createBaiduAccess, refusal, VENDOR, type BaiduAccess, type Pass } from './access.ts';

const RATE_HZ = 16_000;
const FRAME_MS = 40;
const MANDARIN = 15_372;
const ENGLISH = 17_372;

/** For a word about utterances that are over: noises may go without, so that it is longer than providers.md 12.4 has it. */
const ANSWER_MS = 4_000;
const MAX_UNHEARD = 2;

/** Of one sentence: the session goes on. */
const SENTENCE_ONLY = new Set([-3003, -3005]);
const CODES: Readonly<Record<number, ErrorCode>> = {
  [-3004]: 'E_PROVIDER_AUTH',
  [-3006]: 'E_PROVIDER_SERVER',
  [-3008]: 'E_PROVIDER_PARAM',
  [-3013]: 'E_PROVIDER_SERVER',
  [-3014]: 'E_PROVIDER_SERVER',
  [-3101]: 'E_PROVIDER_IDLE',
};

type Ears = {
  readonly tools: VendorTools;
  readonly setting: string;
  readonly url: string;
  /** Null: the start message has the key. */
  readonly access: BaiduAccess | null;
  startFor(language: string, callId: string): object;
};

/** Errors: E_CONFIG. */
export function createBaiduStt(settings: VendorSettings, tools: VendorTools): SttProvider {
  const isLarge = choiceOption(settings, 'service', ['classic', 'large']) === 'large';
  const ears = isLarge ? largeEars(settings, tools) : classicEars(settings, tools);
  return streamingStt({
    ...{ vendor: VENDOR, tools, rateHz: RATE_HZ, frameMs: FRAME_MS },
    connect: (call, events, signal) => Line.open(ears, call, events, signal),
  });
}

function classicEars(settings: VendorSettings, tools: VendorTools): Ears {
  const appId = credential(settings, 'app_id');
  if (!/^\d{1,12}$/.test(appId)) {
    throw new AppError('E_CONFIG', `${settings.setting}: credentials.app_id is not a number`);
  }
  const key = credential(settings, 'api_key');
  const own = numberOption(settings, 'dev_pid', 0, [0, 999_999]);
  return {
    ...{ tools, setting: settings.setting, access: null },
    url: urlOption(settings, 'url', 'wss://vop.baidu.com/realtime_asr'),
    startFor: (language, callId) => ({
      ...{ appid: Number(appId), appkey: key, cuid: callId, format: 'pcm', sample: RATE_HZ },
      dev_pid: own || (language === 'en' ? ENGLISH : MANDARIN),
    }),
  };
}

function largeEars(settings: VendorSettings, tools: VendorTools): Ears {
  const standard = 'wss://aip.baidubce.com/ws/2.0/speech/publiccloudspeech/v1/asr';
  const model = settings.model ?? textOption(settings, 'model', 'qianfan-asr-v1');
  return {
    ...{ tools, setting: settings.setting, url: urlOption(settings, 'url', standard) },
    access: createBaiduAccess(settings, tools),
    startFor: () => ({ model, format: 'pcm', sample: RATE_HZ }),
  };
}

type Call = { readonly callId: string; readonly language: string };

class Line implements HearingLine {
  readonly #ears: Ears;
  readonly #events: HearingEvents;
  #channel: Channel | null = null;
  #timer: TimerHandle | undefined;
  #isOver = false;
  /** Utterances in a row of which the vendor has not said a word, not even that there were none. */
  #unheard = 0;

  static open(ears: Ears, call: Call, events: HearingEvents, signal: AbortSignal): Promise<Line> {
    const open = (pass: Pass): Promise<Line> => Line.#enter(ears, pass, call, events, signal);
    return ears.access?.enter(open, signal) ?? open({ query: {}, headers: {} });
  }

  static async #enter(
    ears: Ears,
    { query, headers }: Pass,
    call: Call,
    events: HearingEvents,
    signal: AbortSignal,
  ): Promise<Line> {
    const line = new Line(ears, events);
    line.#channel = await openChannel(
      {
        url: `${ears.url}?${new URLSearchParams({ sn: randomUUID(), ...query }).toString()}`,
        ...{ headers, what: 'baidu recogniser', clock: ears.tools.clock },
        refused: (status, body) => refusal(status, body, ears.setting),
        onText: (text) => line.#heard(text),
        onBinary: () => line.#fail(brokenMessage(VENDOR, 'binary data where text belongs')),
        onEnd: (error) => line.#fail(error),
      },
      signal,
    );
    // The vendor has no word for "ready": what is wrong with the start comes with the first answer.
    const data = ears.startFor(call.language, call.callId);
    line.#channel.send(JSON.stringify({ type: 'START', data }));
    return line;
  }

  private constructor(ears: Ears, events: HearingEvents) {
    this.#ears = ears;
    this.#events = events;
  }

  send(frame: Int16Array): void {
    this.#channel?.send(bytesOf(frame));
  }

  /** A vendor that took the start and is dead behind it would be noticed by nothing else. */
  flush(): void {
    this.#unheard += 1;
    if (this.#unheard !== 1) return;
    this.#wait();
  }

  close(): void {
    if (this.#isOver) return;
    this.#channel?.send('{"type":"FINISH"}');
    this.#end();
  }

  #wait(): void {
    this.#timer = this.#ears.tools.clock.setTimer(() => {
      const what = `baidu: not a word about ${this.#unheard} utterances`;
      if (this.#unheard >= MAX_UNHEARD) this.#fail(new AppError('E_PROVIDER_IDLE', what));
      else this.#wait();
    }, ANSWER_MS);
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
    const type = textIn(message, 'type');
    if (type === 'HEARTBEAT') return;
    this.#unheard = 0;
    this.#ears.tools.clock.clearTimer(this.#timer);
    const number = numberIn(message, 'err_no') ?? 0;
    if (number !== 0 && !SENTENCE_ONLY.has(number)) throw this.#refusal(number, message);
    const words = number === 0 ? textIn(message, 'result') : '';
    if (type === 'MID_TEXT') this.#events.partial(words);
    else if (type === 'FIN_TEXT') this.#events.final(words, null);
  }

  #refusal(number: number, message: Json): AppError {
    const said = textIn(message, 'err_msg').slice(0, 160);
    // The same number stands for too many requests at once.
    const isQuota = number === -3004 && /qps|limit|concurren/i.test(said);
    const code = isQuota ? 'E_PROVIDER_QUOTA' : (CODES[number] ?? 'E_PROVIDER_SERVER');
    const whose = `${this.#ears.setting}: credentials app_id or api_key are refused`;
    const what = code === 'E_PROVIDER_AUTH' ? whose : said;
    return new AppError(code, `baidu: ${number} (${what})`, {
      details: { vendor: VENDOR, vendorCode: String(number) },
    });
  }

  #fail(error: AppError): void {
    if (this.#isOver) return;
    this.#end();
    this.#events.failed(error);
  }

  #end(): void {
    this.#isOver = true;
    this.#ears.tools.clock.clearTimer(this.#timer);
    this.#channel?.close();
  }
}
