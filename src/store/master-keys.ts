/**
 * The master keys of a node (contract 4.6): one that seals, and former ones that still open until everything is rewrapped.
 * Generated ones are in the data directory: `master.key`, and during a rotation `master.key.old` with the former ones.
 */
import { randomBytes } from 'node:crypto';
import { rename } from 'node:fs/promises';
import path from 'node:path';
import { AppError } from '#lib/errors.ts';
import { keyIdOf } from './sealed.ts';
import {
  decodeKey,
  keyOfSetting,
  loadMasterKey,
  readSecret,
  replaceSecret,
  syncFolder,
} from './secret-files.ts';

/** The first seals. */
export type MasterKeys = readonly [Buffer, ...Buffer[]];

export type MasterKeySettings = {
  readonly dataDir: string;
  /** CALLYARD_MASTER_KEY */
  readonly masterKey: string | undefined;
  /** CALLYARD_MASTER_KEY_OLD: keys as in CALLYARD_MASTER_KEY, separated by commas. */
  readonly oldMasterKeys?: string | undefined;
};

const FILE = 'master.key';
const OLD_FILE = 'master.key.old';
const KEY_BYTES = 32;

/** Errors: E_CONFIG. */
export async function loadMasterKeys(settings: MasterKeySettings): Promise<MasterKeys> {
  const { dataDir, masterKey, oldMasterKeys = '' } = settings;
  const current = await loadMasterKey(masterKey, dataDir);
  const old: Buffer[] = [];
  for (const setting of oldMasterKeys.split(',').map((part) => part.trim())) {
    if (setting !== '') old.push(await keyOfSetting(setting, 'CALLYARD_MASTER_KEY_OLD'));
  }
  if (masterKey === undefined) old.push(...(await readOldKeys(dataDir)));
  return [current, ...old];
}

/**
 * Makes a new key file and keeps the former key beside it, on disk before the new one is. A rotation that was cut short
 * goes on with the key it made: then `isResumed`. Errors: E_CONFIG.
 */
export async function beginRotation(dataDir: string): Promise<{ readonly isResumed: boolean }> {
  const current = await loadMasterKey(undefined, dataDir);
  const old = await readOldKeys(dataDir);
  const isKept = old.some((key) => key.equals(current));
  if (old.length > 0 && !isKept) return { isResumed: true };
  if (!isKept) {
    const text = [current, ...old].map((key) => key.toString('base64')).join('\n');
    await replaceSecret(path.join(dataDir, OLD_FILE), text);
  }
  await replaceSecret(path.join(dataDir, FILE), randomBytes(KEY_BYTES).toString('base64'));
  return { isResumed: false };
}

/** Puts the former keys aside: from now on only copies of the database made before need them. Null when there are none. */
export async function retireOldKeys(dataDir: string): Promise<string | null> {
  const [newest] = await readOldKeys(dataDir);
  if (newest === undefined) return null;
  const retired = path.join(dataDir, `${FILE}.retired-${keyIdOf(newest)}`);
  await rename(path.join(dataDir, OLD_FILE), retired);
  await syncFolder(dataDir);
  return retired;
}

async function readOldKeys(dataDir: string): Promise<Buffer[]> {
  const file = path.join(dataDir, OLD_FILE);
  const text = (await readSecret(file)) ?? '';
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  return lines.map((line) => decodeKey(line.trim(), file));
}

/** A rotation needs two keys. Errors: E_CONFIG, telling what to set. */
export function refuseRotationOfSetKey(settings: MasterKeySettings): void {
  if (settings.masterKey === undefined || (settings.oldMasterKeys ?? '') !== '') return;
  throw new AppError(
    'E_CONFIG',
    'CALLYARD_MASTER_KEY is set, so its successor is made by you: set CALLYARD_MASTER_KEY to a new key (openssl rand -base64 32) and CALLYARD_MASTER_KEY_OLD to the present one, then run this again',
  );
}
