/** The embedded database on disk: where it lies, its passwords, who uses it, and its first making. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chown, mkdir, realpath, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { systemClock } from '#lib/clock.ts';
import { AppError, messageOf, systemCodeOf } from '#lib/errors.ts';
import { randomToken } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { SHARED_DIRECTORY, type Binaries } from './postgres-binaries.ts';
import {
  isAlive,
  isServerOf,
  readIfThere,
  readPidFile,
  startTicksOf,
  stopServer,
} from './postmaster.ts';
import { canReach, makePrivate, type ServiceUser } from './service-user.ts';

const run = promisify(execFile);
const INITDB_TIMEOUT_MS = 60_000;
const STOP = { fastMs: 10_000, immediateMs: 5_000 };

/** `<data>/postgres.json`, mode 0600. */
export type ClusterState = {
  /** Absolute; holds `cluster/` and `server.log`. */
  readonly directory: string;
  readonly adminPassword: string;
  readonly loginPassword: string;
  /** The node that uses the database, so that two cannot. */
  readonly owner: { readonly pid: number; readonly startTicks: string | null } | null;
};

export type Cluster = {
  readonly state: ClusterState;
  readonly directory: string;
  readonly logFile: string;
  /** Gives the directory up. */
  release(): Promise<void>;
};

/**
 * The database directory of `dataDir`, made on first use, and taken for this process.
 * Errors: E_DATA_DIR_LOCKED while another live node uses it; E_DATABASE otherwise.
 */
export async function openCluster(
  dataDir: string,
  binaries: Binaries,
  user: ServiceUser | null,
  log: Log,
): Promise<Cluster> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const stateFile = path.join(dataDir, 'postgres.json');
  const known = await readState(stateFile);
  const state = known ?? (await newState(dataDir, user, log));
  const cluster = path.join(state.directory, 'cluster');
  await checkOwner(state, cluster);
  const owner = { pid: process.pid, startTicks: await startTicksOf(process.pid) };
  await writeState(stateFile, { ...state, owner });
  try {
    await prepareDirectory(state, cluster, binaries, user, known === null, dataDir, log);
  } catch (error) {
    await writeState(stateFile, { ...state, owner: null });
    throw error;
  }
  return {
    state,
    directory: cluster,
    logFile: path.join(state.directory, 'server.log'),
    release: () => writeState(stateFile, { ...state, owner: null }),
  };
}

async function readState(file: string): Promise<ClusterState | null> {
  const text = await readIfThere(file);
  if (text === null) return null;
  try {
    return JSON.parse(text) as ClusterState;
  } catch (error) {
    throw new AppError(
      'E_DATABASE',
      `${file} is damaged; restore it from a backup, or move the data directory away`,
      {
        cause: error,
      },
    );
  }
}

async function writeState(file: string, state: ClusterState): Promise<void> {
  const partial = `${file}.${process.pid}`;
  await writeFile(partial, `${JSON.stringify(state, null, 2)}\n`, { mode: 0o600 });
  await rename(partial, file);
}

/** Inside the data directory if PostgreSQL's user can get there, else under a place of its own. */
async function newState(
  dataDir: string,
  user: ServiceUser | null,
  log: Log,
): Promise<ClusterState> {
  const inside = path.join(await realpath(dataDir), 'postgres');
  let directory = inside;
  if (!(await canReach(user, dataDir))) {
    const hash = createHash('sha256').update(inside).digest('hex').slice(0, 16);
    directory = path.join(SHARED_DIRECTORY, hash, 'postgres');
    log.info('database.placed', {
      directory,
      because: `${user?.name ?? ''} may not enter ${dataDir}`,
    });
  }
  return {
    directory,
    adminPassword: randomToken(24),
    loginPassword: randomToken(24),
    owner: null,
  };
}

async function checkOwner({ owner, directory }: ClusterState, cluster: string): Promise<void> {
  if (owner === null || !isAlive(owner.pid)) return;
  const server = await readPidFile(cluster);
  if (server === null || !isAlive(server.pid)) return;
  const ticks = await startTicksOf(owner.pid);
  if (ticks !== null && owner.startTicks !== null && ticks !== owner.startTicks) return;
  throw new AppError(
    'E_DATA_DIR_LOCKED',
    `the database in ${directory} is in use by another node (process ${owner.pid}); stop it, or set another CALLYARD_DATA_DIR`,
  );
}

async function prepareDirectory(
  state: ClusterState,
  cluster: string,
  binaries: Binaries,
  user: ServiceUser | null,
  isNew: boolean,
  dataDir: string,
  log: Log,
): Promise<void> {
  const found = await versionOf(cluster, user);
  const major = binaries.version.split('.')[0] ?? '';
  if (found === null) return initialize(state, cluster, binaries, user);
  if (isNew && (await isOutside(state, dataDir))) {
    await moveAway(state, cluster, log);
    return initialize(state, cluster, binaries, user);
  }
  if (isNew) {
    throw new AppError(
      'E_DATABASE',
      `there is a database in ${state.directory}, but its passwords (postgres.json in the data directory) are gone; restore that file, or move the database away`,
    );
  }
  if (found !== major) {
    throw new AppError(
      'E_DATABASE',
      `the database in ${state.directory} was made by PostgreSQL ${found}, this Callyard brings ${major}; dump it with the older version, or set DATABASE_URL`,
    );
  }
}

async function isOutside(state: ClusterState, dataDir: string): Promise<boolean> {
  return !state.directory.startsWith((await realpath(dataDir)) + path.sep);
}

/** The data directory was removed to begin anew, but its database lay elsewhere: that is kept under another name. */
async function moveAway(state: ClusterState, cluster: string, log: Log): Promise<void> {
  const server = await readPidFile(cluster);
  if (server !== null && (await isServerOf(server.pid, cluster))) {
    await stopServer(server.pid, () => !isAlive(server.pid), STOP, systemClock);
  }
  const kept = `${state.directory}.before-${new Date().toISOString().replaceAll(':', '')}`;
  await rename(state.directory, kept);
  log.warn('database.movedAway', { from: state.directory, to: kept });
}

async function versionOf(cluster: string, user: ServiceUser | null): Promise<string | null> {
  try {
    return (await readIfThere(path.join(cluster, 'PG_VERSION')))?.trim() ?? null;
  } catch (error) {
    if (systemCodeOf(error) !== 'EACCES') throw error;
    throw new AppError(
      'E_DATABASE',
      `the database in ${cluster} belongs to another user${user === null ? '' : ` than ${user.name}`}; start as that user, or change its owner`,
      { cause: error },
    );
  }
}

/** Made beside its place and renamed: a half-made database never looks like one. */
async function initialize(
  state: ClusterState,
  cluster: string,
  binaries: Binaries,
  user: ServiceUser | null,
): Promise<void> {
  await makePrivate(state.directory, user);
  const partial = `${cluster}.partial`;
  await rm(partial, { recursive: true, force: true });
  const passwordFile = path.join(state.directory, 'initial-password');
  await writeFile(passwordFile, state.adminPassword, { mode: 0o600 });
  if (user !== null) await chown(passwordFile, user.uid, user.gid);
  try {
    await run(
      binaries.initdb,
      [
        ...['--pgdata', partial, '--username', 'postgres', '--pwfile', passwordFile],
        ...[
          '--auth',
          'scram-sha-256',
          '--encoding',
          'UTF8',
          '--locale-provider',
          'libc',
          '--locale',
          'C',
        ],
      ],
      {
        timeout: INITDB_TIMEOUT_MS,
        cwd: state.directory,
        env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
        ...(user === null ? {} : { uid: user.uid, gid: user.gid }),
      },
    );
    await rename(partial, cluster);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    const lines = String((error as { stderr?: string }).stderr ?? '')
      .trim()
      .split('\n');
    throw new AppError(
      'E_DATABASE',
      `the embedded database could not be made in ${state.directory}: ${lines.find((line) => /error|FATAL/i.test(line)) ?? messageOf(error)}`,
      { cause: error },
    );
  } finally {
    await rm(passwordFile, { force: true });
  }
}
