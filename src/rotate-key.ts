/** `callyard rotate-key`: a new master key, everything rewrapped under it, the former key put aside (contract 4.6). */
import { hostname } from 'node:os';
import { AppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import { beginRotation, refuseRotationOfSetKey, retireOldKeys } from '#store/master-keys.ts';
import { countOld, rewrapAll, type Rewrapped } from '#store/rewrap.ts';
import { openStore } from '#store/store.ts';
import { storeOptions } from './app.ts';
import type { Config } from './config.ts';
import { openDataDir } from './data-dir.ts';
import { openRecordingParts } from './recordings.ts';

const DRAIN_MS = 60_000;

/**
 * Needs the data directory for itself, so the node must be stopped. Cut short anywhere, it can be run again, and a node
 * that is started between opens old and new values alike. Gives the exit code: 1 while the former key is still needed.
 * Errors: E_CONFIG, E_DATA_DIR_LOCKED, E_DATABASE*.
 */
export async function rotateKey(
  config: Config,
  log: Log,
  out: (line: string) => void,
): Promise<number> {
  refuseRotationOfSetKey({
    dataDir: config.dataDir,
    masterKey: config.masterKey ?? undefined,
    oldMasterKeys: config.oldMasterKeys ?? undefined,
  });
  await using owner = new AsyncDisposableStack();
  const dir = openDataDir(config.dataDir);
  owner.defer(() => dir.release());
  const isOwnFile = config.masterKey === null;
  if (isOwnFile) {
    const { isResumed } = await beginRotation(dir.path);
    out(isResumed ? 'Going on with the key of a rotation that was cut short.' : 'New master key.');
  }
  const store = await openStore({ ...storeOptions(config, dir.path), node: hostname(), log });
  owner.defer(() => store.close());
  if (store.state() === 'down') {
    throw new AppError('E_DATABASE_UNREACHABLE', 'the database is away; nothing was rewrapped');
  }
  // What a crash left in the journal holds keys of recordings: it goes to the database first.
  const recordings = await openRecordingParts({ dataDir: dir.path, store, log, settings: config });
  owner.defer(() => recordings.close());
  await store.recover(recordings.repair);
  const isDrained = await store.projection.drain(DRAIN_MS);
  const { database, sealer } = store;
  const results = await rewrapAll({ database, sealer, log });
  const left = await countOld({ database, sealer });
  for (const line of reportOf(results)) out(line);
  if (left.length > 0 || !isDrained) {
    for (const { table, column, count } of left)
      out(`  not rewrapped: ${count} in ${table}.${column}`);
    if (!isDrained) out('  some events of calls have not reached the database yet');
    out('The former key is still needed and was kept; the log names the values. Run this again.');
    return 1;
  }
  const retired = isOwnFile ? await retireOldKeys(dir.path) : null;
  out(
    retired === null
      ? 'Nothing needs a former key any more: CALLYARD_MASTER_KEY_OLD can go.'
      : `Nothing needs the former key any more. It is in ${retired}, for backups made before; delete it with them.`,
  );
  return 0;
}

function reportOf(results: readonly Rewrapped[]): string[] {
  const total = results.reduce((sum, { rewrapped }) => sum + rewrapped, 0);
  const rows = results.filter(({ rewrapped, failed }) => rewrapped + failed > 0);
  return [
    `Rewrapped ${total} values.`,
    ...rows.map(({ table, column, rewrapped, failed }) => {
      const bad = failed === 0 ? '' : `, ${failed} cannot be opened`;
      return `  ${`${table}.${column}`.padEnd(36)} ${rewrapped}${bad}`;
    }),
  ];
}
