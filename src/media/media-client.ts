/** The media plane on the main thread: worker threads, port leases, and the sessions of live calls. */
import { Worker } from 'node:worker_threads';
import { systemClock, type Clock, type TimerHandle } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type { MediaCommand, MediaReply, OpenRequest, WorkerCensus } from './media-protocol.ts';
import { ClientSession } from './media-session.ts';
import type { PacingStats } from './pacer.ts';
import { PortRange } from './port-range.ts';
import type { MediaEngine, MediaOptions, MediaSession, MediaStats } from './types.ts';

export type MediaEngineOptions = {
  /** UDP ports for RTP (even) and RTCP (odd), inclusive. */
  readonly rtpPorts: { readonly first: number; readonly last: number };
  readonly clock?: Clock;
  readonly log: Log;
  /** Worker threads; calls go to the one with the fewest. */
  readonly workers?: number;
  /** Told the counters of each call when its media is closed. */
  readonly onClosed?: (stats: MediaStats) => void;
};

/** The engine, with what benches and operators look at besides. */
export type LocalMediaEngine = MediaEngine & {
  /** Lateness of outgoing packets per worker, since the last reset. */
  pacing(options?: { readonly reset: boolean }): Promise<readonly PacingStats[]>;
  /** False while a worker thread is dead: it is started again a second later, or by the next call. */
  readonly isUp: boolean;
};

const ANSWER_TIMEOUT_MS = 5000;
/** The recorder has five seconds of its own. */
const CLOSE_TIMEOUT_MS = 8000;
/** Ports held by other programs that one open() steps over. */
const MAX_BUSY_PORTS = 64;
const BUSY = new Set(['EADDRINUSE', 'EACCES']);
const YOUNG_GENERATION_MB = 32;
/** A thread that dies at once must not be started in a tight loop. */
const RESTART_MS = 1000;

/** Starts the media plane: its threads are warm before the first call. Close it, or the process stays. */
export function createMediaEngine(options: MediaEngineOptions): LocalMediaEngine {
  return new WorkerEngine(options);
}

type Opening = PromiseWithResolvers<{ code: string | null; message: string } | null>;

class WorkerEngine implements LocalMediaEngine {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #ports: PortRange;
  readonly #threads: MediaThread[] = [];
  #lastSession = 0;
  #isClosed = false;

  constructor(options: MediaEngineOptions) {
    this.#clock = options.clock ?? systemClock;
    this.#log = options.log;
    this.#ports = new PortRange({ ...options.rtpPorts, clock: this.#clock });
    for (let i = 0; i < (options.workers ?? 1); i++) {
      this.#threads.push(new MediaThread(this.#clock, this.#log, options.onClosed));
    }
  }

  get isUp(): boolean {
    return !this.#isClosed && this.#threads.every((thread) => thread.isAlive);
  }

  async open(options: MediaOptions): Promise<MediaSession> {
    const held: number[] = [];
    try {
      for (;;) {
        if (this.#isClosed) throw new AppError('E_MEDIA', 'the media plane is closed');
        const localPort = options.web === true ? 0 : this.#ports.lease(options.localAddress);
        const opened = await this.#openOn(options, localPort, () => held.push(localPort));
        if (opened !== null) {
          if (!this.#isClosed) return opened;
          await opened.close();
          throw new AppError('E_MEDIA', 'the media plane is closed');
        }
        this.#log.warn('media.port.busy', { port: localPort });
        if (held.length >= MAX_BUSY_PORTS) {
          throw new AppError('E_MEDIA_PORTS', 'the RTP ports are taken by another program');
        }
      }
    } finally {
      // Busy ports go back only now, so that one open() does not lease the same one again.
      for (const port of held) this.#ports.release(options.localAddress, port);
    }
  }

  async census(): Promise<{ sessions: number; sockets: number; timers: number }> {
    const all = await this.#ask(false);
    const total = { sessions: 0, sockets: 0, timers: 0 };
    for (const each of all) {
      total.sessions += each.sessions;
      total.sockets += each.sockets;
      total.timers += each.timers;
    }
    return total;
  }

  async pacing(options = { reset: false }): Promise<readonly PacingStats[]> {
    return (await this.#ask(options.reset)).map((each) => each.pacing);
  }

  /** Of every thread; once closed there is none, and none is started for the question. */
  async #ask(resetPacing: boolean): Promise<readonly WorkerCensus[]> {
    if (this.#isClosed) return [];
    return await Promise.all(this.#threads.map((thread) => thread.census(resetPacing)));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(this.#threads.map((thread) => thread.close()));
  }

  /** The session, or null when another program holds the port (`onBusy` is then told, and keeps it). */
  async #openOn(
    options: MediaOptions,
    localPort: number,
    onBusy: () => void,
  ): Promise<ClientSession | null> {
    let thread = this.#threads[0] as MediaThread;
    for (const each of this.#threads) if (each.load < thread.load) thread = each;
    const id = ++this.#lastSession;
    const release = (): void => {
      thread.forget(id);
      if (localPort > 0) this.#ports.release(options.localAddress, localPort);
    };
    const session = new ClientSession({
      id,
      options,
      localPort,
      release,
      send: (command) => thread.send(command),
      deadline: (answer, what) => withDeadline(answer, CLOSE_TIMEOUT_MS, what, this.#clock),
    });
    try {
      const refused = await thread.open(id, session, session.request());
      if (refused === null) return session;
      thread.forget(id);
      if (BUSY.has(refused.code ?? '')) {
        onBusy();
        return null;
      }
      throw new AppError('E_MEDIA', `cannot open RTP on ${options.localAddress}`, {
        cause: new Error(refused.message),
        details: { code: refused.code },
      });
    } catch (error) {
      release();
      throw error;
    }
  }
}

/** One worker thread and the sessions in it; started again when it is needed after it has died. */
class MediaThread {
  readonly #clock: Clock;
  readonly #log: Log;
  #worker: Worker | null = null;
  readonly #sessions = new Map<number, ClientSession>();
  readonly #opening = new Map<number, Opening>();
  readonly #asking = new Map<number, PromiseWithResolvers<WorkerCensus>>();
  #lastRequest = 0;
  readonly #onClosed: MediaEngineOptions['onClosed'];
  #restart: TimerHandle | undefined;

  constructor(clock: Clock, log: Log, onClosed: MediaEngineOptions['onClosed']) {
    this.#clock = clock;
    this.#log = log;
    this.#onClosed = onClosed;
    this.#start();
  }

  get isAlive(): boolean {
    return this.#worker !== null;
  }

  get load(): number {
    return this.#sessions.size;
  }

  send(command: MediaCommand): void {
    this.#worker?.postMessage(command);
  }

  /** Null when open, else why not. Errors: E_TIMEOUT, E_MEDIA when the worker dies. */
  async open(
    id: number,
    session: ClientSession,
    request: OpenRequest,
  ): Promise<{ code: string | null; message: string } | null> {
    const opening: Opening = Promise.withResolvers();
    this.#sessions.set(id, session);
    this.#opening.set(id, opening);
    this.#start().postMessage({ type: 'open', session: id, request } satisfies MediaCommand);
    try {
      return await withDeadline(
        opening.promise,
        ANSWER_TIMEOUT_MS,
        'opening the media of a call',
        this.#clock,
      );
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
      return await withDeadline(asking.promise, ANSWER_TIMEOUT_MS, 'the census', this.#clock);
    } finally {
      this.#asking.delete(request);
    }
  }

  /** Closes what is open, then ends the thread. Idempotent. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.#sessions.values()].map((session) => session.close()));
    const worker = this.#worker;
    this.#worker = null;
    this.#clock.clearTimer(this.#restart);
    worker?.removeAllListeners();
    const ended = new AppError('E_MEDIA', 'the media plane is closed');
    for (const opening of this.#opening.values()) opening.reject(ended);
    for (const asking of this.#asking.values()) asking.reject(ended);
    await worker?.terminate();
  }

  #start(): Worker {
    if (this.#worker !== null) return this.#worker;
    const worker = new Worker(new URL('media-worker.ts', import.meta.url), {
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
    });
    worker.on('message', (reply: MediaReply) => this.#receive(reply));
    worker.on('error', (error) => this.#log.error('media.worker.failed', { error }));
    worker.on('exit', (code) => this.#onExit(worker, code));
    this.#worker = worker;
    return worker;
  }

  #receive(reply: MediaReply): void {
    switch (reply.type) {
      case 'ready':
        break;
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
      case 'closed':
        this.#onClosed?.(reply.closed.stats);
        this.#sessions.get(reply.session)?.receive(reply);
        break;
      case 'event':
      case 'room':
      case 'dtmf.sent':
      case 'recording.stopped':
        this.#sessions.get(reply.session)?.receive(reply);
        break;
    }
  }

  #onExit(worker: Worker, code: number): void {
    if (worker !== this.#worker) return;
    this.#worker = null;
    this.#log.error('media.worker.exited', { code, sessions: this.#sessions.size });
    const message = `the media worker ended with code ${code}`;
    for (const opening of this.#opening.values()) opening.reject(new AppError('E_MEDIA', message));
    for (const asking of this.#asking.values()) asking.reject(new AppError('E_MEDIA', message));
    for (const session of this.#sessions.values()) session.workerLost(message);
    this.#clock.clearTimer(this.#restart);
    this.#restart = this.#clock.setTimer(() => this.#start(), RESTART_MS);
  }
}
