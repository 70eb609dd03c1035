/** PostgreSQL refuses to run as root. This finds the user it runs as instead, and what that user can reach. */
import { execFile } from 'node:child_process';
import { chown, mkdir, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { AppError, systemCodeOf } from '#lib/errors.ts';

export type ServiceUser = { readonly name: string; readonly uid: number; readonly gid: number };

const CANDIDATES = ['callyard', 'postgres', 'nobody'];
const run = promisify(execFile);

/** Null when this process is not root: then PostgreSQL runs as the same user. Errors: E_DATABASE. */
export async function findServiceUser(): Promise<ServiceUser | null> {
  if (process.getuid?.() !== 0) return null;
  for (const name of CANDIDATES) {
    const [uid, gid] = [await idOf('-u', name), await idOf('-g', name)];
    if (uid !== null && gid !== null && uid > 0) return { name, uid, gid };
  }
  throw new AppError(
    'E_DATABASE',
    `the embedded database cannot run as root, and there is no user named ${CANDIDATES.join(', ')}; start as another user, or set DATABASE_URL`,
  );
}

async function idOf(flag: '-u' | '-g', name: string): Promise<number | null> {
  try {
    const { stdout } = await run('id', [flag, name], { timeout: 5_000 });
    const id = Number(stdout.trim());
    return Number.isSafeInteger(id) ? id : null;
  } catch {
    // `id` ends with 1 for an unknown user; a missing `id` leaves us without a service user all the same.
    return null;
  }
}

/** True when `user` may pass every directory above `target`, and read and enter `target` itself if it exists. */
export async function canReach(user: ServiceUser | null, target: string): Promise<boolean> {
  if (user === null) return true;
  let current = await deepestExisting(path.resolve(target));
  const isTarget = current === (await resolved(target));
  let needed = isTarget ? 0o5 : 0o1;
  for (;;) {
    if (!(await allows(user, current, needed))) return false;
    const parent = path.dirname(current);
    if (parent === current) return true;
    current = parent;
    needed = 0o1;
  }
}

async function allows(user: ServiceUser, target: string, needed: number): Promise<boolean> {
  const { uid, gid, mode } = await stat(target);
  const bits = uid === user.uid ? mode >> 6 : gid === user.gid ? mode >> 3 : mode;
  return (bits & needed) === needed;
}

async function resolved(target: string): Promise<string | null> {
  try {
    return await realpath(target);
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return null;
    throw error;
  }
}

async function deepestExisting(target: string): Promise<string> {
  return (await resolved(target)) ?? deepestExisting(path.dirname(target));
}

/** Makes `directory` (and what is missing above it), private to the user that PostgreSQL runs as. */
export async function makePrivate(directory: string, user: ServiceUser | null): Promise<void> {
  await mkdir(path.dirname(directory), { recursive: true, mode: 0o755 });
  await mkdir(directory, { recursive: true, mode: 0o700 });
  if (user !== null) await chown(directory, user.uid, user.gid);
}
