/**
 * One place of the media plane: a worker thread, the sessions in it, and the watch over both. A worker that dies, by
 * whatever means, ends its own calls and nobody else's, and another one takes the place at once.
 */
import { Worker } from 'node:worker_threads';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { toldElsewhere, withDeadline } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type {
  MediaCommand,
  MediaReply,
  MediaWorkerData,
  OpenRequest,
  WorkerCensus,
} from './media-protocol.ts';
import type { ClientSession } from './media-session.ts';
import { addSilero, NO_SILERO, type SileroCensus } from './speech/silero-census.ts';
import type { VadChoice } from './speech/silero-thread.ts';
import type { MediaStats } from './types.ts';
import { burdenOf, PulseWatch, WorkerPulse, type Burden } from './worker-pulse.ts';

export type MediaThreadOptions = {
  readonly clock: Clock;
  readonly log: Log;
  /** Its place among the workers, for the log. */
  readonly index: number;
  readonly entry: URL;
  /** Who decides what speech is. */
  readonly vad: VadChoice;
  /** Whether it may go before all other threads of the machine. */
  readonly mayBeRealtime: boolean;
  readonly onClosed?: (stats: MediaStats) => void;
};

/** Why a call could not be opened; null when it is. */
export type Refusal = { readonly code: string | null; readonly message: string } | null;

const ANSWER_TIMEOUT_MS = 5000;
/** Loading takes a tenth of this on a machine that has time for it. */
const START_TIMEOUT_MS = 20_000;
const YOUNG_GENERATION_MB = 32;
/** Far above what calls need (about 0.1 MB each): a leak ends one worker, not the process. */
const OLD_GENERATION_MB = 512;
/** A thread that dies sooner than this after its start is not started again before the time is over. */
const RESTART_MS = 1000;
/** Looks at the pulse; 3 s without a beat (12 are due) are taken for death. */
const LOOK_MS = 500;
const MAX_MISSED_LOOKS = 5;
/** Calls go elsewhere as soon as this many looks saw no beat. */
const MISSED_TO_AVOID = 2;
const FULL_BAND = 100;

export class MediaThread {
  readonly #options: MediaThreadOptions;
  readonly #sessions = new Map<number, ClientSession>();
  readonly #opening = new Map<number, PromiseWithResolvers<Refusal>>();
  readonly #asking = new Map<number, PromiseWithResolvers<WorkerCensus>>();
  #worker: Worker | null = null;
  #pulse = WorkerPulse.create();
  #watch = new PulseWatch(this.#pulse, MAX_MISSED_LOOKS);
  #ready = Promise.withResolvers<void>();
  #isReady = false;
  #startedMs = 0;
  #deaths = 0;
  /** Of workers that were here before; of this one when its last call ended. */
  #sileroBefore = NO_SILERO;
  #silero = NO_SILERO;
  #lastRequest = 0;
  #restart: TimerHandle | undefined;
  #look: TimerHandle | undefined;

  constructor(options: MediaThreadOptions) {
    this.#options = options;
    this.#start();
  }

  /** A worker is in the place, and turns as far as is known. */
  get isAlive(): boolean {
    return this.#worker !== null;
  }

  /** Workers that have died here. */
  get deaths(): number {
    return this.#deaths;
  }

  /** What the Silero model has done here, as of the last call that ended. */
  get silero(): SileroCensus {
    return addSilero(this.#sileroBefore, this.#silero);
  }

  /** What one more call would find here; more than any when the worker is dead, more than most when it does not turn. */
  get burden(): Burden {
    if (this.#worker === null) return { band: Number.POSITIVE_INFINITY, sessions: 0 };
    const burden = burdenOf(this.#pulse.load, this.#sessions.size);
    if (this.#isReady && this.#watch.missed < MISSED_TO_AVOID) return burden;
    return { ...burden, band: burden.band + FULL_BAND };
  }

  /** Resolves when the worker can take its first call. Errors: E_TIMEOUT, E_MEDIA when it cannot be started. */
  async ready(): Promise<void> {
    const { clock } = this.#options;
    await withDeadline(this.#ready.promise, START_TIMEOUT_MS, 'starting a media worker', clock);
  }

  send(command: MediaCommand): void {
    this.#worker?.postMessage(command);
  }

  /** Null when open, else why not. Errors: E_TIMEOUT, E_MEDIA when the worker dies. */
  async open(id: number, session: ClientSession, request: OpenRequest): Promise<Refusal> {
    const opening = Promise.withResolvers<Refusal>();
    this.#sessions.set(id, session);
    this.#opening.set(id, opening);
    this.#start().postMessage({ type: 'open', session: id, request } satisfies MediaCommand);
    try {
      return await this.#answer(opening.promise, 'opening the media of a call');
    } finally {
      this.#opening.delete(id);
    }
  }

  forget(id: number): void {
    this.#sessions.delete(id);
  }

  async census(resetPacing: boolean): Promise<WorkerCensus> {
    const request = ++this.#lastRequest;
    const asking = Promise.withResolvers<WorkerCensus>();
    this.#asking.set(request, asking);
    this.#start().postMessage({ type: 'census', request, resetPacing } satisfies MediaCommand);
    try {
      return await this.#answer(asking.promise, 'the census');
    } finally {
      this.#asking.delete(request);
    }
  }

  /** Closes what is open, then ends the thread. Idempotent. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.#sessions.values()].map((session) => session.close()));
    const worker = this.#worker;
    this.#worker = null;
    this.#clearTimers();
    worker?.removeAllListeners();
    this.#refuseAll('the media plane is closed');
    await worker?.terminate();
  }

  #answer<T>(answer: Promise<T>, what: string): Promise<T> {
    return withDeadline(answer, ANSWER_TIMEOUT_MS, what, this.#options.clock);
  }

  #start(): Worker {
    if (this.#worker !== null) return this.#worker;
    const { clock, log, index, entry, vad, mayBeRealtime } = this.#options;
    this.#clearTimers();
    this.#pulse = WorkerPulse.create();
    this.#watch = new PulseWatch(this.#pulse, MAX_MISSED_LOOKS);
    this.#ready = Promise.withResolvers();
    // Nobody may be waiting; whoever does is told.
    toldElsewhere(this.#ready.promise);
    this.#isReady = false;
    this.#startedMs = clock.now();
    const worker = new Worker(entry, {
      workerData: { pulse: this.#pulse.buffer, vad, mayBeRealtime } satisfies MediaWorkerData,
      resourceLimits: {
        maxYoungGenerationSizeMb: YOUNG_GENERATION_MB,
        maxOldGenerationSizeMb: OLD_GENERATION_MB,
      },
    });
    worker.on('message', (reply: MediaReply) => this.#receive(reply));
    worker.on('error', (error) => log.error('media.worker.failed', { worker: index, error }));
    worker.on('exit', (code) => this.#lose(worker, `ended with code ${code}`));
    this.#worker = worker;
    this.#look = clock.setTimer(() => this.#lookAt(worker), LOOK_MS);
    return worker;
  }

  /** A worker whose loop stands still is as dead as one that has ended: its calls hear nothing. */
  #lookAt(worker: Worker): void {
    if (worker !== this.#worker) return;
    const { clock } = this.#options;
    const isStuck = this.#isReady
      ? this.#watch.look()
      : clock.now() - this.#startedMs > START_TIMEOUT_MS;
    if (!isStuck) {
      this.#look = clock.setTimer(() => this.#lookAt(worker), LOOK_MS);
      return;
    }
    this.#lose(worker, 'stood still');
    // It is given up whether or not it can still be ended; what it says from here on is nobody's.
    worker.removeAllListeners();
    worker.on('error', (error) => this.#options.log.warn('media.worker.stuck', { error }));
    void worker.terminate();
  }

  #receive(reply: MediaReply): void {
    switch (reply.type) {
      case 'ready':
        this.#isReady = true;
        this.#ready.resolve();
        this.#options.log.info('media.worker.ready', {
          worker: this.#options.index,
          standing: reply.standing,
        });
        break;
      case 'silero.failed': {
        const { index: worker, log } = this.#options;
        this.#silero = { ...this.#silero, failures: this.#silero.failures + 1 };
        log.warn('media.silero.failed', { worker, message: reply.message });
        break;
      }
      case 'opened':
        // Nobody waits any more: the open() has timed out.
        if (!this.#opening.has(reply.session)) {
          this.send({ type: 'close', session: reply.session });
        }
        this.#opening.get(reply.session)?.resolve(null);
        break;
      case 'open.failed':
        this.#opening.get(reply.session)?.resolve(reply);
        break;
      case 'census':
        this.#asking.get(reply.request)?.resolve(reply.census);
        break;
      case 'described': {
        const callId = this.#sessions.get(reply.session)?.callId;
        const chain = reply.text.split('\n');
        this.#options.log.debug('media.chain', { callId, worker: this.#options.index, chain });
        break;
      }
      case 'closed':
        if (reply.silero !== undefined) this.#silero = reply.silero;
        this.#options.onClosed?.(reply.closed.stats);
        this.#sessions.get(reply.session)?.receive(reply);
        break;
      case 'event':
      case 'room':
      case 'dtmf.sent':
      case 'recording.stopped':
        this.#sessions.get(reply.session)?.receive(reply);
    }
  }

  #lose(worker: Worker, how: string): void {
    if (worker !== this.#worker) return;
    const { clock, log, index } = this.#options;
    this.#worker = null;
    this.#deaths++;
    this.#sileroBefore = this.silero;
    this.#silero = NO_SILERO;
    const livedMs = Math.round(clock.now() - this.#startedMs);
    log.error('media.worker.exited', {
      worker: index,
      how,
      livedMs,
      sessions: this.#sessions.size,
    });
    const message = `the media worker ${how}`;
    this.#refuseAll(message);
    for (const session of this.#sessions.values()) session.workerLost(message);
    this.#clearTimers();
    if (livedMs >= RESTART_MS) this.#start();
    else this.#restart = clock.setTimer(() => this.#start(), RESTART_MS - livedMs);
  }

  #refuseAll(message: string): void {
    const error = new AppError('E_MEDIA', message);
    this.#ready.reject(error);
    for (const opening of this.#opening.values()) opening.reject(error);
    for (const asking of this.#asking.values()) asking.reject(error);
  }

  #clearTimers(): void {
    this.#options.clock.clearTimer(this.#restart);
    this.#options.clock.clearTimer(this.#look);
    this.#restart = undefined;
    this.#look = undefined;
  }
}
