/** Decodes sound files in short-lived threads: a damaged one ends its thread and nothing else. */
import { Worker } from 'node:worker_threads';
import { withDeadline } from '#lib/deadline.ts';
import { AppError, toAppError } from '#lib/errors.ts';
import type { AudioFileResult } from './audio-file-decode.ts';

/** Each costs a processor for seconds and up to 200 MB. */
const MAX_AT_ONCE = 2;
const MAX_WAITING = 16;
const DECODE_MS = 20_000;

export type AudioFiles = {
  /**
   * Mono PCM at 8 kHz. `bytes` is handed over: it is empty afterwards. Fault `busy`: too many wait already.
   * Errors: E_TIMEOUT (20 s of work), E_MEDIA when the thread broke.
   */
  decode(bytes: Uint8Array<ArrayBuffer>): Promise<AudioFileResult>;
};

export function createAudioFiles(): AudioFiles {
  let running = 0;
  const waiting: (() => void)[] = [];
  /** The place goes to who waits longest. */
  const free = (): void => {
    const next = waiting.shift();
    if (next === undefined) running--;
    else next();
  };
  return {
    async decode(bytes) {
      if (running >= MAX_AT_ONCE) {
        if (waiting.length >= MAX_WAITING) return { ok: false, fault: 'busy', found: null };
        await new Promise<void>((resolve) => waiting.push(resolve));
      } else running++;
      try {
        return await inThread(bytes);
      } finally {
        free();
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
  });
  worker.once('message', (result: AudioFileResult) => resolve(result));
  worker.once('error', (error) => reject(toAppError(error, 'E_MEDIA')));
  worker.once('exit', () => reject(new AppError('E_MEDIA', 'the decoder ended without a result')));
  try {
    return await withDeadline(promise, DECODE_MS, 'decoding a sound file');
  } finally {
    await worker.terminate();
  }
}
