/** Where the sounds of agents come from: built in, from the server's own folder, or from a URL under the usual guards. */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import { guardedFetch, type Reach } from '#lib/safe-fetch.ts';
import type { AudioFiles } from '#media/mix/audio-file.ts';
import { SoundShelf } from '#media/mix/sound-shelf.ts';
import type { SoundLibrary } from '#sessions/call-sounds.ts';

export type SoundsOptions = {
  readonly audioFiles: AudioFiles;
  readonly reach: Reach;
  /** Files are in its folder `sounds`. */
  readonly dataDir: string;
  readonly log: Log;
  /** CALLYARD_HOLD_MUSIC; null: the built-in tune. */
  readonly holdMusic: string | null;
};

const MAX_BYTES = 25 * 1024 * 1024;
const FETCH_MS = 10_000;
/** No account: files of the server are everybody's. */
const INSTALLATION = 'installation';
/** No path: nothing outside of the folder has such a name. */
const FILE = /^file:([A-Za-z0-9][A-Za-z0-9._-]{0,127})$/;

export function openSounds(options: SoundsOptions): SoundLibrary {
  const { audioFiles, reach, dataDir, holdMusic, log } = options;
  const shelf = new SoundShelf({
    files: audioFiles,
    fetch: (source) => {
      const name = FILE.exec(source)?.[1];
      return name === undefined ? download(source, reach) : read(join(dataDir, 'sounds', name));
    },
  });
  // A slip in the setting is told at the start, and not by the first caller on hold.
  if (holdMusic?.startsWith('file:') === true)
    shelf.loop(INSTALLATION, holdMusic).catch((error: unknown) => {
      log.warn('sound.failed', { setting: 'CALLYARD_HOLD_MUSIC', error: toAppError(error) });
    });
  return { holdMusic, loop: (accountId, source) => shelf.loop(accountId, source) };
}

async function download(url: string, reach: Reach): Promise<Uint8Array<ArrayBuffer>> {
  const wanted = { ...reach, timeoutMs: FETCH_MS, maxBytes: MAX_BYTES };
  const { status, body } = await guardedFetch(url, wanted);
  if (status !== 200) throw new AppError('E_UNREACHABLE', `the server answered ${status}`);
  return new Uint8Array(body);
}

/** A file itself, no link to one. Errors: E_MEDIA, E_TOO_LARGE. */
async function read(path: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    await using file = await open(
      path,
      constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
    );
    const stat = await file.stat();
    if (!stat.isFile()) throw new AppError('E_MEDIA', 'the sound is no file');
    if (stat.size > MAX_BYTES) throw new AppError('E_TOO_LARGE', 'the sound file is too large');
    return new Uint8Array(await file.readFile());
  } catch (error) {
    throw toAppError(error, 'E_MEDIA');
  }
}
