/** The media plane on the main thread: worker threads, port leases, and the sessions of live calls. */
import { systemClock, type Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import { addDrops, type MediaDrops } from './media-drops.ts';
import type { WorkerCensus } from './media-protocol.ts';
import { ClientSession } from './media-session.ts';
import { MediaThread } from './media-thread.ts';
import type { PacingStats } from './pacer.ts';
import { PortRange } from './rtp/port-range.ts';
import { RingPool } from './ring-pool.ts';
import { addSilero, NO_SILERO, type SileroCensus } from './speech/silero-census.ts';
import type { VadChoice } from './speech/silero-thread.ts';
import type { MediaEngine, MediaOptions, MediaSession, MediaStats } from './types.ts';
import { isLighter } from './worker-pulse.ts';

export type MediaEngineOptions = {
  /** UDP ports for RTP (even) and RTCP (odd), inclusive. */
  readonly rtpPorts: { readonly first: number; readonly last: number };
  readonly clock?: Clock;
  readonly log: Log;
  /** Worker threads, 1 or more; a call goes to the one that will be the least busy with it. */
  readonly workers?: number;
  /** Who decides what speech is. Default: WebRTC's detector. */
  readonly vad?: VadChoice;
  /** Whether workers may go before all other threads of the machine, where the system lets them. Default: yes. */
  readonly mayBeRealtime?: boolean;
  /** What a worker runs; tests bring one that can be made to die. */
  readonly workerEntry?: URL;
  /** Told the counters of each call when its media is closed. */
  readonly onClosed?: (stats: MediaStats) => void;
};

/** The engine, with what benches and operators look at besides. */
export type LocalMediaEngine = MediaEngine & {
  /** Lateness of outgoing packets per worker, since the last reset. */
  pacing(options?: { readonly reset: boolean }): Promise<readonly PacingStats[]>;
  /** What was thrown away since the workers began, live calls included. */
  dropped(): Promise<MediaDrops>;
  /** Resolves when every worker can take its first call. Errors: E_TIMEOUT, E_MEDIA. */
  ready(): Promise<void>;
  /** False while no worker lives: a dead one is replaced at once, or a second later when it died young. */
  readonly isUp: boolean;
  /** RTP ports that calls hold now. */
  readonly leasedPorts: number;
  /** Workers that live, and those that have died since the start. */
  readonly workers: { readonly up: number; readonly total: number; readonly deaths: number };
  /** What the Silero model has done since the start, as of the last call of each worker that ended. */
  readonly silero: SileroCensus;
};

/** Longer than a recorder waits for its disk at the end (12 s). */
const CLOSE_TIMEOUT_MS = 14_000;
/** Ports held by other programs that one open() steps over. */
const MAX_BUSY_PORTS = 64;
const BUSY = new Set(['EADDRINUSE', 'EACCES']);
const ENTRY = new URL('media-worker.ts', import.meta.url);

/** Starts the media plane: its threads are warm before the first call. Close it, or the process stays. */
export function createMediaEngine(options: MediaEngineOptions): LocalMediaEngine {
  return new WorkerEngine(options);
}

class WorkerEngine implements LocalMediaEngine {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #ports: PortRange;
  readonly #threads: MediaThread[] = [];
  readonly #rings = new RingPool();
  #lastSession = 0;
  #isClosed = false;

  constructor(options: MediaEngineOptions) {
    this.#clock = options.clock ?? systemClock;
    this.#log = options.log;
    this.#ports = new PortRange({ ...options.rtpPorts, clock: this.#clock });
    const { workerEntry: entry = ENTRY, vad = 'fvad', mayBeRealtime = true, onClosed } = options;
    const shared = { clock: this.#clock, log: this.#log, entry, vad, mayBeRealtime };
    const told = onClosed === undefined ? {} : { onClosed };
    for (let index = 0; index < Math.max(1, options.workers ?? 1); index++) {
      this.#threads.push(new MediaThread({ ...shared, ...told, index }));
    }
  }

  get isUp(): boolean {
    return !this.#isClosed && this.workers.up > 0;
  }

  get workers(): LocalMediaEngine['workers'] {
    const up = this.#threads.filter((thread) => thread.isAlive).length;
    const deaths = this.#threads.reduce((sum, thread) => sum + thread.deaths, 0);
    return { up, total: this.#threads.length, deaths };
  }

  get silero(): SileroCensus {
    return this.#threads.reduce((sum, thread) => addSilero(sum, thread.silero), NO_SILERO);
  }

  get leasedPorts(): number {
    return this.#ports.leased;
  }

  async ready(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.ready()));
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

  async dropped(): Promise<MediaDrops> {
    return (await this.#ask(false)).reduce<MediaDrops>(
      (sum, each) => addDrops(sum, each.dropped),
      {},
    );
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

  #lightest(): MediaThread {
    let best = this.#threads[0] as MediaThread;
    for (const each of this.#threads) if (isLighter(each.burden, best.burden)) best = each;
    return best;
  }

  /** The session, or null when another program holds the port (`onBusy` is then told, and keeps it). */
  async #openOn(
    options: MediaOptions,
    localPort: number,
    onBusy: () => void,
  ): Promise<ClientSession | null> {
    const thread = this.#lightest();
    const id = ++this.#lastSession;
    const rings = this.#rings.take();
    const release = (isLetGo: boolean): void => {
      thread.forget(id);
      if (isLetGo) this.#rings.give(rings);
      if (localPort > 0) this.#ports.release(options.localAddress, localPort);
    };
    const session = new ClientSession({
      id,
      options,
      localPort,
      rings,
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
      release(false);
      throw error;
    }
  }
}
