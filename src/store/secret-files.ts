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
  if (!setting.startsWith('file:')) return decodeKey(setting, 'CALLYARD_MASTER_KEY');
  const file = setting.slice('file:'.length);
  try {
    return decodeKey((await readFile(file, 'utf8')).trim(), file);
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw new AppError(
      'E_CONFIG',
      `CALLYARD_MASTER_KEY names a file that cannot be read: ${messageOf(error)}`,
      {
        cause: error,
      },
    );
  }
}

function decodeKey(text: string, source: string): Buffer {
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

/** Replaces a secret. */
export async function replaceSecret(file: string, secret: string): Promise<void> {
  await rename(await writePartial(file, secret), file);
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
