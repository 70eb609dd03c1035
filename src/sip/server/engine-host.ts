/** The main thread's side of the engine: starts its worker, passes logs on, notices when it dies. */
import { Worker } from 'node:worker_threads';
import { systemClock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import { randomToken } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { EngineCensus } from './engine.ts';
import { errorFrom } from './engine-messages.ts';
import type { FromWorker, ToWorker, WorkerOptions } from './engine-messages.ts';

const START_DEADLINE_MS = 20_000;
const CENSUS_DEADLINE_MS = 5000;
const CLOSE_DEADLINE_MS = 5000;

/** `secret` is made up unless given. */
export type EngineHostOptions = Omit<WorkerOptions, 'secret'> & {
  readonly secret?: string;
  readonly log: Log;
};

export type EngineHost = {
  /** `udp/192.0.2.7:5060` of every socket. */
  readonly listening: readonly string[];
  /** On 127.0.0.1, for drachtio-srf. */
  readonly controlPort: number;
  readonly secret: string;
  /** Errors: E_SIP_ENGINE when the worker is gone, E_TIMEOUT. */
  census(): Promise<EngineCensus>;
  /** 503 with this Retry-After to new calls; null takes them again. */
  setOverload(retryAfterS: number | null): void;
  /** Called once when the worker ends; `error` is null after `close`. A late listener is called at once. */
  onExit(listener: (error: AppError | null) => void): void;
  /** Stops the engine; a worker that does not stop within 5 s is terminated. Idempotent. */
  close(): Promise<void>;
};

/**
 * Starts the engine in a worker thread. Errors, with nothing left running: those of `createEngine` (E_PORT_IN_USE,
 * E_CONFIG, E_SIP_ENGINE) and E_TIMEOUT.
 */
export async function startEngineWorker(
  options: EngineHostOptions,
  entry = new URL('./engine-worker.ts', import.meta.url),
): Promise<EngineHost> {
  const { log, ...rest } = options;
  const secret = options.secret ?? randomToken(24);
  const workerData: WorkerOptions = { ...rest, secret };
  const worker = new Worker(entry, { workerData, name: 'sip-engine' });
  const host = new WorkerHost(worker, secret, log);
  try {
    await withDeadline(host.ready, START_DEADLINE_MS, 'the start of the SIP engine');
    return host;
  } catch (error) {
    await host.close();
    throw toAppError(error, 'E_SIP_ENGINE');
  }
}

class WorkerHost implements EngineHost {
  listening: readonly string[] = [];
  controlPort = 0;
  readonly secret: string;
  readonly ready: Promise<void>;
  readonly #worker: Worker;
  readonly #log: Log;
  readonly #questions = new Map<number, PromiseWithResolvers<EngineCensus>>();
  readonly #listeners: ((error: AppError | null) => void)[] = [];
  readonly #exited: Promise<void>;
  #lastQuestion = 0;
  #error: AppError | null = null;
  #isOver = false;
  #closing: Promise<void> | undefined;

  constructor(worker: Worker, secret: string, log: Log) {
    this.#worker = worker;
    this.#log = log;
    this.secret = secret;
    const ready = Promise.withResolvers<void>();
    const exited = Promise.withResolvers<void>();
    this.ready = ready.promise;
    this.#exited = exited.promise;
    worker.on('message', (message: FromWorker) => {
      if (message.type === 'ready') {
        ({ listening: this.listening, controlPort: this.controlPort } = message);
        ready.resolve();
      } else if (message.type === 'failed') ready.reject(errorFrom(message.error));
      else this.#onMessage(message);
    });
    worker.on('error', (error) => {
      this.#error = new AppError('E_SIP_ENGINE', 'the SIP engine failed', { cause: error });
    });
    worker.on('exit', (exitCode) => {
      this.#onExit(exitCode);
      ready.reject(this.#error ?? new AppError('E_SIP_ENGINE', 'the SIP engine did not start'));
      exited.resolve();
    });
  }

  async census(): Promise<EngineCensus> {
    if (this.#isOver) throw new AppError('E_SIP_ENGINE', 'the SIP engine is gone');
    const id = ++this.#lastQuestion;
    const question = Promise.withResolvers<EngineCensus>();
    this.#questions.set(id, question);
    this.#order({ type: 'census', id });
    try {
      return await withDeadline(question.promise, CENSUS_DEADLINE_MS, 'the census of the engine');
    } finally {
      this.#questions.delete(id);
    }
  }

  setOverload(retryAfterS: number | null): void {
    this.#order({ type: 'overload', retryAfterS });
  }

  onExit(listener: (error: AppError | null) => void): void {
    if (this.#isOver) listener(this.#error);
    else this.#listeners.push(listener);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#isOver) return;
    this.#order({ type: 'close' });
    try {
      await withDeadline(
        this.#exited,
        CLOSE_DEADLINE_MS,
        'the stop of the SIP engine',
        systemClock,
      );
    } catch (error) {
      this.#log.warn('engine.terminated', { error });
      await this.#worker.terminate();
    }
  }

  #order(order: ToWorker): void {
    if (!this.#isOver) this.#worker.postMessage(order);
  }

  #onMessage(message: Exclude<FromWorker, { type: 'ready' | 'failed' }>): void {
    if (message.type === 'log') this.#log[message.level](message.event, message.fields);
    else if (message.type === 'census') this.#questions.get(message.id)?.resolve(message.census);
  }

  #onExit(exitCode: number): void {
    this.#isOver = true;
    const isWanted = this.#closing !== undefined;
    if (this.#error === null && !isWanted) {
      this.#error = new AppError(
        'E_SIP_ENGINE',
        `the SIP engine ended by itself (code ${exitCode})`,
      );
    }
    for (const question of this.#questions.values()) {
      question.reject(new AppError('E_SIP_ENGINE', 'the SIP engine is gone'));
    }
    for (const listener of this.#listeners.splice(0)) listener(this.#error);
  }
}
