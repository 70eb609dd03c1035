/**
 * The embedded database: PostgreSQL's own programs as a child in a process group of its own, so that Ctrl-C at the
 * terminal ends Callyard first and the database last. A server left behind by a killed node is adopted or stopped.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { readFile, rename, stat } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { backoffMs } from '#lib/backoff.ts';
import { systemClock, type Clock, type TimerHandle } from '#lib/clock.ts';
import { delay } from '#lib/deadline.ts';
import { AppError, messageOf, systemCodeOf } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import { findBinaries, type Binaries } from './postgres-binaries.ts';
import { openCluster, type Cluster } from './postgres-cluster.ts';
import { checkServer, prepareServer, serverUrl } from './postgres-setup.ts';
import { isAlive, isServerOf, mayBeServerOf, readPidFile, stopServer } from './postmaster.ts';
import { findServiceUser, type ServiceUser } from './service-user.ts';

export type EmbeddedPostgres = {
  /** For the pool: role `callyard`, which has no rights of its own. */
  readonly url: string;
  /** For migrations: the owner of everything. */
  readonly adminUrl: string;
  readonly pid: number;
  readonly directory: string;
  /** True when the server was running already, left behind by a node that was killed. */
  readonly adopted: boolean;
  /** Ends the server cleanly; idempotent. */
  stop(): Promise<void>;
};

export type EmbeddedOptions = {
  readonly dataDir: string;
  readonly log: Log;
  readonly clock?: Clock;
  /** More server settings, `name=value`; tests switch fsync off. */
  readonly settings?: readonly string[];
};

/** Small: a telephony node keeps a few dozen short connections. */
const SETTINGS = [
  ...[
    'shared_buffers=32MB',
    'max_connections=60',
    'jit=off',
    'huge_pages=off',
    'wal_level=minimal',
  ],
  ...[
    'max_wal_senders=0',
    'max_wal_size=256MB',
    'autovacuum_max_workers=2',
    'max_parallel_workers=2',
  ],
  ...['timezone=UTC', 'log_timezone=UTC', 'log_min_messages=warning', 'log_checkpoints=off'],
  ...['listen_addresses=127.0.0.1', 'unix_socket_directories='],
];
const START_TIMEOUT_MS = 60_000;
const ADOPT_TIMEOUT_MS = 5_000;
const STOP = { fastMs: 15_000, immediateMs: 5_000 };
const PORT_TRIES = 5;
const LOG_LIMIT_BYTES = 4 * 1024 * 1024;
/** How often an adopted server, whose exit no one reports to us, is looked at. */
const WATCH_MS = 1_000;

/** Errors: E_DATABASE, E_DATA_DIR_LOCKED, each with one line that says what to do. */
export async function startEmbeddedPostgres(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const user = await findServiceUser();
  const binaries = await findBinaries(user, options.log);
  const cluster = await openCluster(options.dataDir, binaries, user, options.log);
  const server = new Server(options, cluster, binaries, user);
  try {
    const adopted = (await server.adopt()) || (await server.start());
    await prepareServer(server.port, cluster.state);
    return {
      url: serverUrl(server.port, 'callyard', cluster.state.loginPassword, 'callyard'),
      adminUrl: serverUrl(server.port, 'postgres', cluster.state.adminPassword, 'callyard'),
      directory: cluster.state.directory,
      adopted,
      get pid() {
        return server.pid;
      },
      stop: () => server.stop(),
    };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

class Server {
  port = 0;
  pid = 0;
  readonly #options: EmbeddedOptions;
  readonly #cluster: Cluster;
  readonly #binaries: Binaries;
  readonly #user: ServiceUser | null;
  readonly #log: Log;
  readonly #clock: Clock;
  #isGone = true;
  #stopping: Promise<void> | undefined;
  #timer: TimerHandle | undefined;
  #restarts = 0;
  #restarting: Promise<void> | undefined;
  /** The server has answered: from here on its exit is a loss, and it is started again. */
  #isUp = false;

  constructor(
    options: EmbeddedOptions,
    cluster: Cluster,
    binaries: Binaries,
    user: ServiceUser | null,
  ) {
    this.#options = options;
    this.#cluster = cluster;
    this.#binaries = binaries;
    this.#user = user;
    this.#log = options.log;
    this.#clock = options.clock ?? systemClock;
  }

  /** True when a server of this directory was running and now is ours; one that does not answer is stopped. */
  async adopt(): Promise<boolean> {
    const { directory, state } = this.#cluster;
    const found = await readPidFile(directory);
    if (found === null || !(await mayBeServerOf(found.pid, directory))) return false;
    const fault =
      found.port === null
        ? 'it has no port'
        : await checkServer(found.port, state, directory, ADOPT_TIMEOUT_MS, this.#clock);
    if (fault === null && found.port !== null) {
      this.pid = found.pid;
      this.port = found.port;
      this.#isGone = false;
      this.#watch();
      this.#log.info('database.adopted', { pid: found.pid, port: found.port });
      return true;
    }
    this.#log.warn('database.orphanStopping', { pid: found.pid, fault });
    const isOurs = await isServerOf(found.pid, directory);
    if (isOurs && (await stopServer(found.pid, () => !isAlive(found.pid), STOP, this.#clock)))
      return false;
    throw new AppError(
      'E_DATA_DIR_LOCKED',
      `the database in ${state.directory} is in use by process ${found.pid}, which does not answer (${fault ?? 'no reason'}); stop that process and start again`,
    );
  }

  /** Always false: the server is new. */
  async start(): Promise<false> {
    for (let attempt = 1; ; attempt++) {
      this.port = await freePort();
      const fault = await this.#launch();
      if (fault === null) return false;
      if (
        attempt >= PORT_TRIES ||
        !/could not bind|Address already in use|could not create any TCP/i.test(fault)
      ) {
        throw startError(fault, this.#cluster);
      }
    }
  }

  /** Null once the server answers, else what its log says. */
  async #launch(): Promise<string | null> {
    const { directory, logFile, state } = this.#cluster;
    await limitLog(logFile);
    const logStart = await sizeOf(logFile);
    this.#isUp = false;
    const child = this.#spawn();
    let exit: string | null = null;
    child.once('error', (error) => (exit = messageOf(error)));
    child.once('exit', (code, signal) => (exit ??= `exit ${code ?? signal ?? ''}`));
    if (child.pid !== undefined) this.#own(child, child.pid);
    const endMs = this.#clock.now() + START_TIMEOUT_MS;
    let fault: string | null = 'not started';
    while (exit === null && fault !== null && !this.#isStopping && this.#clock.now() < endMs) {
      fault = await checkServer(this.port, state, directory, 0, this.#clock);
      if (fault !== null && /password authentication failed/.test(fault)) break;
      if (fault !== null) await delay(25, undefined, this.#clock);
    }
    if (exit !== null) return (await logFault(logFile, logStart)) ?? exit;
    this.#isUp = fault === null;
    return fault;
  }

  #spawn(): ChildProcess {
    const { directory, logFile } = this.#cluster;
    const log = openSync(logFile, 'a', 0o600);
    try {
      const settings = [...SETTINGS, ...(this.#options.settings ?? []), `port=${this.port}`];
      return spawn(
        this.#binaries.postgres,
        ['-D', directory, ...settings.flatMap((setting) => ['-c', setting])],
        {
          detached: true,
          cwd: directory,
          env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
          stdio: ['ignore', log, log],
          ...(this.#user === null ? {} : { uid: this.#user.uid, gid: this.#user.gid }),
        },
      );
    } finally {
      closeSync(log);
    }
  }

  #own(child: ChildProcess, pid: number): void {
    this.pid = pid;
    this.#isGone = false;
    child.unref();
    child.once('exit', (code, signal) => {
      if (this.pid !== pid) return;
      this.#isGone = true;
      if (this.#isUp) this.#lost({ code, signal });
    });
  }

  #watch(): void {
    this.#isUp = true;
    this.#timer = this.#clock.setTimer(() => {
      if (isAlive(this.pid)) return this.#watch();
      this.#isGone = true;
      this.#lost({ code: null, signal: null });
    }, WATCH_MS);
  }

  #lost(how: { code: number | null; signal: string | null }): void {
    if (this.#isStopping) return;
    this.#isUp = false;
    this.#restarts++;
    const waitMs = backoffMs(this.#restarts, { firstMs: 200, maxMs: 10_000 });
    this.#log.error('database.lost', { pid: this.pid, ...how, retryMs: Math.round(waitMs) });
    this.#timer = this.#clock.setTimer(() => {
      this.#restarting = this.#restart();
    }, waitMs);
  }

  get #isStopping(): boolean {
    return this.#stopping !== undefined;
  }

  /** On the same port, which the pool's URL names. */
  async #restart(): Promise<void> {
    if (this.#isStopping) return;
    const fault = await this.#relaunch();
    if (fault === null) {
      this.#restarts = 0;
      this.#log.info('database.restarted', { pid: this.pid });
      return;
    }
    this.#log.error('database.restartFailed', { fault });
    this.#lost({ code: null, signal: null });
  }

  async #relaunch(): Promise<string | null> {
    try {
      const { pid } = this;
      const isGone = (): boolean => this.#isGone || !isAlive(pid);
      if (!(await stopServer(pid, isGone, STOP, this.#clock))) return `process ${pid} does not end`;
      if (this.#isStopping) return 'stopping';
      return await this.#launch();
    } catch (error) {
      return messageOf(error);
    }
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    this.#clock.clearTimer(this.#timer);
    this.#isUp = false;
    await this.#restarting;
    const { pid } = this;
    if (pid !== 0) {
      const isGone = (): boolean => this.#isGone || !isAlive(pid);
      const stopped = await stopServer(pid, isGone, STOP, this.#clock);
      if (!stopped) this.#log.error('database.notStopped', { pid });
    }
    await this.#cluster.release();
  }
}

async function freePort(): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const server = createServer();
  server.once('error', reject);
  server.listen(0, '127.0.0.1', () => {
    const { port } = server.address() as AddressInfo;
    server.close(() => resolve(port));
  });
  return promise;
}

async function sizeOf(file: string): Promise<number> {
  try {
    return (await stat(file)).size;
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return 0;
    throw error;
  }
}

async function limitLog(file: string): Promise<void> {
  if ((await sizeOf(file)) > LOG_LIMIT_BYTES) await rename(file, `${file}.1`);
}

/** The last FATAL or ERROR that the server wrote since `start`. */
async function logFault(file: string, start: number): Promise<string | null> {
  const lines = (await readFile(file)).subarray(start).toString('utf8').split('\n');
  const faults = lines.filter((line) =>
    /FATAL|PANIC|ERROR|could not bind|error while loading/.test(line),
  );
  return faults.length === 0 ? null : faults.join(' | ').slice(-600);
}

function startError(fault: string, { state }: Cluster): AppError {
  if (/lock file .*already exists|is in use/.test(fault)) {
    return new AppError(
      'E_DATA_DIR_LOCKED',
      `the database in ${state.directory} is in use by another server; stop it, or set another CALLYARD_DATA_DIR`,
    );
  }
  return new AppError(
    'E_DATABASE',
    `the embedded database in ${state.directory} does not start: ${fault}; see server.log there, or set DATABASE_URL`,
  );
}
