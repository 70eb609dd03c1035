/** DashScope's realtime recognisers (providers.md 2.1): Paraformer, Fun-ASR and their kin, one task for a call. */
import { randomUUID } from 'node:crypto';
import type { TimerHandle } from '#lib/clock.ts';
import { toldElsewhere } from '#lib/deadline.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import type { SttProvider } from '../contract.ts';
import { bytesOf } from '../rates.ts';
import type { HearingEvents, HearingLine } from '../stt-line.ts';
import { streamingStt } from '../streaming-stt.ts';
import { brokenMessage, partOf, textIn, type Json } from '../vendor-json.ts';
import {
  flagOption,
  numberOption,
  textOption,
  type VendorSettings,
  type VendorTools,
} from '../vendor.ts';
import { openChannel, type Channel } from '../ws-channel.ts';
import { gateOf, message, readEvent, type Gate } from './inference.ts';

const VENDOR = 'dashscope';
const FRAME_MS = 100;
const STARTED_MS = 3_000;

type Ears = {
  readonly tools: VendorTools;
  readonly gate: Gate;
  readonly model: string;
  parametersFor(language: string): object;
};

/** Errors: E_CONFIG. */
export function createDashscopeStt(settings: VendorSettings, tools: VendorTools): SttProvider {
  const model = settings.model ?? textOption(settings, 'model', 'paraformer-realtime-8k-v2');
  if (/^qwen3-asr/.test(model)) {
    const what = `options.model ${model} speaks another protocol; choose a Paraformer or Fun-ASR model`;
    throw new AppError('E_CONFIG', `${settings.setting}: ${what}`);
  }
  // Models of 8 kHz say so in their names; the streaming audio model takes both.
  const isNarrow = /-8k-/.test(model);
  const takesBoth = model.startsWith('qwen-audio');
  const wishHz = numberOption(
    settings,
    'sample_rate',
    isNarrow || takesBoth ? 8_000 : 16_000,
    [8_000, 16_000],
  );
  const rateHz = wishHz > 8_000 ? 16_000 : 8_000;
  if (!takesBoth && isNarrow !== (rateHz === 8_000)) {
    const what = `options.model ${model} does not hear ${rateHz} Hz (options.sample_rate)`;
    throw new AppError('E_CONFIG', `${settings.setting}: ${what}`);
  }
  const ears: Ears = {
    ...{ tools, model, gate: gateOf(settings) },
    parametersFor: parametersOf(settings, rateHz),
  };
  return streamingStt({
    ...{ vendor: VENDOR, tools, rateHz, frameMs: FRAME_MS },
    connect: (call, events, signal) => Line.open(ears, call.language, events, signal),
  });
}

function parametersOf(settings: VendorSettings, rateHz: number): Ears['parametersFor'] {
  const vocabulary = textOption(settings, 'vocabulary_id', '');
  const common = {
    ...{ format: 'pcm', sample_rate: rateHz, heartbeat: true },
    max_sentence_silence: numberOption(settings, 'max_sentence_silence', 300, [200, 6_000]),
    semantic_punctuation_enabled: flagOption(settings, 'semantic_punctuation_enabled', false),
    punctuation_prediction_enabled: flagOption(settings, 'punctuation', true),
    inverse_text_normalization_enabled: flagOption(settings, 'inverse_text_normalization', true),
    disfluency_removal_enabled: flagOption(settings, 'disfluency_removal_enabled', false),
    ...(vocabulary === '' ? {} : { vocabulary_id: vocabulary }),
  };
  const hints = flagOption(settings, 'language_hints', true);
  return (language) => ({ ...common, ...(hints ? { language_hints: [language] } : {}) });
}

class Line implements HearingLine {
  readonly #ears: Ears;
  readonly #events: HearingEvents;
  readonly #taskId = randomUUID();
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
    if (this.#isStarted) this.#channel?.send(message('finish-task', this.#taskId, { input: {} }));
    this.#end();
  }

  async #connect(language: string, signal: AbortSignal): Promise<void> {
    const { gate, tools, model } = this.#ears;
    const { clock } = tools;
    this.#channel = await openChannel(
      {
        ...{ url: gate.url, headers: gate.headers ?? {}, what: 'dashscope recogniser', clock },
        ...(gate.refused === undefined ? {} : { refused: gate.refused }),
        onText: (text) => this.#heard(text),
        onBinary: () => this.#fail(brokenMessage(VENDOR, 'binary data where text belongs')),
        onEnd: (error) => this.#fail(error),
      },
      signal,
    );
    const parameters = this.#ears.parametersFor(language);
    const task = { task_group: 'audio', task: 'asr', function: 'recognition', model };
    this.#channel.send(message('run-task', this.#taskId, { ...task, parameters, input: {} }));
    this.#timer = clock.setTimer(() => {
      this.#fail(new AppError('E_TIMEOUT', `dashscope: no start within ${STARTED_MS} ms`));
    }, STARTED_MS);
    const onAbort = (): void => this.#fail(new AppError('E_ABORTED', 'dashscope: given up'));
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
      const { name, output } = readEvent(text, this.#ears.gate.setting);
      if (name === 'task-started') {
        this.#isStarted = true;
        this.#started.resolve();
      } else if (name === 'result-generated') this.#sentence(partOf(output, 'sentence'));
      else if (name === 'task-finished')
        throw brokenMessage(VENDOR, 'the vendor ended the task by itself');
    } catch (thrown) {
      this.#fail(toAppError(thrown, 'E_PROVIDER_SERVER'));
    }
  }

  #sentence(sentence: Json): void {
    if (sentence['heartbeat'] === true) return;
    const words = textIn(sentence, 'text');
    const isOver = sentence['sentence_end'] === true || typeof sentence['end_time'] === 'number';
    if (isOver) this.#events.final(words, null);
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
