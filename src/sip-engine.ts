/** Which SIP engine serves this node: our own in a worker thread, restarted when it dies, or a drachtio-server. */
import { backoffMs } from '#lib/backoff.ts';
import { systemClock, type TimerHandle } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import { startEngineWorker, type EngineHost } from '#sip/server/engine-host.ts';
import type { Config } from './config.ts';

export type SipEngine = {
  readonly host: string;
  readonly controlPort: number;
  readonly secret: string;
  readonly isEmbedded: boolean;
  close(): Promise<void>;
};

const RESTART = { firstMs: 100, maxMs: 5000 } as const;

/** Errors: E_PORT_IN_USE and E_CONFIG with one clear line. */
export async function startSipEngine(config: Config, log: Log): Promise<SipEngine> {
  if (config.sipEngine !== 'embedded') return externalEngine(config.sipEngine);
  const embedded = new EmbeddedEngine(config, log);
  await embedded.start();
  return embedded;
}

/** `drachtio://secret@host:port`; the port defaults to drachtio's own, 9022. */
export function externalEngine(text: string): SipEngine {
  const parts = /^drachtio:\/\/([^@]+)@(\[[0-9a-f:]+\]|[^:/\s]+)(?::(\d{1,5}))?\/?$/i.exec(text);
  if (parts === null) {
    throw new AppError(
      'E_CONFIG',
      'CALLYARD_SIP_ENGINE must be "embedded" or drachtio://secret@host:port',
    );
  }
  const [, secret = '', host = '', port = '9022'] = parts;
  return {
    host: host.replace(/^\[|\]$/g, ''),
    controlPort: Number(port),
    secret: decodeURIComponent(secret),
    isEmbedded: false,
    close: () => Promise.resolve(), // somebody else's process
  };
}

/** Dialogs die with the worker, but new calls are taken again at once. */
class EmbeddedEngine implements SipEngine {
  readonly host = '127.0.0.1';
  readonly isEmbedded = true;
  readonly #config: Config;
  readonly #log: Log;
  #worker: EngineHost | null = null;
  #timer: TimerHandle | undefined;
  #restarts = 0;
  #isClosed = false;
  #starting: Promise<void> | undefined;

  constructor(config: Config, log: Log) {
    this.#config = config;
    this.#log = log;
  }

  get controlPort(): number {
    return this.#worker?.controlPort ?? 0;
  }

  get secret(): string {
    return this.#worker?.secret ?? '';
  }

  async start(): Promise<void> {
    const { sipHost, sipPort, publicAddress, localNets } = this.#config;
    const before = this.#worker;
    const worker = await startEngineWorker({
      hosts: [sipHost],
      port: sipPort,
      ...(publicAddress === null ? {} : { publicAddress }),
      localNets: (localNets ?? '').split(/[\s,]+/).filter((each) => each !== ''),
      ...(before === null ? {} : { secret: before.secret }),
      log: this.#log,
    });
    this.#worker = worker;
    worker.onExit((error) => {
      if (error !== null && !this.#isClosed) this.#restart(error);
    });
  }

  #restart(error: AppError): void {
    this.#log.error('sip.engineLost', { error, restarts: this.#restarts });
    if (this.#isClosed) return;
    this.#timer = systemClock.setTimer(
      () => {
        this.#starting = this.start().catch((again: AppError) => this.#restart(again));
      },
      backoffMs(++this.#restarts, RESTART),
    );
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    systemClock.clearTimer(this.#timer);
    await this.#starting;
    await this.#worker?.close();
  }
}
