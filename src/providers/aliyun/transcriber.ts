/** One session of `SpeechTranscriber` (providers.md 1.2): started, fed, stopped; its sentences as they come. */
import type { TimerHandle } from '#lib/clock.ts';
import type { AppError } from '#lib/errors.ts';
import { withToken, type NlsAccess } from './nls-access.ts';
import { vendorError } from './nls-errors.ts';
import {
  openNlsSocket,
  type NlsEvent,
  type NlsGate,
  type NlsSocket,
  type NlsTask,
} from './nls-socket.ts';

export type TranscriberOptions = {
  /** What the project at the console was made for. */
  readonly rateHz: 8000 | 16000;
  readonly hasPartials: boolean;
  readonly hasPunctuation: boolean;
  /** 200 to 2000. */
  readonly maxSilenceMs: number;
  /** Further fields of the start message. */
  readonly more?: Readonly<Record<string, unknown>>;
  /** Default 3000 and 2000 (providers.md 12.4). */
  readonly startedMs?: number;
  readonly finishMs?: number;
};

/** Times are milliseconds of the audio that was sent; null where the vendor gives none. */
export type Sentence = {
  readonly index: number;
  readonly text: string;
  readonly beginMs: number | null;
  readonly endMs: number | null;
  /** 0 to 1. */
  readonly confidence: number | null;
};

export type SentenceEvents = {
  partial(sentence: Pick<Sentence, 'index' | 'text' | 'beginMs'>): void;
  final(sentence: Sentence): void;
  /** Once; nothing comes behind it. Not for what `stop` rejects with. */
  failed(error: AppError): void;
};

export type Transcriber = {
  /** s16le, 20 to 200 ms. False when the session is over. */
  send(bytes: Uint8Array): boolean;
  /** No more audio: resolves behind the last sentence. Errors: E_PROVIDER_*, E_TIMEOUT. */
  stop(): Promise<void>;
  /** Idempotent. */
  close(): void;
};

const NAMESPACE = 'SpeechTranscriber';
const STARTED_MS = 3_000;
const FINISH_MS = 2_000;

/** Resolves when audio may be sent. Errors: E_PROVIDER_*, E_TIMEOUT, E_ABORTED. */
export function openTranscriber(
  access: NlsAccess,
  options: TranscriberOptions,
  events: SentenceEvents,
  signal: AbortSignal,
): Promise<Transcriber> {
  return withToken(access, async (gate) => {
    const session = new Session(options, events, await openNlsSocket(gate, signal), gate);
    await session.start(signal);
    return session;
  });
}

type Waiting = { resolve(): void; reject(error: AppError): void };

class Session implements Transcriber {
  readonly #options: TranscriberOptions;
  readonly #events: SentenceEvents;
  readonly #socket: NlsSocket;
  readonly #gate: NlsGate;
  #task: NlsTask | null = null;
  #timer: TimerHandle | undefined;
  /** Who waits for the start, or for the end. */
  #waiting: Waiting | null = null;
  #isOver = false;
  #beginMs: number | null = null;

  constructor(
    options: TranscriberOptions,
    events: SentenceEvents,
    socket: NlsSocket,
    gate: NlsGate,
  ) {
    this.#options = options;
    this.#events = events;
    this.#socket = socket;
    this.#gate = gate;
  }

  async start(signal: AbortSignal): Promise<void> {
    const onAbort = (): void => this.#fail(vendorError('E_ABORTED', 'given up'));
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      this.#task = this.#socket.begin(NAMESPACE, 'StartTranscription', payloadOf(this.#options), {
        event: (event) => this.#event(event),
        audio: null,
        failed: (error) => this.#fail(error),
      });
      if (signal.aborted) onAbort();
      else await this.#wait(this.#options.startedMs ?? STARTED_MS, 'start');
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  send(bytes: Uint8Array): boolean {
    return !this.#isOver && this.#task?.sendAudio(bytes) === true;
  }

  async stop(): Promise<void> {
    if (this.#isOver) throw vendorError('E_PROVIDER_SERVER', 'the session is over');
    const ended = this.#wait(this.#options.finishMs ?? FINISH_MS, 'end');
    this.#task?.send('StopTranscription');
    await ended;
  }

  close(): void {
    this.#isOver = true;
    this.#gate.clock.clearTimer(this.#timer);
    this.#socket.close();
  }

  #wait(ms: number, what: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting = { resolve, reject };
    this.#timer = this.#gate.clock.setTimer(() => {
      this.#fail(vendorError('E_TIMEOUT', `the recogniser did not ${what} within ${ms} ms`));
    }, ms);
    return promise;
  }

  #settle(): void {
    this.#gate.clock.clearTimer(this.#timer);
    this.#waiting?.resolve();
    this.#waiting = null;
  }

  #fail(error: AppError): void {
    if (this.#isOver) return;
    this.close();
    if (this.#waiting === null) this.#events.failed(error);
    else this.#waiting.reject(error);
    this.#waiting = null;
  }

  #event({ name, payload }: NlsEvent): void {
    if (this.#isOver) return;
    switch (name) {
      case 'TranscriptionStarted':
        return this.#settle();
      case 'SentenceBegin':
        this.#beginMs = msOf(payload['time']);
        return;
      case 'TranscriptionResultChanged':
        return this.#events.partial({
          ...{ index: indexOf(payload), text: textOf(payload), beginMs: this.#beginMs },
        });
      case 'SentenceEnd':
        this.#events.final({
          ...{ index: indexOf(payload), text: textOf(payload) },
          beginMs: msOf(payload['begin_time']) ?? this.#beginMs,
          endMs: msOf(payload['time']),
          confidence: confidenceOf(payload['confidence']),
        });
        this.#beginMs = null;
        return;
      case 'TranscriptionCompleted':
        return this.#completed();
      default:
      // Events that later versions of the vendor may send.
    }
  }

  #completed(): void {
    if (this.#waiting === null) {
      this.#fail(vendorError('E_PROVIDER_SERVER', 'the vendor ended the session by itself'));
      return;
    }
    this.close();
    this.#settle();
  }
}

function payloadOf(options: TranscriberOptions): object {
  return {
    ...{ format: 'pcm', sample_rate: options.rateHz },
    enable_intermediate_result: options.hasPartials,
    enable_punctuation_prediction: options.hasPunctuation,
    ...{ enable_inverse_text_normalization: true, max_sentence_silence: options.maxSilenceMs },
    enable_words: false,
    ...options.more,
  };
}

function indexOf({ index }: Readonly<Record<string, unknown>>): number {
  return typeof index === 'number' && Number.isSafeInteger(index) ? index : 0;
}

function textOf({ result }: Readonly<Record<string, unknown>>): string {
  return typeof result === 'string' ? result : '';
}

function msOf(value: unknown): number | null {
  return typeof value === 'number' && value >= 0 ? Math.round(value) : null;
}

function confidenceOf(value: unknown): number | null {
  return typeof value === 'number' && value >= 0 && value <= 1 ? value : null;
}
