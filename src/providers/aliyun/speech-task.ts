/**
 * One task of a voice (providers.md 1.4): `SpeechSynthesizer` takes a whole text, a flowing one takes text in pieces. Both
 * with deadlines of their own, since the vendor has none that a caller could wait for.
 */
import type { TimerHandle } from '#lib/clock.ts';
import type { AppError } from '#lib/errors.ts';
import { vendorError } from './nls-errors.ts';
import type { NlsEvent, NlsSocket, NlsTask } from './nls-socket.ts';
import { readSubtitles, type Subtitle } from './subtitles.ts';

export type Voice = {
  /** Whether it takes text in pieces. */
  readonly isFlowing: boolean;
  readonly name: string;
  readonly format: 'pcm' | 'wav' | 'mp3';
  readonly rateHz: 8000 | 16000 | 24000;
  /** 0 to 100, and -500 to 500; null: not said. */
  readonly volume: number | null;
  readonly speechRate: number | null;
  readonly pitchRate: number | null;
  readonly hasSubtitles: boolean;
};

export type SpeechSink = {
  audio(data: Buffer): void;
  /** The next sentence begins. */
  sentence(): void;
  subtitles(list: readonly Subtitle[]): void;
  /** Once: all was said, and the connection may carry the next task; or it failed. */
  done(): void;
  failed(error: AppError): void;
};

/** Default 3000 for the start and for the first sound, 5000 between two messages (providers.md 12.4). */
export type SpeechDeadlines = {
  readonly startedMs?: number;
  readonly firstMs?: number;
  readonly gapMs?: number;
};

/** Characters of one request, and of one piece of a flowing one, a Chinese character counting as two. */
export const MAX_TEXT = { single: 300, flowing: 2_000 } as const;

const DEADLINES = { startedMs: 3_000, firstMs: 3_000, gapMs: 5_000 };

/** Large-model voices flow; the others take whole texts only. */
export function flows(voice: string): boolean {
  return /^(?:long|loong|cosyvoice)/i.test(voice);
}

export class SpeechTask {
  readonly #socket: NlsSocket;
  readonly #sink: SpeechSink;
  readonly #limits: Required<SpeechDeadlines>;
  readonly #task: NlsTask;
  readonly #isFlowing: boolean;
  /** Text that waits for the start; null once it has come. */
  #early: string[] | null;
  #isFinished = false;
  #isOver = false;
  #hasSound = false;
  #timer: TimerHandle | undefined;

  /** `text`: all there is to say, for a voice that does not flow. */
  constructor(
    socket: NlsSocket,
    voice: Voice,
    sink: SpeechSink,
    { text = '', limits = {} }: { readonly text?: string; readonly limits?: SpeechDeadlines },
  ) {
    this.#socket = socket;
    this.#sink = sink;
    this.#limits = { ...DEADLINES, ...limits };
    this.#isFlowing = voice.isFlowing;
    this.#early = voice.isFlowing ? [] : null;
    this.#isFinished = !voice.isFlowing;
    const namespace = voice.isFlowing ? 'FlowingSpeechSynthesizer' : 'SpeechSynthesizer';
    const payload = { ...(voice.isFlowing ? {} : { text }), ...payloadOf(voice) };
    this.#watch(voice.isFlowing ? this.#limits.startedMs : this.#limits.firstMs, 'start to speak');
    this.#task = socket.begin(namespace, 'StartSynthesis', payload, {
      event: (event) => this.#event(event),
      audio: (data) => this.#audio(data),
      failed: (error) => this.#fail(error),
    });
  }

  /** The next piece, of at most MAX_TEXT.flowing. */
  say(text: string): void {
    if (this.#isOver || this.#isFinished) return;
    if (this.#early === null) this.#task.send('RunSynthesis', { text });
    else this.#early.push(text);
  }

  /** Nothing more is to be said. */
  finish(): void {
    if (this.#isOver || this.#isFinished) return;
    this.#isFinished = true;
    if (this.#early === null) this.#stop();
  }

  /** Nothing is told any more. There is no word for giving up: the connection is closed. Idempotent. */
  cancel(): void {
    if (this.#isOver) return;
    this.#end();
    this.#socket.close();
  }

  #stop(): void {
    this.#task.send('StopSynthesis');
    this.#watch(this.#hasSound ? this.#limits.gapMs : this.#limits.firstMs, 'go on');
  }

  #event({ name, payload }: NlsEvent): void {
    if (this.#isOver) return;
    if (name === 'SynthesisCompleted') {
      this.#end();
      this.#sink.done();
      return;
    }
    if (name === 'SynthesisStarted') this.#started();
    else if (name === 'SentenceBegin') this.#sink.sentence();
    const subtitles = readSubtitles(payload);
    if (subtitles.length > 0) this.#sink.subtitles(subtitles);
    if (this.#hasSound) this.#again();
  }

  #started(): void {
    if (!this.#isFlowing || this.#early === null) return;
    const early = this.#early;
    this.#early = null;
    this.#socket.gate.clock.clearTimer(this.#timer);
    for (const text of early) this.#task.send('RunSynthesis', { text });
    if (this.#isFinished) this.#stop();
  }

  #audio(data: Buffer): void {
    // Before the start it is the end of another task, whose connection this one has taken over.
    if (this.#isOver || this.#early !== null) return;
    this.#hasSound = true;
    this.#again();
    this.#sink.audio(data);
  }

  #again(): void {
    if (this.#isFinished) this.#watch(this.#limits.gapMs, 'go on');
  }

  #watch(ms: number, what: string): void {
    const { clock } = this.#socket.gate;
    clock.clearTimer(this.#timer);
    this.#timer = clock.setTimer(() => {
      this.#socket.close();
      this.#fail(vendorError('E_TIMEOUT', `the voice did not ${what} within ${ms} ms`));
    }, ms);
  }

  #fail(error: AppError): void {
    if (this.#isOver) return;
    this.#end();
    this.#sink.failed(error);
  }

  #end(): void {
    this.#isOver = true;
    this.#socket.gate.clock.clearTimer(this.#timer);
    this.#task.end();
  }
}

function payloadOf(voice: Voice): object {
  const { volume, speechRate, pitchRate } = voice;
  return {
    ...{ voice: voice.name, format: voice.format, sample_rate: voice.rateHz },
    ...(volume === null ? {} : { volume }),
    ...(speechRate === null ? {} : { speech_rate: speechRate }),
    ...(pitchRate === null ? {} : { pitch_rate: pitchRate }),
    enable_subtitle: voice.hasSubtitles,
  };
}
