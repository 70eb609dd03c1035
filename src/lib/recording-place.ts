/** Where recordings are: their names in the database (`uri`), and the files these stand for. */
import { isAbsolute, join, relative, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { AppError } from './errors.ts';
import type { RecordingSeal } from './sealed-audio.ts';

/** A recording that is about to begin. */
export type NewRecording = {
  /** Absolute. */
  readonly path: string;
  readonly uri: string;
  /** The key as it is kept: sealed by the master key. */
  readonly keyEnc: string;
  readonly seal: RecordingSeal;
};

export type RecordingPlace = {
  /** A new file's place: folders by day (UTC), so that none grows without bound. */
  newFile(name: string, wallMs: number): { readonly path: string; readonly uri: string };
  /** Absolute path; null for what is in an object store. Errors: E_MEDIA when it lies outside our folders. */
  pathOf(uri: string): string | null;
  /** The name of a local recording in an object store: its path below our folder, with `/`. */
  nameOf(uri: string): string;
  /** Folder of new recordings, absolute. */
  readonly folder: string;
  /** The `uri` of a file below `folder`. */
  uriOf(path: string): string;
};

const SUFFIX = '.cyr';
const OBJECT = /^s3:\/\//;

/** `folder` null: `recordings` in the data directory, with names relative to that; else names are `file:` URLs. */
export function recordingPlace(dataDir: string, folder: string | null): RecordingPlace {
  const root = resolve(dataDir);
  const base = folder === null ? join(root, 'recordings') : resolve(folder);
  const pathOf = (uri: string): string | null => {
    if (OBJECT.test(uri)) return null;
    const path = uri.startsWith('file:') ? fileURLToPath(uri) : resolve(root, uri);
    if (isBelow(base, path) || isBelow(root, path)) return path;
    throw new AppError('E_MEDIA', 'a recording lies outside the recordings folder');
  };
  const uriOf = (path: string): string =>
    folder === null ? relative(root, path) : pathToFileURL(path).href;
  return {
    folder: base,
    pathOf,
    uriOf,
    newFile(name, wallMs) {
      const day = new Date(wallMs).toISOString().slice(0, 10).split('-');
      const path = join(base, ...day, `${name}${SUFFIX}`);
      return { path, uri: uriOf(path) };
    },
    nameOf(uri) {
      const path = pathOf(uri);
      if (path === null)
        throw new AppError('E_INTERNAL', 'a stored recording has its name already');
      const below = relative(isBelow(base, path) ? base : root, path);
      return below.split(/[\\/]/).join('/');
    },
  };
}

export function isStoredObject(uri: string): boolean {
  return OBJECT.test(uri);
}

function isBelow(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== '' && !way.startsWith('..') && !isAbsolute(way);
}
