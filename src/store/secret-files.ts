/** Keys that are generated on first start and kept in the data directory with mode 0600. */
import { randomBytes } from 'node:crypto';
import { link, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { AppError, messageOf, systemCodeOf } from '#lib/errors.ts';
import { randomToken } from '#lib/ids.ts';

const KEY_BYTES = 32;

/**
 * The 32-byte master key: `setting` is base64 or `file:PATH`; without it, `<data>/master.key`, made on first use.
 * Errors: E_CONFIG when the setting or the file holds no such key.
 */
export async function loadMasterKey(setting: string | undefined, dataDir: string): Promise<Buffer> {
  if (setting === undefined) {
    const file = path.join(dataDir, 'master.key');
    const known = await readSecret(file);
    const text = known ?? (await createSecret(file, randomBytes(KEY_BYTES).toString('base64')));
    return decodeKey(text, file);
  }
  return keyOfSetting(setting, 'CALLYARD_MASTER_KEY');
}

/** The key that a setting holds in base64 or names as `file:PATH`. Errors: E_CONFIG, naming the setting. */
export async function keyOfSetting(setting: string, name: string): Promise<Buffer> {
  if (!setting.startsWith('file:')) return decodeKey(setting, name);
  const file = setting.slice('file:'.length);
  try {
    return decodeKey((await readFile(file, 'utf8')).trim(), file);
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw new AppError(
      'E_CONFIG',
      `${name} names a file that cannot be read: ${messageOf(error)}`,
      {
        cause: error,
      },
    );
  }
}

/** The secret that signs tokens: `setting`, or `<data>/jwt.key`, made on first use. */
export async function loadJwtSecret(setting: string | null, dataDir: string): Promise<Uint8Array> {
  if (setting !== null) return Buffer.from(setting, 'utf8');
  const file = path.join(dataDir, 'jwt.key');
  const known = await readSecret(file);
  const text = known ?? (await createSecret(file, randomBytes(KEY_BYTES).toString('base64')));
  if (Buffer.byteLength(text) >= KEY_BYTES) return Buffer.from(text, 'utf8');
  throw new AppError('E_CONFIG', `${file} holds no secret; delete it to get a new one`);
}

/** 32 bytes in base64. Errors: E_CONFIG, naming `source`. */
export function decodeKey(text: string, source: string): Buffer {
  const key = Buffer.from(text, 'base64');
  if (key.length === KEY_BYTES && /^[A-Za-z0-9+/_-]+=*$/.test(text)) return key;
  throw new AppError(
    'E_CONFIG',
    `${source} must hold 32 bytes in base64 (openssl rand -base64 32)`,
  );
}

/** The trimmed text of a secret file, or null when there is none. */
export async function readSecret(file: string): Promise<string | null> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return null;
    throw error;
  }
}

/** Writes a new secret whole or not at all; returns the one that is there if another process was first. */
export async function createSecret(file: string, secret: string): Promise<string> {
  const partial = await writePartial(file, secret);
  try {
    await link(partial, file);
    return secret;
  } catch (error) {
    if (systemCodeOf(error) !== 'EEXIST') throw error;
    return (await readSecret(file)) ?? secret;
  } finally {
    await rm(partial, { force: true });
  }
}

/** Replaces a secret; after it, the new one is on disk whatever happens. */
export async function replaceSecret(file: string, secret: string): Promise<void> {
  await rename(await writePartial(file, secret), file);
  await syncFolder(path.dirname(file));
}

/** A rename is on disk once its folder is. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function writePartial(file: string, secret: string): Promise<string> {
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  const partial = `${file}.${randomToken(6)}`;
  const handle = await open(partial, 'wx', 0o600);
  try {
    await handle.writeFile(`${secret}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  return partial;
}
