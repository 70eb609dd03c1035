/** The Silero thread of a media worker: started with it, started again when it fails, told of once each time. */
import { Worker } from 'node:worker_threads';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { AppError, messageOf } from '#lib/errors.ts';
import { newSileroCounters, type SileroCensus } from './silero-census.ts';
import { SileroClassifier } from './silero-classifier.ts';
import { SileroSlots } from './silero-slots.ts';
import type { SpeechClassifier } from './vad.ts';

export type SileroSettings = {
  /** Path of the .onnx file. */
  readonly model: string;
  /** Package name or folder of onnxruntime-node. */
  readonly runtime: string;
};
/** Who decides what speech is. */
export type VadChoice = 'fvad' | SileroSettings;

export type SileroThreadOptions = SileroSettings & {
  readonly clock: Clock;
  /** The model is gone, for this reason; WebRTC's detector decides until it is back. */
  readonly onFailed: (message: string) => void;
  /** What the thread runs; tests bring their own. */
  readonly entry?: URL;
};

type Told = { readonly type: 'ready' } | { readonly type: 'failed'; readonly message: string };

const ENTRY = new URL('silero-worker.ts', import.meta.url);
const RESTART_MS = 10_000;
/** Loading the runtime and the model takes 0.3 s. */
const START_TIMEOUT_MS = 20_000;

export class SileroThread {
  readonly slots = SileroSlots.create();
  readonly counters = newSileroCounters();
  readonly #options: SileroThreadOptions;
  #worker: Worker | null = null;
  #restart: TimerHandle | undefined;
  #isClosed = false;
  #failures = 0;
  /** What became of the first start: null is well. */
  readonly #first = Promise.withResolvers<AppError | null>();

  constructor(options: SileroThreadOptions) {
    this.#options = options;
    this.#start();
  }

  get census(): SileroCensus {
    return { ...this.counters, failures: this.#failures };
  }

  /** Resolves when the model has been loaded the first time. Errors: E_CONFIG, E_TIMEOUT. */
  async ready(): Promise<void> {
    const { clock } = this.#options;
    const what = 'loading the Silero model';
    const fault = await withDeadline(this.#first.promise, START_TIMEOUT_MS, what, clock);
    if (fault !== null) throw fault;
  }

  /** Puts the model before a detector. */
  classifier(beside: SpeechClassifier): SpeechClassifier {
    return new SileroClassifier(this.slots, beside, this.counters);
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#options.clock.clearTimer(this.#restart);
    const worker = this.#worker;
    this.#worker = null;
    this.slots.state = 'failed';
    await worker?.terminate();
  }

  #start(): void {
    const { model, runtime, entry = ENTRY } = this.#options;
    this.slots.state = 'starting';
    const workerData = { memory: this.slots.memory, model, runtime };
    const worker = new Worker(entry, { workerData });
    this.#worker = worker;
    let reason = 'the thread has ended';
    worker.on('message', (told: Told) => {
      if (told.type === 'ready') this.#first.resolve(null);
      else reason = told.message;
    });
    worker.on('error', (error) => (reason = messageOf(error)));
    worker.on('exit', () => this.#ended(worker, reason));
    // A call must not wait for it, and the media worker not live for it.
    worker.unref();
  }

  #ended(worker: Worker, reason: string): void {
    if (this.#worker !== worker || this.#isClosed) return;
    this.#worker = null;
    this.#failures++;
    this.slots.state = 'failed';
    this.#first.resolve(new AppError('E_CONFIG', reason));
    this.#options.onFailed(reason);
    this.#restart = this.#options.clock.setTimer(() => this.#start(), RESTART_MS);
  }
}

/** Loads the model once and lets it go: what is wrong with it stops the start, not the first call. Errors: E_CONFIG. */
export async function tryVad(choice: VadChoice, clock: Clock): Promise<void> {
  if (choice === 'fvad') return;
  const thread = new SileroThread({ ...choice, clock, onFailed: () => undefined });
  try {
    await thread.ready();
  } finally {
    await thread.close();
  }
}
