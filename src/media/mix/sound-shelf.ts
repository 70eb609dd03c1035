/**
 * Sounds that calls play in a loop (backgrounds, hold music), each in memory once for all calls, in shared memory that media
 * workers read without a copy. Bounded: what was used longest ago goes first. A call keeps what it plays.
 */
import { Worker } from 'node:worker_threads';
import { systemClock, type Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import type { AudioFiles } from './audio-file.ts';
import { BACKGROUND_NAMES, seamless } from './built-in-sounds.ts';
import { FRAME_SAMPLES, SAMPLE_RATE_HZ } from '../types.ts';

export type SoundShelfOptions = {
  readonly files: AudioFiles;
  /** The bytes of a WAV or MP3: `file:name` or a URL. Errors: AppError. */
  readonly fetch: (source: string) => Promise<Uint8Array<ArrayBuffer>>;
  readonly clock?: Clock;
  readonly maxBytes?: number;
};

/** Two hours of sound. */
const MAX_BYTES = 115_200_000;
const MAX_SAMPLES = 600 * SAMPLE_RATE_HZ;
const MAX_ENTRIES = 256;
/** A file may be changed where it is: it is read again then. One that cannot be had is not asked for again and again. */
const FRESH_MS = 15 * 60_000;
const FAILED_MS = 30_000;
const RENDER_MS = 20_000;
/** Whose files of the server are. */
const INSTALLATION = 'installation';

type Entry = {
  readonly sound: Promise<Int16Array>;
  bytes: number;
  /** Clock time until which it is used as it is. */
  freshUntilMs: number;
};

export class SoundShelf {
  readonly #options: SoundShelfOptions;
  readonly #clock: Clock;
  /** Used longest ago first. */
  readonly #entries = new Map<string, Entry>();

  constructor(options: SoundShelfOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /**
   * The sound as it goes round: `source` is the name of a built-in one, `file:name` or a URL. Errors: those of `fetch`;
   * E_MEDIA for what cannot be played or is longer than 10 min, E_TIMEOUT.
   */
  loop(owner: string, source: string): Promise<Int16Array> {
    const isShared = !/^https?:/.test(source);
    const key = isShared ? source : `${owner} ${source}`;
    const known = this.#entries.get(key);
    if (known !== undefined && this.#clock.now() < known.freshUntilMs) {
      this.#entries.delete(key);
      this.#entries.set(key, known);
      return known.sound;
    }
    return this.#begin(key, isShared ? INSTALLATION : owner, source);
  }

  /** Of all that is kept. */
  get bytes(): number {
    let sum = 0;
    for (const { bytes } of this.#entries.values()) sum += bytes;
    return sum;
  }

  #begin(key: string, owner: string, source: string): Promise<Int16Array> {
    const sound = this.#load(owner, source);
    const entry: Entry = { sound, bytes: 0, freshUntilMs: Number.POSITIVE_INFINITY };
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    sound.then(
      (pcm) => {
        const isBuiltIn = BACKGROUND_NAMES.some((name) => name === source);
        if (!isBuiltIn) entry.freshUntilMs = this.#clock.now() + FRESH_MS;
        entry.bytes = pcm.byteLength;
        this.#makeRoom();
      },
      () => {
        // Whoever asked is told; the next one may try again after a while.
        entry.freshUntilMs = this.#clock.now() + FAILED_MS;
      },
    );
    this.#makeRoom();
    return sound;
  }

  async #load(owner: string, source: string): Promise<Int16Array> {
    if (BACKGROUND_NAMES.some((name) => name === source)) return rendered(source);
    const { files, fetch } = this.#options;
    const loaded = await files.load(owner, () => fetch(source));
    if (!loaded.ok) throw new AppError('E_MEDIA', `the file cannot be played: ${loaded.fault}`);
    try {
      const { pcm } = loaded;
      if (pcm.length > MAX_SAMPLES || pcm.length < 2 * FRAME_SAMPLES)
        throw new AppError('E_MEDIA', 'a sound in a loop lasts 40 ms to 10 min');
      return seamless(pcm);
    } finally {
      loaded.release();
    }
  }

  #makeRoom(): void {
    const { maxBytes = MAX_BYTES } = this.#options;
    let bytes = this.bytes;
    for (const [key, entry] of this.#entries) {
      if (bytes <= maxBytes && this.#entries.size <= MAX_ENTRIES) return;
      bytes -= entry.bytes;
      this.#entries.delete(key);
    }
  }
}

/** In a thread of its own: it takes a fifth of a second. */
async function rendered(name: string): Promise<Int16Array> {
  const { promise, resolve, reject } = Promise.withResolvers<Int16Array>();
  const worker = new Worker(new URL('sound-worker.ts', import.meta.url), {
    name: 'sound',
    workerData: name,
  });
  worker.once('message', (pcm: Int16Array) => resolve(pcm));
  worker.once('error', (error) => reject(toAppError(error, 'E_MEDIA')));
  worker.once('exit', () => reject(new AppError('E_MEDIA', 'the thread ended without a sound')));
  try {
    return await withDeadline(promise, RENDER_MS, 'making a background');
  } finally {
    await worker.terminate();
  }
}
