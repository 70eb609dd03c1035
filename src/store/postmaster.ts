/** The running server as the operating system sees it: postmaster.pid, signals, and waiting for the end. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { systemCodeOf } from '#lib/errors.ts';
import type { Clock } from '#lib/clock.ts';
import { delay } from '#lib/deadline.ts';

const run = promisify(execFile);

/** Lines of postmaster.pid: pid, data directory, start time, port, socket directory, address. */
export type PidFile = { readonly pid: number; readonly port: number | null };

export async function readPidFile(directory: string): Promise<PidFile | null> {
  const text = await readIfThere(path.join(directory, 'postmaster.pid'));
  if (text === null) return null;
  const lines = text.split('\n');
  const pid = Math.abs(Number.parseInt(lines[0] ?? '', 10));
  const port = Number.parseInt(lines[3] ?? '', 10);
  if (!Number.isSafeInteger(pid) || pid === 0) return null;
  return { pid, port: Number.isSafeInteger(port) ? port : null };
}

export async function readIfThere(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return null;
    throw error;
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCodeOf(error) === 'EPERM';
  }
}

/** False only when the system says that `pid` is another program than a server of this directory. */
export async function mayBeServerOf(pid: number, directory: string): Promise<boolean> {
  if (!isAlive(pid)) return false;
  const command = await commandOf(pid);
  return command === null || (/postgres/.test(command) && command.includes(directory));
}

/** True when it is certain: only then may the process be sent a signal. */
export async function isServerOf(pid: number, directory: string): Promise<boolean> {
  const command = isAlive(pid) ? await commandOf(pid) : null;
  return command !== null && /postgres/.test(command) && command.includes(directory);
}

/** The command line of a process; null for one that has just ended. */
async function commandOf(pid: number): Promise<string | null> {
  const text = await readIfThere(`/proc/${pid}/cmdline`);
  if (text !== null && text !== '') return text.replaceAll('\0', ' ');
  try {
    const { stdout } = await run('ps', ['-o', 'command=', '-p', String(pid)], { timeout: 5_000 });
    return stdout.trim() === '' ? null : stdout;
  } catch {
    // No such process, or no `ps` here: the caller then asks the server itself.
    return null;
  }
}

/** When a process started, in kernel ticks since boot: tells a process from a later one with the same pid. */
export async function startTicksOf(pid: number): Promise<string | null> {
  const text = await readIfThere(`/proc/${pid}/stat`);
  // The command name, in brackets, may hold spaces: count from the last bracket. Field 22 of proc(5).
  return text?.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? null;
}

export type StopOptions = { readonly fastMs: number; readonly immediateMs: number };

/** SIGINT (fast: sessions are ended, data written), then SIGQUIT (immediate: recovery at next start). True when gone. */
export async function stopServer(
  pid: number,
  isGone: () => boolean,
  options: StopOptions,
  clock: Clock,
): Promise<boolean> {
  for (const [signal, waitMs] of [
    ['SIGINT', options.fastMs],
    ['SIGQUIT', options.immediateMs],
  ] as const) {
    if (isGone()) return true;
    signalTo(pid, signal);
    const endMs = clock.now() + waitMs;
    while (!isGone() && clock.now() < endMs) await delay(20, undefined, clock);
  }
  return isGone();
}

function signalTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (systemCodeOf(error) !== 'ESRCH') throw error;
  }
}
