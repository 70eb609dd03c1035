/**
 * Streaming recognition of the big model (providers.md 7.4): one connection hears the whole call; sentences end by
 * silence (`end_window_size`), and a sentence that is `definite` is final.
 */
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type { SttProvider } from '../contract.ts';
import { bytesOf } from '../rates.ts';
import { streamingStt } from '../streaming-stt.ts';
import type { HearingEvents, HearingLine } from '../stt-line.ts';
import {
  flagOption,
  numberOption,
  textOption,
  type VendorSettings,
  type VendorTools,
} from '../vendor.ts';
import type { Channel } from '../ws-channel.ts';
import { serviceOf, type Service } from './account.ts';
import { badEndOf, failureOfFrame } from './errors.ts';
import { decodeFrame, encodeFrame, FLAG, FRAME, jsonOf, jsonPayload } from './frame.ts';
import { openServiceChannel } from './line.ts';
import { hotWordsOf } from './words.ts';

const RATE_HZ = 16000;
/** The vendor ends a connection without audio after some seconds; a silent frame this often prevents it. */
const KEEP_ALIVE_MS = 2_000;
/** Utterances in a row that a new connection may leave without a word before it counts as dumb. */
const MAX_UNANSWERED = 2;

/**
 * Options: `stt_frame_ms` (100-200, default 100: 200 is the vendor's advice for throughput, 100 is heard sooner),
 * `stt_end_window_ms` (200-3000, default 300), `stt_force_to_speech_ms` (default 1: short answers end as soon as long
 * ones), `stt_model` (bigmodel), `stt_two_pass`, `stt_itn`, `stt_punctuation`, `stt_accelerate` (0-20), `stt_gzip`,
 * `hot_words`. Errors: E_CONFIG.
 */
export function createVolcengineStt(settings: VendorSettings, tools: VendorTools): SttProvider {
  const service = serviceOf(settings, 'stt');
  const frameMs = numberOption(settings, 'stt_frame_ms', 100, [100, 200]);
  if (frameMs % 10 !== 0) {
    throw new AppError(
      'E_CONFIG',
      `${settings.setting}: options.stt_frame_ms must be a multiple of 10`,
    );
  }
  const isGzip = flagOption(settings, 'stt_gzip', true);
  const request = requestOf(settings);
  return streamingStt({
    vendor: 'volcengine',
    tools,
    rateHz: RATE_HZ,
    frameMs,
    connect: async ({ callId }, events, signal) => {
      const line = new SttLine({ ...tools, service, isGzip, frameMs, events });
      await line.connect({ user: { uid: callId }, ...request }, signal);
      return line;
    },
  });
}

function requestOf(settings: VendorSettings): Record<string, unknown> {
  const accelerate = numberOption(settings, 'stt_accelerate', 0, [0, 20]);
  const words = hotWordsOf(settings);
  return {
    audio: { format: 'pcm', codec: 'raw', rate: RATE_HZ, bits: 16, channel: 1 },
    request: {
      model_name: textOption(settings, 'stt_model', 'bigmodel'),
      enable_itn: flagOption(settings, 'stt_itn', true),
      enable_punc: flagOption(settings, 'stt_punctuation', true),
      show_utterances: true,
      result_type: 'single',
      enable_nonstream: flagOption(settings, 'stt_two_pass', false),
      end_window_size: numberOption(settings, 'stt_end_window_ms', 300, [200, 3000]),
      force_to_speech_time: numberOption(settings, 'stt_force_to_speech_ms', 1, [1, 10_000]),
      ...(accelerate === 0 ? {} : { enable_accelerate_text: true, accelerate_score: accelerate }),
      ...(words.length === 0
        ? {}
        : { corpus: { context: JSON.stringify({ hotwords: words.map((word) => ({ word })) }) } }),
    },
  };
}

type SttLineOptions = {
  readonly service: Service;
  readonly clock: Clock;
  readonly log: Log;
  readonly isGzip: boolean;
  readonly frameMs: number;
  readonly events: HearingEvents;
};

class SttLine implements HearingLine {
  readonly #options: SttLineOptions;
  #channel: Channel | null = null;
  #keepAlive: TimerHandle | undefined;
  #isOver = false;
  #hasSpoken = false;
  #unanswered = 0;
  /** End of the last sentence that is final, in its audio: the vendor may tell it twice. */
  #finalToMs = -1;

  constructor(options: SttLineOptions) {
    this.#options = options;
  }

  /** There is no answer to wait for: a request that is refused is told by `failed`. */
  async connect(request: Record<string, unknown>, signal: AbortSignal): Promise<void> {
    const { service, clock, log } = this.#options;
    const use = {
      ...{ clock, log },
      onBinary: (data: Buffer) => this.#received(data),
      onText: (error: AppError) => this.#fail(error),
      onEnd: (error: AppError) => this.#fail(error),
    };
    this.#channel = await openServiceChannel(service, use, signal);
    this.#channel.send(
      encodeFrame({
        ...{ type: FRAME.fullClient, isJson: true, isGzip: true },
        payload: jsonPayload(request),
      }),
    );
    this.#stayAlive();
  }

  send(frame: Int16Array): void {
    this.#audio(bytesOf(frame));
    this.#stayAlive();
  }

  flush(): void {
    if (this.#hasSpoken) return;
    this.#unanswered += 1;
    if (this.#unanswered <= MAX_UNANSWERED) return;
    const what = `${this.#options.service.what}: connected, and silent for ${MAX_UNANSWERED} utterances`;
    this.#fail(new AppError('E_TIMEOUT', what));
  }

  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#options.clock.clearTimer(this.#keepAlive);
    this.#audio(new Uint8Array(0), FLAG.last);
    this.#channel?.close();
  }

  #audio(payload: Uint8Array, flags = 0): void {
    const { isGzip } = this.#options;
    this.#channel?.send(encodeFrame({ type: FRAME.audioClient, flags, isGzip, payload }));
  }

  #stayAlive(): void {
    const { clock, frameMs } = this.#options;
    clock.clearTimer(this.#keepAlive);
    if (this.#isOver) return;
    this.#keepAlive = clock.setTimer(() => {
      this.#audio(new Uint8Array((RATE_HZ / 1000) * frameMs * 2));
      this.#stayAlive();
    }, KEEP_ALIVE_MS);
  }

  #received(data: Buffer): void {
    if (this.#isOver) return;
    const { service } = this.#options;
    try {
      const frame = decodeFrame(data);
      if (frame.type === FRAME.error) return this.#fail(failureOfFrame(service, frame));
      if (frame.type !== FRAME.fullServer) return;
      const bad = badEndOf(service, frame);
      if (bad !== null) return this.#fail(bad);
      this.#hasSpoken = true;
      this.#read(jsonOf(frame)['result']);
    } catch (error) {
      const { code, message } = toAppError(error, 'E_PROVIDER_SERVER');
      this.#fail(new AppError(code, `${service.what}: ${message}`, { cause: error }));
    }
  }

  #read(result: unknown): void {
    const { text, utterances } = resultOf(result);
    const { events } = this.#options;
    for (const { text: words, endMs } of utterances.filter(({ isDefinite }) => isDefinite)) {
      if (endMs !== null && endMs <= this.#finalToMs) continue;
      this.#finalToMs = endMs ?? this.#finalToMs;
      events.final(words, null);
    }
    const open = utterances.findLast(({ isDefinite }) => !isDefinite);
    const partial = open?.text ?? (utterances.length === 0 ? text : '');
    if (partial !== '') events.partial(partial);
  }

  #fail(error: AppError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#options.clock.clearTimer(this.#keepAlive);
    this.#channel?.close();
    // A line too slow for what it is sent ends in the middle of sending.
    queueMicrotask(() => this.#options.events.failed(error));
  }
}

type Heard = { readonly text: string; readonly endMs: number | null; readonly isDefinite: boolean };

/** The vendor's `result`, as an object or as a list of one. */
function resultOf(result: unknown): { text: string; utterances: readonly Heard[] } {
  const first: unknown = Array.isArray(result) ? result[0] : result;
  if (typeof first !== 'object' || first === null) return { text: '', utterances: [] };
  const { text, utterances } = first as Record<string, unknown>;
  const list: readonly unknown[] = Array.isArray(utterances) ? utterances : [];
  return {
    text: typeof text === 'string' ? text : '',
    utterances: list.filter((each) => typeof each === 'object' && each !== null).map(heardOf),
  };
}

function heardOf(utterance: object): Heard {
  const { text, end_time: endMs, definite } = utterance as Record<string, unknown>;
  return {
    text: typeof text === 'string' ? text : '',
    endMs: typeof endMs === 'number' ? endMs : null,
    isDefinite: definite === true,
  };
}
