/** Owner of the process that speaks: starts it, feeds it jobs, restarts it when it dies, gives it back. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { backoffMs } from '#lib/backoff.ts';
import { BoundedQueue } from '#lib/bounded-queue.ts';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type { EspeakReply, EspeakRequest } from './espeak-protocol.ts';
import type { VoiceEvent } from './speech-plan.ts';

/** The process as the engine sees it, so that tests can play it. */
export type VoiceProcess = {
  readonly pid?: number | undefined;
  send(request: EspeakRequest): void;
  onReply(listener: (reply: EspeakReply) => void): void;
  /** Called once, also when it could not be started. */
  onExit(listener: (reason: string) => void): void;
  kill(): void;
};

export type EspeakChunk = { readonly pcm: Int16Array; readonly events: readonly VoiceEvent[] };

export type EspeakEngineOptions = {
  readonly log: Log;
  readonly clock: Clock;
  readonly launch?: () => VoiceProcess;
  readonly random?: () => number;
};

const MAX_WAITING = 256;
/** Two, so that the process has the next job while the last words of this one are on their way. */
const MAX_RUNNING = 2;
const START_DEADLINE_MS = 15_000;
const STALL_MS = 5_000;
const CHUNK_DEADLINE_MS = 3_000;
const MAX_ATTEMPTS = 2;
/** How much of the process's last words goes into the log. */
const MAX_COMPLAINT_CHARS = 400;
const BACKOFF = { firstMs: 200, maxMs: 10_000 };

type Job = {
  readonly id: number;
  readonly voice: string;
  readonly text: string;
  attempts: number;
  /** Samples handed over so far, and how many of this attempt came: a second attempt repeats the first ones. */
  delivered: number;
  seen: number;
  chunks: EspeakChunk[];
  end: AppError | 'done' | null;
  isCancelled: boolean;
  wake: (() => void) | null;
};

export class EspeakEngine {
  readonly #options: EspeakEngineOptions;
  readonly #waiting = new BoundedQueue<Job>(MAX_WAITING, 'newest');
  #retries: Job[] = [];
  readonly #running = new Map<number, Job>();
  #process: VoiceProcess | null = null;
  #isReady = false;
  #isClosed = false;
  #failures = 0;
  #restarts = 0;
  #lastId = 0;
  #watchdog: TimerHandle | undefined;
  #restart: TimerHandle | undefined;
  #onReady: (() => void)[] = [];

  constructor(options: EspeakEngineOptions) {
    this.#options = options;
  }

  /** Counters for metrics and tests. */
  get stats(): { waiting: number; running: number; dropped: number; restarts: number } {
    return {
      waiting: this.#waiting.length + this.#retries.length,
      running: this.#running.size,
      dropped: this.#waiting.dropped,
      restarts: this.#restarts,
    };
  }

  /** Of the process that runs now, for diagnosis. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Starts the process and resolves when it can speak; on a closed engine, or one that fails to start, at once or later. */
  async start(): Promise<void> {
    if (this.#isReady || this.#isClosed) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onReady.push(resolve);
    this.#launch();
    await promise;
  }

  /**
   * 8 kHz PCM of `text` as it is made. Errors: E_QUEUE_FULL, E_TIMEOUT (3 s without a chunk), E_PROVIDER_SERVER (the
   * process died twice on it), E_ABORTED.
   */
  async *synthesize(
    request: { readonly voice: string; readonly text: string },
    signal: AbortSignal,
  ): AsyncGenerator<EspeakChunk, void> {
    const job = this.#enqueue(request);
    try {
      for (;;) {
        const chunk = job.chunks.shift();
        if (chunk !== undefined) yield chunk;
        else if (job.end === 'done') return;
        else if (job.end !== null) throw job.end;
        else await this.#news(job, signal);
      }
    } finally {
      job.isCancelled = true;
      job.chunks = [];
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const { clock } = this.#options;
    clock.clearTimer(this.#watchdog);
    clock.clearTimer(this.#restart);
    const orphans = [...this.#running.values(), ...this.#retries, ...this.#waiting.drain()];
    this.#running.clear();
    this.#retries = [];
    for (const job of orphans) finish(job, closedError());
    this.#process?.kill();
    this.#process = null;
    this.#isReady = false;
    this.#settleReady();
  }

  #enqueue(request: { readonly voice: string; readonly text: string }): Job {
    if (this.#isClosed) throw closedError();
    const job: Job = {
      ...{ id: ++this.#lastId, voice: request.voice, text: request.text },
      ...{ attempts: 0, delivered: 0, seen: 0, chunks: [], end: null },
      ...{ isCancelled: false, wake: null },
    };
    if (!this.#waiting.push(job)) {
      throw new AppError('E_QUEUE_FULL', `more than ${MAX_WAITING} texts wait for the local voice`);
    }
    this.#launch();
    this.#pump();
    return job;
  }

  /** Resolves when the job has news; rejects when it has none in time or `signal` aborts. */
  async #news(job: Job, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const aborted = (): void => reject(new AppError('E_ABORTED', 'the speech was given up'));
    const late = (): void =>
      reject(new AppError('E_TIMEOUT', `the local voice was silent for ${CHUNK_DEADLINE_MS} ms`));
    if (signal.aborted) aborted();
    signal.addEventListener('abort', aborted, { once: true });
    const timer = this.#options.clock.setTimer(late, CHUNK_DEADLINE_MS);
    job.wake = resolve;
    try {
      await promise;
    } finally {
      job.wake = null;
      this.#options.clock.clearTimer(timer);
      signal.removeEventListener('abort', aborted);
    }
  }

  #launch(): void {
    if (this.#process !== null || this.#restart !== undefined || this.#isClosed) return;
    const started = (this.#options.launch ?? launchEspeak)();
    this.#process = started;
    started.onReply((reply) => {
      if (this.#process === started) this.#onReply(reply);
    });
    started.onExit((reason) => {
      if (this.#process === started) this.#onExit(reason);
    });
    this.#watch(START_DEADLINE_MS);
  }

  #onReply(reply: EspeakReply): void {
    if (reply.type === 'ready') {
      this.#isReady = true;
      this.#settleReady();
    } else {
      const job = this.#running.get(reply.job);
      if (job === undefined) return;
      if (reply.type === 'chunk') accept(job, reply);
      else this.#onDone(job);
    }
    this.#pump();
    this.#watch(STALL_MS);
  }

  #onDone(job: Job): void {
    this.#failures = 0;
    this.#running.delete(job.id);
    finish(job, 'done');
  }

  #onExit(reason: string): void {
    const { log, clock, random } = this.#options;
    this.#process = null;
    this.#isReady = false;
    clock.clearTimer(this.#watchdog);
    const delayMs = backoffMs(++this.#failures, { ...BACKOFF, ...(random && { random }) });
    log.warn('voice.exited', { reason, failures: this.#failures, restartMs: Math.round(delayMs) });
    for (const job of this.#running.values()) this.#retry(job, reason);
    this.#running.clear();
    this.#restart = clock.setTimer(() => {
      this.#restart = undefined;
      this.#restarts++;
      this.#launch();
    }, delayMs);
    // Whoever waited for the start goes on without it: speaking then waits, or falls back, by its own deadline.
    this.#settleReady();
  }

  #retry(job: Job, reason: string): void {
    if (job.attempts >= MAX_ATTEMPTS) {
      finish(
        job,
        new AppError('E_PROVIDER_SERVER', `the local voice died on this text: ${reason}`),
      );
      return;
    }
    job.seen = 0;
    this.#retries.push(job);
  }

  #pump(): void {
    while (this.#isReady && this.#running.size < MAX_RUNNING) {
      const job = this.#retries.shift() ?? this.#waiting.shift();
      if (job === undefined) return;
      if (job.isCancelled) continue;
      job.attempts++;
      this.#running.set(job.id, job);
      this.#process?.send({ job: job.id, voice: job.voice, text: job.text });
      this.#watch(STALL_MS);
    }
  }

  /** Kills the process unless it gives a sign of life in time; with nothing to do it may be silent. */
  #watch(deadlineMs: number): void {
    const { clock } = this.#options;
    clock.clearTimer(this.#watchdog);
    this.#watchdog = undefined;
    if (this.#process === null || (this.#isReady && this.#running.size === 0)) return;
    const watched = this.#process;
    this.#watchdog = clock.setTimer(() => {
      if (this.#process !== watched) return;
      this.#onExit(`no sign of life for ${deadlineMs} ms`);
      watched.kill();
    }, deadlineMs);
  }

  #settleReady(): void {
    const waiting = this.#onReady;
    this.#onReady = [];
    for (const resolve of waiting) resolve();
  }
}

function closedError(): AppError {
  return new AppError('E_PROVIDER_SERVER', 'the local voice is closed');
}

function finish(job: Job, end: AppError | 'done'): void {
  job.end = end;
  job.wake?.();
}

/** Takes a chunk, without the samples that an earlier attempt has already delivered. */
function accept(job: Job, chunk: EspeakChunk): void {
  const start = Math.min(chunk.pcm.length, Math.max(0, job.delivered - job.seen));
  job.seen += chunk.pcm.length;
  job.delivered = Math.max(job.delivered, job.seen);
  if (job.isCancelled) return;
  job.chunks.push({ pcm: chunk.pcm.subarray(start), events: chunk.events });
  job.wake?.();
}

/** The real process. It gets no environment and no flags of ours: it needs neither. */
function launchEspeak(): VoiceProcess {
  const child = fork(fileURLToPath(new URL('./espeak-process.ts', import.meta.url)), [], {
    serialization: 'advanced',
    execArgv: [],
    env: {},
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  let isOver = false;
  let complaint = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(-MAX_COMPLAINT_CHARS);
  });
  return {
    pid: child.pid,
    send(request) {
      if (child.connected) child.send(request, () => undefined);
    },
    onReply(listener) {
      child.on('message', (message) => listener(message as EspeakReply));
    },
    onExit(listener) {
      const over = (reason: string): void => {
        if (isOver) return;
        isOver = true;
        listener(reason);
      };
      child.on('error', (error) => over(error.message));
      child.on('close', (code, signal) =>
        over(`${signal ?? `exit code ${code}`} ${complaint}`.trim()),
      );
    },
    kill() {
      child.kill('SIGKILL');
    },
  };
}
