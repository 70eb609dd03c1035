/** `callyard migrate` and `callyard migrate down N`: the schema forward, or back before an older version is started. */
import type { Log } from '#lib/log.ts';
import { AppError } from '#lib/errors.ts';
import { startEmbeddedPostgres } from '#store/embedded-postgres.ts';
import { migrate, migrateDown } from '#store/migrate.ts';
import type { Config } from './config.ts';
import { openDataDir } from './data-dir.ts';

/**
 * Works on DATABASE_URL, or on the embedded database of a node that is stopped. `words` is what stands behind the command.
 * Errors: E_CONFIG for other words, E_DATA_DIR_LOCKED, E_DATABASE*.
 */
export async function runMigrate(
  config: Config,
  log: Log,
  words: readonly string[],
  out: (line: string) => void,
): Promise<number> {
  const back = stepsBack(words);
  await using owner = new AsyncDisposableStack();
  const { url, login } = await target(config, log, owner);
  if (back === null) {
    const ran = await migrate({ url, login, log });
    out(ran.length === 0 ? 'The schema is up to date.' : `Ran ${ran.join(', ')}.`);
    return 0;
  }
  const undone = await migrateDown(url, back);
  out(undone.length === 0 ? 'There is nothing to undo.' : `Undid ${undone.join(', ')}.`);
  return 0;
}

/** Null: forward. */
function stepsBack(words: readonly string[]): number | null {
  const [direction, count = '', ...rest] = words;
  if (direction === undefined) return null;
  if (direction === 'down' && rest.length === 0 && /^[1-9]\d{0,3}$/.test(count))
    return Number(count);
  throw new AppError('E_CONFIG', 'write `callyard migrate`, or `callyard migrate down 1`');
}

async function target(
  config: Config,
  log: Log,
  owner: AsyncDisposableStack,
): Promise<{ url: string; login: string | null }> {
  if (config.databaseUrl !== null) return { url: config.databaseUrl, login: null };
  const dir = openDataDir(config.dataDir);
  owner.defer(() => dir.release());
  const server = await startEmbeddedPostgres({ dataDir: dir.path, log });
  owner.defer(() => server.stop());
  return { url: server.adminUrl, login: 'callyard' };
}
