/** Starts a server of our own for the demo when none runs, and stops it again. */
import { spawn, type ChildProcess } from 'node:child_process';
import { systemClock } from '#lib/clock.ts';
import { delay, withDeadline } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';

const POLL_MS = 200;
const STOP_TIMEOUT_MS = 45_000;
const KEPT_ERROR_LINES = 8;

export type ServerCommand = {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
};

export type ServerProcess = {
  readonly pid: number;
  /** SIGTERM, then SIGKILL after a deadline. Idempotent. */
  stop(): Promise<void>;
};

/** Resolves once `isReady` says so. Errors: E_CONFIG with the server's own last words when it exits, E_TIMEOUT, E_ABORTED. */
export async function startServerProcess(
  how: ServerCommand,
  isReady: () => Promise<boolean>,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<ServerProcess> {
  const child = spawn(how.command, [...how.args], {
    env: { ...how.env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const lastWords: string[] = [];
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    lastWords.push(...text.split('\n').filter((line) => line.trim() !== ''));
    lastWords.splice(0, lastWords.length - KEPT_ERROR_LINES);
  });
  const exited = exitOf(child);
  try {
    const endMs = systemClock.now() + timeoutMs;
    while (!(await answersReady(isReady))) {
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) {
        throw new AppError('E_CONFIG', `the server did not start:\n${lastWords.join('\n')}`);
      }
      if (signal?.aborted) throw new AppError('E_ABORTED', 'stopped');
      if (systemClock.now() > endMs) {
        throw new AppError('E_TIMEOUT', `the server was not ready within ${timeoutMs} ms`);
      }
      await Promise.race([delay(POLL_MS), exited]);
    }
  } catch (error) {
    await stop(child, exited);
    throw error;
  }
  return { pid: child.pid ?? 0, stop: () => stop(child, exited) };
}

function exitOf(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
}

async function answersReady(isReady: () => Promise<boolean>): Promise<boolean> {
  try {
    return await isReady();
  } catch (error) {
    // Not listening yet is what we wait for; anything else is a fault.
    if (error instanceof AppError && error.code === 'E_TIMEOUT') return false;
    throw error;
  }
}

async function stop(child: ChildProcess, exited: Promise<void>): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  try {
    await withDeadline(exited, STOP_TIMEOUT_MS, 'stopping the server');
  } catch (error) {
    child.kill('SIGKILL');
    if (!(error instanceof AppError)) throw error;
  }
}
