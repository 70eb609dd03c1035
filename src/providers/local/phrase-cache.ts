/** Utterances kept for reuse: in memory up to a bound, the fixed ones also on disk. */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, systemCodeOf } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type { Language, WordMark } from '../contract.ts';
import type { Phrase } from './phrase.ts';
import { decodeWav, encodeWav } from './wav.ts';

export type PhraseKey = {
  readonly text: string;
  readonly language: Language;
  readonly voice: string;
  /** Version of the voice and of how we use it: a change makes old entries unreachable. */
  readonly version: string;
};

export type PhraseCache = {
  get(key: PhraseKey): Phrase | undefined;
  /** Keeps it in memory; the least recently used go when the bound is passed. */
  put(key: PhraseKey, phrase: Phrase): void;
  /** From memory or disk; undefined when neither has it (or what the disk has is damaged). */
  load(key: PhraseKey): Promise<Phrase | undefined>;
  /** Keeps it in memory and on disk. A disk that refuses is logged, not fatal. */
  store(key: PhraseKey, phrase: Phrase): Promise<void>;
  readonly bytes: number;
};

export type PhraseCacheOptions = {
  /** Null: memory only. */
  readonly dir: string | null;
  readonly maxBytes: number;
  readonly log: Log;
};

export function createPhraseCache(options: PhraseCacheOptions): PhraseCache {
  const { dir, maxBytes, log } = options;
  const kept = new Map<string, Phrase>();
  let bytes = 0;

  const drop = (name: string): void => {
    bytes -= (kept.get(name)?.pcm.length ?? 0) * 2;
    kept.delete(name);
  };
  const put = (name: string, phrase: Phrase): void => {
    drop(name);
    kept.set(name, phrase);
    bytes += phrase.pcm.length * 2;
    for (const oldest of kept.keys()) {
      if (bytes <= maxBytes) break;
      drop(oldest);
    }
  };
  const get = (name: string): Phrase | undefined => {
    const phrase = kept.get(name);
    if (phrase === undefined) return undefined;
    kept.delete(name);
    kept.set(name, phrase);
    return phrase;
  };
  return {
    get: (key) => get(nameOf(key)),
    put: (key, phrase) => put(nameOf(key), phrase),
    async load(key) {
      const name = nameOf(key);
      const phrase =
        get(name) ?? (dir === null ? undefined : await readPhrase(dir, name, key, log));
      if (phrase !== undefined) put(name, phrase);
      return phrase;
    },
    async store(key, phrase) {
      const name = nameOf(key);
      put(name, phrase);
      if (dir !== null) await writePhrase(dir, name, key, phrase, log);
    },
    get bytes() {
      return bytes;
    },
  };
}

function nameOf(key: PhraseKey): string {
  const parts = [key.version, key.voice, key.language, key.text];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 40);
}

type PhraseFile = {
  readonly text: string;
  readonly marks: readonly WordMark[];
  readonly wav: string;
};

async function readPhrase(
  dir: string,
  name: string,
  key: PhraseKey,
  log: Log,
): Promise<Phrase | undefined> {
  const path = join(dir, `${name}.json`);
  try {
    const file = JSON.parse(await readFile(path, 'utf8')) as Partial<PhraseFile>;
    if (file.text !== key.text || !Array.isArray(file.marks) || typeof file.wav !== 'string') {
      throw new Error('not a phrase of this text');
    }
    return { pcm: decodeWav(Buffer.from(file.wav, 'base64'), path), marks: file.marks };
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') {
      log.warn('voice.cacheUnreadable', { path, reason: messageOf(error) });
    }
    return undefined;
  }
}

/** Written beside and renamed, so that a reader never sees half a file. */
async function writePhrase(
  dir: string,
  name: string,
  key: PhraseKey,
  phrase: Phrase,
  log: Log,
): Promise<void> {
  const path = join(dir, `${name}.json`);
  const partial = `${path}.${randomUUID()}.part`;
  const wav = encodeWav(phrase.pcm).toString('base64');
  const file: PhraseFile = { text: key.text, marks: phrase.marks, wav };
  try {
    await mkdir(dir, { recursive: true });
    await writeFile(partial, JSON.stringify(file));
    await rename(partial, path);
  } catch (error) {
    log.warn('voice.cacheUnwritable', { path, reason: messageOf(error) });
    await rm(partial, { force: true }).catch((thrown: unknown) =>
      log.debug('voice.cacheLitter', { path: partial, reason: messageOf(thrown) }),
    );
  }
}
