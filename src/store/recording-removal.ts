/** Removes the files of recordings whose keys are destroyed, and remembers those that would not go. */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { systemCodeOf } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import { isStoredObject, type RecordingPlace } from '#lib/recording-place.ts';
import type { ObjectStorage } from './object-storage.ts';

export type RecordingRemoval = {
  /** True when the file is gone. A failure is logged, never thrown. */
  remove(uri: string): Promise<boolean>;
  /**
   * For a recording whose row goes as well: what cannot be removed now is noted on disk and tried again. False when even
   * that failed.
   */
  removeOrNote(uri: string): Promise<boolean>;
  /** Tries the noted ones again. Gives how many are left. */
  retry(): Promise<number>;
};

export type RecordingRemovalOptions = {
  readonly place: RecordingPlace;
  /** Null: no bucket is configured. */
  readonly objects: ObjectStorage | null;
  /** Folder of the notes. */
  readonly notes: string;
  readonly log: Log;
};

export function createRecordingRemoval(options: RecordingRemovalOptions): RecordingRemoval {
  const { place, objects, notes, log } = options;
  const take = async (uri: string): Promise<void> => {
    const path = place.pathOf(uri);
    if (path !== null) await rm(path, { force: true });
    else if (objects === null) throw new Error('its bucket is not configured');
    // A local one may have been put up too, by an upload that a crash or a lost answer has cut off.
    await objects?.remove(path === null ? uri : objects.uriOf(place.nameOf(uri)));
  };
  const remove = async (uri: string): Promise<boolean> => {
    try {
      await take(uri);
      return true;
    } catch (error) {
      log.error('recording.notRemoved', { place: isStoredObject(uri) ? 's3' : 'local', error });
      return false;
    }
  };
  return {
    remove,
    async removeOrNote(uri) {
      if (await remove(uri)) return true;
      try {
        await mkdir(notes, { recursive: true, mode: 0o700 });
        await writeFile(noteOf(notes, uri), uri, { mode: 0o600, flush: true });
        return true;
      } catch (error) {
        log.error('recording.removalNotNoted', { error });
        return false;
      }
    },
    async retry() {
      let left = 0;
      for (const name of await namesIn(notes)) {
        const note = join(notes, name);
        if (await remove(await readFile(note, 'utf8'))) await rm(note, { force: true });
        else left++;
      }
      return left;
    },
  };
}

/** The same recording has one note however often it fails. */
function noteOf(notes: string, uri: string): string {
  return join(notes, createHash('sha256').update(uri).digest('hex').slice(0, 32));
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return [];
    throw error;
  }
}
