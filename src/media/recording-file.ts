/**
 * Writes a recording's samples to disk in the background: bounded, positional, one write at a time. A slow disk loses
 * some (they are silent in the file), a full disk ends the recording; the call goes on either way.
 */
import { mkdir, open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { withDeadline } from '#lib/deadline.ts';
import { messageOf } from '#lib/errors.ts';
import type { Clock } from '#lib/clock.ts';
import type { RecordingSeal } from '#lib/sealed-audio.ts';
import { WAV_HEADER_BYTES, wavDurationMs } from '#lib/wav.ts';
import { recordingWriter, type RecordingHandle, type RecordingWriter } from './recording-writer.ts';
import type { RecordingResult } from './types.ts';

export type OpenRecording = (path: string) => Promise<RecordingHandle>;

export type RecordingFileOptions = {
  readonly path: string;
  /** Null writes a plain WAV. */
  readonly seal?: RecordingSeal | null;
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
  /** There is no recording, or finish() has said so: no file may stay. */
  #isDiscarded = false;
  #writer: RecordingWriter | undefined;

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

  /** Writes what is queued and closes the file. Null when nothing could be written; no file stays then. */
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
    if (!this.#isOpened || this.#isWorthless || this.#isDiscarded) {
      this.#isDiscarded = true;
      return null;
    }
    const { dataBytes, sha256 } = this.#writer ?? { dataBytes: 0, sha256: null };
    return {
      path: this.#options.path,
      durationMs: wavDurationMs(dataBytes),
      bytes: WAV_HEADER_BYTES + dataBytes,
      truncated: this.#truncated,
      sha256,
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
      this.#writer = recordingWriter(handle, this.#options.seal ?? null);
      await this.#writer.start();
      await this.#writeChunks(this.#writer);
    } catch (error) {
      this.#fail(error);
    }
    if (handle !== undefined) await this.#end(handle);
  }

  async #end(handle: RecordingHandle): Promise<void> {
    try {
      if (!this.#isWorthless) await this.#writer?.finish();
    } catch (error) {
      this.#fail(error);
      // A sealed file without its end is not readable; a WAV whose header is old still is.
      if ((this.#options.seal ?? null) !== null) this.#isDiscarded = true;
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

  /** No sample could be written. */
  get #isWorthless(): boolean {
    return this.#isFailed && (this.#writer?.dataBytes ?? 0) === 0;
  }

  async #writeChunks(writer: RecordingWriter): Promise<void> {
    for (;;) {
      const chunk = this.#queue[0];
      if (chunk === undefined) {
        if (this.#isEnding) return;
        const { promise, resolve } = Promise.withResolvers<void>();
        this.#wake = resolve;
        await promise;
        continue;
      }
      await writer.write(chunk.bytes.subarray(0, chunk.length), chunk.position);
      this.#queue.shift();
      this.#spare.push(chunk.bytes);
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
    truncate: (bytes) => file.truncate(bytes),
    close: () => file.close(),
    remove: () => rm(path, { force: true }),
  };
}
