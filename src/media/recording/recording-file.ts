/**
 * Writes a recording to disk in the background: bounded, one write at a time, as much in each as there is. A disk that is
 * too slow or refuses costs what does not fit into memory meanwhile (silence in the file), and is tried again as long as
 * the call lasts; the call goes on either way.
 */
import { mkdir, open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { backoffMs } from '#lib/backoff.ts';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { messageOf } from '#lib/errors.ts';
import type { RecordingSeal } from '#lib/sealed-audio.ts';
import { openSidesEncoder, type OpenSidesEncoder } from './opus-sides.ts';
import { RecordingRoom } from './recording-room.ts';
import { recordingWriter, type RecordingHandle, type RecordingWriter } from './recording-writer.ts';
import type { RecordingResult } from '../types.ts';

export type OpenRecording = (path: string) => Promise<RecordingHandle>;

export type RecordingFileOptions = {
  readonly path: string;
  /** Null writes a plain WAV. */
  readonly seal?: RecordingSeal | null;
  readonly clock: Clock;
  readonly open?: OpenRecording;
  /** Of Ogg/Opus; default: encodes on this thread. */
  readonly openEncoder?: OpenSidesEncoder;
  /** Shared with other recordings; default: none is. */
  readonly room?: RecordingRoom;
  /** Told once, when the disk refuses or is too slow. */
  readonly onFailed: (message: string) => void;
};

type Chunk = {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly position: number;
  readonly length: number;
};

/** Two writes of a disk that takes five seconds for each. */
const CLOSE_TIMEOUT_MS = 12_000;
/** Between tries on a disk that refuses. */
const RETRY = { firstMs: 500, maxMs: 2_000 };
/** Silence is added in pieces of 2 s, so that a long gap needs no more memory than sound does. */
const SILENCE = new Uint8Array(65_536);
const MAX_SPARE = 4;

export class RecordingFile {
  readonly #options: RecordingFileOptions;
  readonly #room: RecordingRoom;
  readonly #queue: Chunk[] = [];
  readonly #spare: Uint8Array<ArrayBuffer>[] = [];
  readonly #work: Promise<void>;
  /** Bytes of samples that are queued or being written. */
  #heldBytes = 0;
  #droppedBytes = 0;
  /** Data position of what is written next. */
  #position = 0;
  #wake: (() => void) | undefined;
  #isEnding = false;
  /** The end takes too long; what is on disk by now is told, and closed when the disk comes back. */
  #isLate = false;
  /** finish() has said that there is no recording: no file may stay. */
  #isDiscarded = false;
  #truncated = false;
  #handle: RecordingHandle | undefined;
  #writer: RecordingWriter | undefined;
  #isTold = false;

  constructor(options: RecordingFileOptions) {
    this.#options = options;
    this.#room = options.room ?? new RecordingRoom();
    this.#room.enter();
    this.#work = this.#run();
  }

  /** Something is missing in the file: the disk was too slow, or refused. */
  get truncated(): boolean {
    return this.#truncated;
  }

  /** Bytes of samples that were lost. */
  get droppedBytes(): number {
    return this.#droppedBytes;
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
    if (!this.#room.take(this.#heldBytes, length)) {
      this.#droppedBytes += length;
      this.#truncated = true;
      this.#tellFailed('the disk is too slow, part of the recording is lost');
      return bytes;
    }
    this.#heldBytes += length;
    this.#queue.push({ bytes, position, length });
    this.#wake?.();
    return this.#spare.pop() ?? new Uint8Array(bytes.byteLength);
  }

  /** Writes what is queued and closes the file. Null when nothing could be written; no file stays then. */
  async finish(): Promise<RecordingResult | null> {
    this.#isEnding = true;
    this.#wake?.();
    const { clock, path } = this.#options;
    try {
      await withDeadline(this.#work, CLOSE_TIMEOUT_MS, 'closing the recording', clock);
    } catch (error) {
      this.#isLate = true;
      this.#fail(error);
    }
    const writer = this.#writer;
    if (writer === undefined || this.#isWorthless(writer)) {
      this.#isDiscarded = true;
      return null;
    }
    const { bytes, durationMs, sha256 } = writer;
    return { path, durationMs, bytes, truncated: this.#truncated, sha256 };
  }

  #tellFailed(message: string): void {
    if (this.#isTold) return;
    this.#isTold = true;
    this.#options.onFailed(message);
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const isOpen = await this.#insist(() => this.#open());
    if (isOpen) await this.#writeChunks();
    this.#dropQueue();
    await this.#end();
    this.#writer?.close();
    this.#room.leave();
  }

  async #open(): Promise<void> {
    const { path, seal = null, open: openFile = openRecordingFile, openEncoder } = this.#options;
    this.#handle ??= await openFile(path);
    this.#writer ??= recordingWriter(this.#handle, seal, openEncoder ?? openSidesEncoder);
    await this.#writer.flush();
  }

  async #writeChunks(): Promise<void> {
    for (;;) {
      if (this.#queue.length === 0) {
        if (this.#isEnding) return;
        const { promise, resolve } = Promise.withResolvers<void>();
        this.#wake = resolve;
        await promise;
        continue;
      }
      const batch = this.#queue.splice(0);
      const isWritten = await this.#writeBatch(batch);
      for (const { bytes, length } of batch) {
        this.#heldBytes -= length;
        if (isWritten) this.#room.giveBack(length);
        else this.#room.lose(length);
        if (this.#spare.length < MAX_SPARE) this.#spare.push(bytes);
      }
      if (isWritten) continue;
      this.#truncated = true;
      return;
    }
  }

  /** False when the call is over, and the disk still refuses. */
  async #writeBatch(batch: readonly Chunk[]): Promise<boolean> {
    const writer = this.#writer as RecordingWriter;
    const add = (samples: Uint8Array) => this.#insist(() => writer.add(samples));
    const flush = () => this.#insist(() => writer.flush());
    for (const { bytes, position, length } of batch) {
      while (this.#position < position) {
        const gap = Math.min(SILENCE.length, position - this.#position);
        if (!(await add(SILENCE.subarray(0, gap))) || !(await flush())) return false;
        this.#position += gap;
      }
      if (!(await add(bytes.subarray(0, length)))) return false;
      this.#position += length;
    }
    return flush();
  }

  /** Tries again until it works; false when the call is over, and a second try has failed too. */
  async #insist(step: () => Promise<void>): Promise<boolean> {
    for (let tries = 1; ; tries++) {
      const wasEnding = this.#isEnding;
      try {
        await step();
        return true;
      } catch (error) {
        this.#tellFailed(messageOf(error));
        if (wasEnding && tries > 1) return false;
      }
      await this.#pause(backoffMs(tries, RETRY));
    }
  }

  /** Until the time is over, or the call. */
  async #pause(ms: number): Promise<void> {
    if (this.#isEnding) return;
    const { clock } = this.#options;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer: TimerHandle = clock.setTimer(resolve, ms);
    this.#wake = () => {
      if (this.#isEnding) resolve();
    };
    await promise;
    clock.clearTimer(timer);
  }

  async #end(): Promise<void> {
    const handle = this.#handle;
    if (handle === undefined) return;
    const writer = this.#writer;
    try {
      await writer?.finish();
    } catch (error) {
      this.#fail(error);
    }
    try {
      await handle.close();
    } catch (error) {
      this.#fail(error);
    }
    if (writer !== undefined && !this.#isDiscarded && !this.#isWorthless(writer)) return;
    try {
      await handle.remove();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** It cannot be read, or nothing is in it because all was lost. */
  #isWorthless(writer: RecordingWriter): boolean {
    const isReadable = writer.isReadable || this.#isLate;
    return !isReadable || (this.#truncated && writer.isEmpty);
  }

  #dropQueue(): void {
    for (const { length } of this.#queue.splice(0)) {
      this.#heldBytes -= length;
      this.#room.lose(length);
      this.#droppedBytes += length;
      this.#truncated = true;
    }
  }

  #fail(error: unknown): void {
    this.#truncated = true;
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
