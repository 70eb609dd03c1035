/**
 * Removes files of recordings that nobody remembers: of accounts deleted in the database, of rows that went while their
 * file was on another node, of crashes between two steps. Their keys are gone, so nothing in them can be heard.
 */
import { readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '#lib/clock.ts';
import { systemCodeOf } from '#lib/errors.ts';
import { isId, type Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { isStoredObject, type RecordingPlace } from '#lib/recording-place.ts';
import type { Database } from './pool.ts';

export type OrphanOptions = {
  readonly database: Database;
  readonly place: RecordingPlace;
  /** True once the database has what was in the journal when this was called: before, files may lack their rows. */
  readonly isCaughtUp: () => Promise<boolean>;
  readonly clock: Clock;
  readonly log: Log;
};

const DAY_MS = 86_400_000;
const BATCH = 500;
const MARK = /^\.callyard-[0-9a-f]{32}$/;

type Row = { id: Id; call_id: Id; uri: string; deleted_at: Date | null };
type Found = { readonly path: string; readonly id: Id };

/**
 * One look over the folder; gives the files removed. Files younger than a day are left alone, and so is a folder in
 * which another installation has put its mark: its rows are in a database that this one does not know.
 * Errors: E_DATABASE*, and what the disk refuses.
 */
export async function sweepOrphans(options: OrphanOptions): Promise<number> {
  const { place, clock, log, isCaughtUp } = options;
  let removed = 0;
  if (!(await isCaughtUp()) || !(await isOurs(options))) return removed;
  const beforeMs = clock.wallMs() - DAY_MS;
  for (const folder of await dayFolders(place.folder)) {
    const names = await namesIn(folder);
    for (let at = 0; at < names.length; at += BATCH) {
      const found = await oldFiles(folder, names.slice(at, at + BATCH), beforeMs);
      for (const path of await unknownOf(options, found)) {
        await rm(path, { force: true });
        removed++;
      }
    }
  }
  if (removed > 0) log.warn('recordings.orphansRemoved', { files: removed });
  return removed;
}

/** Two databases behind one folder: neither may take the other's files for orphans. */
async function isOurs({ database, place, log }: OrphanOptions): Promise<boolean> {
  const { folder } = place;
  const [row] = await database.withSystem((sql) =>
    sql.rows<{ mark: string }>(
      `SELECT md5(system_identifier || ' ' || oid) AS mark FROM pg_control_system(), pg_database
        WHERE datname = current_database()`,
    ),
  );
  if (row === undefined) return false;
  const names = await namesIn(folder);
  if (names.length === 0) return false;
  const mine = `.callyard-${row.mark}`;
  if (!names.includes(mine)) await writeFile(join(folder, mine), '', { mode: 0o600 });
  const others = names.filter((name) => MARK.test(name) && name !== mine);
  if (others.length > 0) log.warn('recordings.folderShared', { folder, marks: others });
  return others.length === 0;
}

/** `<year>/<month>/<day>` below `root`. */
async function dayFolders(root: string): Promise<string[]> {
  let folders = [root];
  for (const digits of [4, 2, 2]) {
    const next: string[] = [];
    for (const folder of folders) {
      const names = (await namesIn(folder)).filter((name) => /^\d+$/.test(name));
      next.push(
        ...names.filter(({ length }) => length === digits).map((name) => join(folder, name)),
      );
    }
    folders = next;
  }
  return folders;
}

async function oldFiles(
  folder: string,
  names: readonly string[],
  beforeMs: number,
): Promise<Found[]> {
  const found: Found[] = [];
  for (const name of names) {
    const id = /^(.+)\.(?:cyr|wav)$/.exec(name)?.[1] ?? '';
    if (!isId(id)) continue;
    const path = join(folder, name);
    if (((await mtimeOf(path)) ?? beforeMs) < beforeMs) found.push({ path, id });
  }
  return found;
}

/** Those that no row stands for, or only one whose file counts as removed. */
async function unknownOf(
  { database, place }: OrphanOptions,
  found: readonly Found[],
): Promise<string[]> {
  if (found.length === 0) return [];
  // Files of versions before sealing bear the id of their call.
  const rows = await database.withSystem((sql) =>
    sql.rows<Row>(
      `SELECT id, call_id, uri, deleted_at FROM recordings
        WHERE id = ANY ($1::uuid[]) OR call_id = ANY ($1::uuid[])`,
      [found.map(({ id }) => id)],
    ),
  );
  const isKept = ({ path, id }: Found): boolean =>
    rows.some(
      (row) =>
        (row.id === id || row.call_id === id) &&
        row.deleted_at === null &&
        (isStoredObject(row.uri) || place.pathOf(row.uri) === path),
    );
  return found.filter((each) => !isKept(each)).map(({ path }) => path);
}

/** Null when it is gone meanwhile. */
async function mtimeOf(path: string): Promise<number | null> {
  try {
    return (await stat(path)).mtimeMs;
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return null;
    throw error;
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCodeOf(error) ?? '')) return [];
    throw error;
  }
}
