/**
 * The bidirectional voice (providers.md 7.5): one connection, started once, and a session under a new id for each text.
 * It speaks 8 kHz by itself. A speech that is given up is cancelled (101), and its connection kept when the vendor says
 * so (151).
 */
import { randomUUID } from 'node:crypto';
import { AppError, toAppError } from '#lib/errors.ts';
import type { TtsChunk, TtsProvider, TtsRequest } from '../contract.ts';
import { SAMPLE_RATE_HZ } from '../rates.ts';
import { SpareSockets } from '../spare-sockets.ts';
import {
  flagOption,
  numberOption,
  textOption,
  type VendorSettings,
  type VendorTools,
} from '../vendor.ts';
import { serviceOf, type Service } from './account.ts';
import { ASK } from './events.ts';
import { VolcLine } from './line.ts';
import { Speech } from './speech.ts';
import { SpokenWords } from './tts-marks.ts';

/** providers.md 12.4 */
const FIRST_SOUND_MS = 3_000;
const NEXT_SOUND_MS = 5_000;
const MAX_IDLE_MS = 45_000;
/** One for each speech at the same time, up to here: without it every speech would cost a handshake. */
const KEEP_AT_MOST = 8;
/** The vendor gives no limit for one message, and joins what it is given. */
const MAX_TASK_CHARS = 300;
const NAMESPACE = 'BidirectionalTTS';
const VOICE = 'zh_female_shuangkuaisisi_moon_bigtts';

/**
 * Options: `tts_voice` (the agent's voice wins), `tts_timestamps` (default true), `tts_first_sound_ms` (default
 * 3000), `tts_next_sound_ms` (5000).
 * Errors: E_CONFIG.
 */
export function createVolcengineTts(settings: VendorSettings, tools: VendorTools): TtsProvider {
  const service = serviceOf(settings, 'tts');
  const voice = new Voice(service, tools, {
    voice: settings.voice ?? textOption(settings, 'tts_voice', VOICE),
    firstSoundMs: numberOption(settings, 'tts_first_sound_ms', FIRST_SOUND_MS, [50, 30_000]),
    nextSoundMs: numberOption(settings, 'tts_next_sound_ms', NEXT_SOUND_MS, [50, 30_000]),
    audio: {
      ...{ format: 'pcm', sample_rate: SAMPLE_RATE_HZ },
      speech_rate: rateOf(settings.speed),
      loudness_rate: rateOf(settings.volume),
      ...(flagOption(settings, 'tts_timestamps', true) ? timestampsOf(service) : {}),
    },
  });
  return {
    vendor: 'volcengine',
    close: () => voice.close(),
    warm: () => voice.warm(),
    speak: (request, signal) => voice.speak(request, signal),
  };
}

/** Ours are 0 to 2, 1 being the voice's own; the vendor's -50 to 100. */
export function rateOf(factor: number | null): number {
  if (factor === null) return 0;
  return Math.max(-50, Math.min(100, Math.round((factor - 1) * 100)));
}

/** The two generations of voices tell the times of words by different events. */
function timestampsOf({ resource }: Service): Record<string, boolean> {
  return /-2\.0/.test(resource) ? { enable_subtitle: true } : { enable_timestamp: true };
}

type VoiceOptions = {
  readonly voice: string;
  readonly firstSoundMs: number;
  readonly nextSoundMs: number;
  readonly audio: Readonly<Record<string, unknown>>;
};

class Voice {
  readonly #service: Service;
  readonly #tools: VendorTools;
  readonly #options: VoiceOptions;
  readonly #spares: SpareSockets<VolcLine>;

  constructor(service: Service, tools: VendorTools, options: VoiceOptions) {
    this.#service = service;
    this.#tools = tools;
    this.#options = options;
    const { clock, log } = tools;
    this.#spares = new SpareSockets({
      clock,
      open: (signal) => VolcLine.open({ service, clock, log }, signal),
      maxIdleMs: MAX_IDLE_MS,
      keepAtMost: KEEP_AT_MOST,
    });
  }

  async *speak(request: TtsRequest, signal: AbortSignal): AsyncGenerator<TtsChunk, void> {
    if (signal.aborted) throw givenUp();
    if (!/[\p{L}\p{N}]/u.test(request.text)) return;
    for (let tries = 1; ; tries++) {
      const askedAtMs = this.#tools.clock.now();
      const line = await this.#spares.take(signal);
      let hasSound = false;
      try {
        for await (const chunk of this.#session(line, request, signal)) {
          hasSound = true;
          yield chunk;
        }
        return;
      } catch (error) {
        const { code } = toAppError(error, 'E_PROVIDER_SERVER');
        // A connection that waited may have died without a word: that is no fault of this text.
        const mayRetry = code === 'E_PROVIDER_SERVER' || code === 'E_PROVIDER_IDLE';
        const hadWaited = line.openedAtMs < askedAtMs && !line.isOpen;
        if (hasSound || !hadWaited || !mayRetry || tries > 1) throw error;
      }
    }
  }

  warm(): void {
    this.#spares.warm();
  }

  close(): void {
    this.#spares.close();
  }

  async *#session(
    line: VolcLine,
    request: TtsRequest,
    signal: AbortSignal,
  ): AsyncGenerator<TtsChunk, void> {
    const speech = new Speech(this.#service, this.#tools.clock);
    const onAbort = (): void => speech.failed(givenUp());
    signal.addEventListener('abort', onAbort, { once: true });
    let hasEnded = false;
    try {
      if (signal.aborted) throw givenUp();
      line.begin(randomUUID(), speech, this.#startOf(request));
      const first = await speech.next(this.#service.startMs);
      if (first.type !== 'started') throw disorder(this.#service);
      for (const text of tasksOf(request.text)) {
        line.send(ASK.task, { event: ASK.task, namespace: NAMESPACE, req_params: { text } });
      }
      line.send(ASK.finishSession, {});
      yield* this.#sound(speech, request.text);
      hasEnded = true;
    } finally {
      signal.removeEventListener('abort', onAbort);
      if (hasEnded) this.#spares.giveBack(line);
      else void this.#leave(line);
    }
  }

  async #leave(line: VolcLine): Promise<void> {
    if (await line.leave(ASK.cancelSession)) this.#spares.giveBack(line);
    else line.close();
  }

  async *#sound(speech: Speech, text: string): AsyncGenerator<TtsChunk, void> {
    const { firstSoundMs, nextSoundMs } = this.#options;
    const words = new SpokenWords(text);
    const samples = new SampleReader();
    for (;;) {
      const isFirst = samples.count === 0;
      const part = await speech.next(isFirst ? firstSoundMs : nextSoundMs);
      if (part.type === 'finished') break;
      if (part.type === 'started') throw disorder(this.#service);
      const pcm = part.type === 'audio' ? samples.read(part.bytes) : new Int16Array(0);
      const marks = part.type === 'words' ? words.add(part.words, samples.count) : [];
      if (pcm.length > 0 || marks.length > 0) yield { pcm, marks };
    }
    if (samples.count === 0) {
      throw new AppError('E_PROVIDER_SERVER', `${this.#service.what}: no sound for a text`);
    }
    const marks = words.rest(samples.count);
    if (marks.length > 0) yield { pcm: new Int16Array(0), marks };
  }

  #startOf(request: TtsRequest): Record<string, unknown> {
    const { voice, audio } = this.#options;
    return {
      ...{ user: { uid: 'callyard' }, event: ASK.startSession, namespace: NAMESPACE },
      req_params: {
        speaker: request.voice ?? voice,
        audio_params: audio,
        additions: JSON.stringify({ disable_markdown_filter: false }),
      },
    };
  }
}

/** Samples of bytes that may be cut anywhere. */
class SampleReader {
  count = 0;
  #odd: number | null = null;

  read(bytes: Uint8Array): Int16Array {
    const lead = this.#odd === null ? 0 : 1;
    const total = bytes.length + lead;
    const pcm = new Int16Array(total >> 1);
    const at = (index: number): number =>
      (index < lead ? this.#odd : bytes[index - lead]) as number;
    for (let i = 0; i < pcm.length; i++) pcm[i] = at(2 * i) | (at(2 * i + 1) << 8);
    this.#odd = total % 2 === 1 ? at(total - 1) : null;
    this.count += pcm.length;
    return pcm;
  }
}

/** Parts of at most `MAX_TASK_CHARS`, cut where a sentence or a word ends. */
export function tasksOf(text: string): string[] {
  const tasks: string[] = [];
  let left = text.trim();
  while (left.length > MAX_TASK_CHARS) {
    const head = left.slice(0, MAX_TASK_CHARS);
    const end = Math.max(...[...head.matchAll(/[\p{P}\s]/gu)].map(({ index }) => index + 1), 0);
    const hard = /[\uD800-\uDBFF]$/.test(head) ? MAX_TASK_CHARS - 1 : MAX_TASK_CHARS;
    const cut = end > MAX_TASK_CHARS / 4 ? end : hard;
    tasks.push(left.slice(0, cut));
    left = left.slice(cut);
  }
  return left === '' ? tasks : [...tasks, left];
}

function givenUp(): AppError {
  return new AppError('E_ABORTED', 'the speech was given up');
}

function disorder({ what }: Service): AppError {
  return new AppError('E_PROVIDER_SERVER', `${what}: it answered out of order`);
}
