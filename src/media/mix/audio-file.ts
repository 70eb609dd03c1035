/**
 * Sound files for calls, bounded in every way: how many are fetched at a time, how many threads decode, how much sound is
 * in memory. A damaged file ends its thread and nothing else.
 */
import { Worker } from 'node:worker_threads';
import { systemClock, type Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import type { AudioFileFault, AudioFileResult } from './audio-file-decode.ts';
import { FairGate } from './audio-file-gate.ts';

/** Each has up to 25 MiB of file and 58 MB of sound. */
const LOADING = { atOnce: 8, waiting: 64, waitMs: 10_000 };
/** Each costs a processor for seconds and up to 200 MB. */
const DECODING = { atOnce: 2, waiting: LOADING.atOnce, waitMs: 60_000 };
const DECODE_MS = 20_000;
/** Sound that calls still need, of all accounts and of one: ten hours, and five. */
const MAX_HELD_BYTES = 576_000_000;
const MAX_OWNER_BYTES = MAX_HELD_BYTES / 2;

export type LoadedSound =
  /** `release`: nobody needs `pcm` any more. Idempotent. */
  | { readonly ok: true; readonly pcm: Int16Array; readonly release: () => void }
  | { readonly ok: false; readonly fault: AudioFileFault; readonly found: string | null };

export type AudioFiles = {
  /**
   * The file that `fetch` gives, as mono PCM at 8 kHz; its buffer is handed over and empty afterwards. `fetch` is called
   * when there is room. Fault `busy`: `owner`, or all together, have too much in work or in memory.
   * Errors: those of `fetch`; E_TIMEOUT (20 s of work); E_MEDIA when the thread broke.
   */
  load(owner: string, fetch: () => Promise<Uint8Array<ArrayBuffer>>): Promise<LoadedSound>;
};

export type AudioFilesOptions = {
  readonly clock?: Clock;
  readonly maxHeldBytes?: number;
  readonly maxOwnerBytes?: number;
};

const BUSY = { ok: false, fault: 'busy', found: null } as const;

export function createAudioFiles(options: AudioFilesOptions = {}): AudioFiles {
  const { clock = systemClock, maxHeldBytes = MAX_HELD_BYTES } = options;
  const { maxOwnerBytes = MAX_OWNER_BYTES } = options;
  const loading = new FairGate({ ...LOADING, clock });
  const decoding = new FairGate({ ...DECODING, clock });
  /** Bytes of sound by owner. */
  const held = new Map<string, number>();
  const hasRoom = (owner: string): boolean => {
    const all = [...held.values()].reduce((sum, bytes) => sum + bytes, 0);
    return all < maxHeldBytes && (held.get(owner) ?? 0) < maxOwnerBytes;
  };
  const hold = (owner: string, bytes: number): void => {
    const now = (held.get(owner) ?? 0) + bytes;
    if (now > 0) held.set(owner, now);
    else held.delete(owner);
  };
  const keep = (owner: string, pcm: Int16Array): LoadedSound => {
    let bytes = pcm.byteLength;
    hold(owner, bytes);
    const release = (): void => {
      hold(owner, -bytes);
      bytes = 0;
    };
    return { ok: true, pcm, release };
  };
  return {
    async load(owner, fetch) {
      if (!hasRoom(owner) || !(await loading.enter(owner))) return BUSY;
      try {
        const bytes = await fetch();
        if (!hasRoom(owner) || !(await decoding.enter(owner))) return BUSY;
        const result = await inThread(bytes).finally(() => decoding.leave(owner));
        return result.ok ? keep(owner, result.pcm) : result;
      } finally {
        loading.leave(owner);
      }
    },
  };
}

async function inThread(bytes: Uint8Array<ArrayBuffer>): Promise<AudioFileResult> {
  const { promise, resolve, reject } = Promise.withResolvers<AudioFileResult>();
  // A part of a larger buffer cannot be handed over.
  const own = bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice();
  const worker = new Worker(new URL('audio-file-worker.ts', import.meta.url), {
    name: 'audio-file',
    workerData: own,
    transferList: [own.buffer],
    resourceLimits: { maxOldGenerationSizeMb: 256 },
    ...{ stdout: true, stderr: true },
  });
  // The MP3 decoder has a line to say about every damaged piece.
  worker.stdout.resume();
  worker.stderr.resume();
  worker.once('message', (result: AudioFileResult) => resolve(result));
  worker.once('error', (error) => reject(toAppError(error, 'E_MEDIA')));
  worker.once('exit', () => reject(new AppError('E_MEDIA', 'the decoder ended without a result')));
  try {
    return await withDeadline(promise, DECODE_MS, 'decoding a sound file');
  } finally {
    await worker.terminate();
  }
}
