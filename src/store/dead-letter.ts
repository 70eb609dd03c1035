/** Entries that the database refuses for what they hold: kept in a file for a person, so that the rest can go on. */
import { appendFile, rename, stat } from 'node:fs/promises';
import type { JournalEntry } from '#lib/call-events.ts';
import { messageOf, systemCodeOf } from '#lib/errors.ts';
import { sqlStateOf } from './sql-errors.ts';

/** Above this the file is renamed to `.1`, which replaces the one before. */
const MAX_BYTES = 64 * 1024 * 1024;

/** Appends one line `{at, message, sqlState, entry}`; throws when the disk refuses. */
export async function park(
  file: string,
  entry: JournalEntry,
  fault: unknown,
  wallMs: number,
): Promise<void> {
  if ((await sizeOf(file)) > MAX_BYTES) await rename(file, `${file}.1`);
  const line = {
    at: new Date(wallMs).toISOString(),
    message: messageOf(fault),
    sqlState: sqlStateOf(fault) ?? null,
    entry,
  };
  await appendFile(file, `${JSON.stringify(line)}\n`, { mode: 0o600 });
}

async function sizeOf(file: string): Promise<number> {
  try {
    return (await stat(file)).size;
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return 0;
    throw error;
  }
}
