/**
 * Moves finished recordings from the local folder to the object store. The folder itself is the queue: what is in it and
 * `ready` in the database is still to be moved, so a restart resumes where it was and a store that is away loses nothing.
 */
import { readdir, rm, rmdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { backoffMs } from '#lib/backoff.ts';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { systemCodeOf, toAppError } from '#lib/errors.ts';
import { isId, type Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import { isStoredObject, type RecordingPlace } from '#lib/recording-place.ts';
import type { ObjectStorage } from './object-storage.ts';
import type { Database } from './pool.ts';
import type { RecordingRemoval } from './recording-removal.ts';

export type RecordingUploadsOptions = {
  readonly database: Database;
  readonly objects: ObjectStorage;
  readonly place: RecordingPlace;
  readonly removal: Pick<RecordingRemoval, 'removeOrNote'>;
  /** Closes what its call left open; false while it cannot be. Absent: nothing is left open. */
  readonly mend?: (accountId: Id, recordingId: Id) => Promise<boolean>;
  readonly clock: Clock;
  readonly log: Log;
};

const LOOK_EVERY_MS = 10_000;
const RETRY = { firstMs: 2_000, maxMs: 300_000 };
/** Files looked at in one pass; the rest waits for the next. */
const MAX_FILES = 500;
const AT_ONCE = 2;

type LocalFile = { readonly path: string; readonly id: Id };
type Row = { id: Id; user_id: Id; call_id: Id; uri: string; status: string; is_open: boolean };

export class RecordingUploads {
  readonly #options: RecordingUploadsOptions;
  #timer: TimerHandle | undefined;
  #running: Promise<void> | undefined;
  #failures = 0;
  #moved = 0;
  /** The path up to which the last pass looked; empty: from the start. */
  #after = '';
  /** Recordings whose upload failed: the others go first, so that a bad file cannot hold them up. */
  readonly #suspects = new Set<Id>();
  /** Aborted by close(). */
  readonly #closing = new AbortController();

  constructor(options: RecordingUploadsOptions) {
    this.#options = options;
  }

  /** Recordings moved since the start. */
  get moved(): number {
    return this.#moved;
  }

  start(): void {
    this.#schedule(0);
  }

  get #isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** Breaks off the uploads under way, which are made again after a restart, and starts no other. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#options.clock.clearTimer(this.#timer);
    await this.#running;
  }

  #schedule(delayMs: number): void {
    if (this.#isClosed) return;
    this.#timer = this.#options.clock.setTimer(() => {
      this.#running = this.#pass().finally(() => {
        this.#running = undefined;
        this.#schedule(this.#failures === 0 ? LOOK_EVERY_MS : backoffMs(this.#failures, RETRY));
      });
    }, delayMs);
  }

  /** The first failure of store or database ends the pass: the others would meet the same. */
  async #pass(): Promise<void> {
    const { log } = this.#options;
    try {
      const waiting = await this.#waiting();
      const work = async (): Promise<void> => {
        for (;;) {
          const next = this.#isClosed ? undefined : waiting.list.shift();
          if (next === undefined) return;
          await this.#moveOrSuspect(next.file, next.row);
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, work));
      if (this.#failures > 0) log.info('recordings.uploadRecovered', { after: this.#failures });
      this.#failures = 0;
      this.#after = waiting.lastPath;
    } catch (error) {
      if (this.#isClosed) return;
      this.#failures++;
      const level = this.#failures === 1 ? 'error' : 'warn';
      log[level]('recordings.uploadFailed', { failures: this.#failures, error: toAppError(error) });
    }
  }

  async #waiting(): Promise<{ list: { file: LocalFile; row: Row }[]; lastPath: string }> {
    const files = await this.#localFiles();
    const lastPath = files.length < MAX_FILES ? '' : (files.at(-1)?.path ?? '');
    if (files.length === 0) return { list: [], lastPath };
    // Files of versions before sealing bear the id of their call.
    const rows = await this.#options.database.withSystem((sql) =>
      sql.rows<Row>(
        `SELECT id, user_id, call_id, uri, status, (sha256 IS NULL AND key_enc IS NOT NULL) AS is_open FROM recordings
          WHERE (id = ANY ($1::uuid[]) OR call_id = ANY ($1::uuid[])) AND status = 'ready'`,
        [files.map(({ id }) => id)],
      ),
    );
    const found = files.flatMap((file) => {
      const row = rows.find((each) => this.#isOf(each, file));
      return row === undefined ? [] : [{ file, row }];
    });
    const isSuspect = ({ row }: { row: Row }): boolean => this.#suspects.has(row.id);
    const list = [...found.filter((each) => !isSuspect(each)), ...found.filter(isSuspect)];
    return { list, lastPath };
  }

  #isOf(row: Row, file: LocalFile): boolean {
    const { place } = this.#options;
    if (row.id !== file.id && row.call_id !== file.id) return false;
    if (!isStoredObject(row.uri)) return place.pathOf(row.uri) === file.path;
    return row.uri.endsWith(`/${place.nameOf(place.uriOf(file.path))}`);
  }

  async #moveOrSuspect(file: LocalFile, row: Row): Promise<void> {
    try {
      await this.#move(file, row);
      this.#suspects.delete(row.id);
    } catch (error) {
      if (this.#suspects.size < MAX_FILES) this.#suspects.add(row.id);
      throw error;
    }
  }

  async #move(file: LocalFile, row: Row): Promise<void> {
    const { database, objects, place, removal, log, mend } = this.#options;
    if (isStoredObject(row.uri)) return rm(file.path, { force: true }); // moved before a crash
    // Nobody mends it up there, and its writer may still be at it.
    if (row.is_open && (await mend?.(row.user_id, row.id)) === false) return;
    const uri = await objects.putFile(place.nameOf(row.uri), file.path, this.#closing.signal);
    const changed = await database.withSystem((sql) =>
      sql.run(
        `UPDATE recordings SET uri = $1 WHERE id = $2 AND user_id = $3 AND uri = $4 AND status = 'ready'`,
        [uri, row.id, row.user_id, row.uri],
      ),
    );
    // Expired or deleted meanwhile: nothing of it may stay up there.
    if (changed === 0) return void (await removal.removeOrNote(uri));
    await rm(file.path, { force: true });
    this.#moved++;
    log.info('recording.uploaded', { recordingId: row.id });
  }

  async #localFiles(): Promise<LocalFile[]> {
    const { folder } = this.#options.place;
    const files: LocalFile[] = [];
    const look = async (at: string, depth: number): Promise<void> => {
      const entries = await readdir(at, { withFileTypes: true });
      if (entries.length === 0 && depth === 3) return removeEmpty(at, this.#options.clock.wallMs());
      for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
        if (files.length >= MAX_FILES) return;
        const path = join(at, entry.name);
        if (entry.isDirectory() && depth < 3) await look(path, depth + 1);
        const id = /^(.+)\.(?:cyr|wav)$/.exec(entry.name)?.[1] ?? '';
        if (entry.isFile() && isId(id) && path > this.#after) files.push({ path, id });
      }
    };
    try {
      await look(folder, 0);
    } catch (error) {
      if (systemCodeOf(error) !== 'ENOENT') throw error;
    }
    return files;
  }
}

/** Folders of past days whose recordings have all moved. */
async function removeEmpty(folder: string, nowMs: number): Promise<void> {
  const yesterday = new Date(nowMs - 86_400_000).toISOString().slice(8, 10);
  const today = new Date(nowMs).toISOString().slice(8, 10);
  if ([today, yesterday].includes(basename(folder))) return;
  try {
    await rmdir(folder);
  } catch (error) {
    if (!['ENOENT', 'ENOTEMPTY'].includes(systemCodeOf(error) ?? '')) throw error;
  }
}
