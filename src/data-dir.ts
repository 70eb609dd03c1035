/** The data directory: made on first use, held by one node at a time. */
import { existsSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { AppError, messageOf, systemCodeOf } from '#lib/errors.ts';

export type DataDir = { readonly path: string; release(): void };

const LOCK = 'node.lock';

/**
 * Makes and locks the directory. The lock names the process and when it began, so that a lock left by a crash (or by a
 * process whose number was given to another) is seen through. Errors: E_DATA_DIR_LOCKED, E_CONFIG.
 */
export function openDataDir(dir: string): DataDir {
  const path = resolve(dir);
  const lock = resolve(path, LOCK);
  try {
    mkdirSync(path, { recursive: true, mode: 0o755 });
    for (let attempt = 0; ; attempt++) {
      if (tryLock(lock)) return { path, release: () => rmSync(lock, { force: true }) };
      const holder = readHolder(lock);
      if (holder !== null && isAlive(holder)) {
        throw new AppError(
          'E_DATA_DIR_LOCKED',
          `data directory ${path} is in use by process ${holder.pid}; stop that node or set CALLYARD_DATA_DIR to another directory`,
        );
      }
      if (attempt > 2) throw new Error('the lock keeps coming back');
      rmSync(lock, { force: true });
    }
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw new AppError(
      'E_CONFIG',
      `data directory ${path} cannot be used: ${messageOf(error)}; set CALLYARD_DATA_DIR`,
      {
        cause: error,
      },
    );
  }
}

type Holder = { readonly pid: number; readonly since: string };

function tryLock(lock: string): boolean {
  const draft = `${lock}.${process.pid}`;
  try {
    // Written first and linked after: nobody ever sees a lock without its holder.
    const holder = { pid: process.pid, since: startOf(process.pid) } satisfies Holder;
    writeFileSync(draft, JSON.stringify(holder));
    linkSync(draft, lock);
    return true;
  } catch (error) {
    if (systemCodeOf(error) === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

function readHolder(lock: string): Holder | null {
  try {
    const parsed: unknown = JSON.parse(readFileSync(lock, 'utf8'));
    if (typeof parsed !== 'object' || parsed === null || !('pid' in parsed) || !('since' in parsed))
      return null;
    return { pid: Number(parsed.pid), since: String(parsed.since) };
  } catch (error) {
    // A torn write of a node that died while locking, or a lock released this instant: both are free.
    if (error instanceof SyntaxError || systemCodeOf(error) === 'ENOENT') return null;
    throw error;
  }
}

function isAlive({ pid, since }: Holder): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (systemCodeOf(error) === 'ESRCH') return false; // EPERM: alive, another user's
  }
  return since === '' || startOf(pid) === since;
}

/** Start time of a process in clock ticks since boot (proc(5), field 22), with the boot id; empty where there is no /proc. */
function startOf(pid: number): string {
  if (!existsSync(`/proc/${pid}/stat`)) return '';
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const afterName = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return `${boot}/${afterName[19] ?? ''}`;
}
