/** Recordings on this machine's disk, under one folder. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { resolve, sep } from 'node:path';
import { AppError, systemCodeOf } from '#lib/errors.ts';
import type { RecordingFile, RecordingFiles } from './ports.ts';

/** `uri` of a recording is a path relative to `folder`; one that leaves it is refused. Errors: E_MEDIA. */
export function diskRecordingFiles(folder: string): RecordingFiles {
  const root = resolve(folder);
  return {
    open: async (_accountId, recording) => {
      const path = resolve(root, recording.uri);
      if (!path.startsWith(`${root}${sep}`)) {
        throw new AppError('E_MEDIA', 'a recording lies outside the data directory', {
          details: { recordingId: recording.id },
        });
      }
      return openFile(path);
    },
  };
}

async function openFile(path: string): Promise<RecordingFile | null> {
  try {
    const { size } = await stat(path);
    return { bytes: size, read: (from, to) => createReadStream(path, { start: from, end: to }) };
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return null;
    throw new AppError('E_MEDIA', 'a recording cannot be read', { cause: error });
  }
}
