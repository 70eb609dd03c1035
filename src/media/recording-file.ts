/**
 * Writes a recording's chunks to disk in the background: bounded, positional, one write at a time. A slow disk loses
 * chunks (they stay silent in the file), a full disk ends the recording; the call goes on either way.
 */
import { mkdir, open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { withDeadline } from '#lib/deadline.ts';
import { messageOf } from '#lib/errors.ts';
import type { Clock } from '#lib/clock.ts';
import { WAV_HEADER_BYTES, wavDurationMs, wavHeader } from './wav.ts';
import type { RecordingResult } from './types.ts';

/** The part of a file handle that is used; tests bring their own. */
export type RecordingHandle = {
  /** Writes all of `bytes` at `position` or rejects. */
  write(bytes: Uint8Array, position: number): Promise<void>;
  close(): Promise<void>;
  /** Removes the file; comes after close(). */
  remove(): Promise<void>;
};

export type OpenRecording = (path: string) => Promise<RecordingHandle>;

export type RecordingFileOptions = {
  readonly path: string;
  readonly clock: Clock;
  readonly open?: OpenRecording;
  /** Told once, when something could not be written. */
  readonly onFailed: (message: string) => void;
};

type Chunk = {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly position: number;
  readonly length: number;
};

/** 16 KiB chunks hold half a second: four seconds of a stuck disk are survived. */
const MAX_QUEUED = 8;
const CLOSE_TIMEOUT_MS = 5000;

export class RecordingFile {
  readonly #options: RecordingFileOptions;
  readonly #queue: Chunk[] = [];
  readonly #spare: Uint8Array<ArrayBuffer>[] = [];
  readonly #work: Promise<void>;
  #wake: (() => void) | undefined;
  #isEnding = false;
  #isFailed = false;
  #isOpened = false;
  #truncated = false;
  /** finish() has said that there is no recording, so none may stay. */
  #isDiscarded = false;
  #writtenEnd = 0;

  constructor(options: RecordingFileOptions) {
    this.#options = options;
    this.#work = this.#run();
  }

  /** Chunks that were lost because the disk was too slow or full. */
  get truncated(): boolean {
    return this.#truncated;
  }

  /**
   * Queues the first `length` bytes of `bytes` for data position `position` and returns a buffer of the same size to go
   * on with. Takes the buffer over unless it is the one returned.
   */
  append(
    bytes: Uint8Array<ArrayBuffer>,
    position: number,
    length: number,
  ): Uint8Array<ArrayBuffer> {
    if (this.#isFailed || this.#queue.length >= MAX_QUEUED) {
      this.#truncated = true;
      if (!this.#isFailed) this.#tellFailed('the disk is too slow, part of the recording is lost');
      return bytes;
    }
    this.#queue.push({ bytes, position, length });
    this.#wake?.();
    return this.#spare.pop() ?? new Uint8Array(bytes.byteLength);
  }

  /** Writes what is queued, then the header. Null when nothing could be written; no file stays then. */
  async finish(): Promise<RecordingResult | null> {
    this.#isEnding = true;
    this.#wake?.();
    try {
      await withDeadline(
        this.#work,
        CLOSE_TIMEOUT_MS,
        'closing the recording',
        this.#options.clock,
      );
    } catch (error) {
      this.#fail(error);
    }
    if (!this.#isOpened || this.#isWorthless) {
      this.#isDiscarded = true;
      return null;
    }
    return {
      path: this.#options.path,
      durationMs: wavDurationMs(this.#writtenEnd),
      bytes: WAV_HEADER_BYTES + this.#writtenEnd,
      truncated: this.#truncated,
    };
  }

  #told = false;

  #tellFailed(message: string): void {
    if (this.#told) return;
    this.#told = true;
    this.#options.onFailed(message);
  }

  async #run(): Promise<void> {
    let handle: RecordingHandle | undefined;
    try {
      handle = await (this.#options.open ?? openRecordingFile)(this.#options.path);
      this.#isOpened = true;
      await handle.write(wavHeader(0), 0);
      await this.#writeChunks(handle);
    } catch (error) {
      this.#fail(error);
    }
    if (handle !== undefined) await this.#end(handle);
  }

  async #end(handle: RecordingHandle): Promise<void> {
    try {
      if (!this.#isWorthless) await handle.write(wavHeader(this.#writtenEnd), 0);
    } catch (error) {
      this.#fail(error);
    }
    try {
      await handle.close();
    } catch (error) {
      this.#fail(error);
    }
    if (!this.#isDiscarded && !this.#isWorthless) return;
    try {
      await handle.remove();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Nothing but a header could be written. */
  get #isWorthless(): boolean {
    return this.#isFailed && this.#writtenEnd === 0;
  }

  async #writeChunks(handle: RecordingHandle): Promise<void> {
    for (;;) {
      const chunk = this.#queue[0];
      if (chunk === undefined) {
        if (this.#isEnding) return;
        const { promise, resolve } = Promise.withResolvers<void>();
        this.#wake = resolve;
        await promise;
        continue;
      }
      await handle.write(chunk.bytes.subarray(0, chunk.length), WAV_HEADER_BYTES + chunk.position);
      this.#queue.shift();
      this.#spare.push(chunk.bytes);
      this.#writtenEnd = Math.max(this.#writtenEnd, chunk.position + chunk.length);
    }
  }

  #fail(error: unknown): void {
    this.#isFailed = true;
    this.#truncated = true;
    this.#queue.length = 0;
    this.#tellFailed(messageOf(error));
  }
}

/** Creates the file (0600: it holds voices) and the folders above it. */
async function openRecordingFile(path: string): Promise<RecordingHandle> {
  await mkdir(dirname(path), { recursive: true });
  const file = await open(path, 'w', 0o600);
  return {
    write: async (bytes, position) => {
      let done = 0;
      while (done < bytes.length) {
        const { bytesWritten } = await file.write(
          bytes,
          done,
          bytes.length - done,
          position + done,
        );
        done += bytesWritten;
      }
    },
    close: () => file.close(),
    remove: () => rm(path, { force: true }),
  };
}
