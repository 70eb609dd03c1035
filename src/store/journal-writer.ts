/** The writing end of the journal: one write(2) per line, fsync behind it, files that are rotated by size. */
import { close, closeSync, fsync, fsyncSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import path from 'node:path';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { AppError, messageOf } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';

/** write(2) as node:fs has it; tests pass one that fails. */
export type WriteBytes = (fd: number, bytes: Buffer, offset: number, length: number) => number;

export type WriterOptions = {
  readonly pathOf: (file: number) => string;
  readonly clock: Clock;
  readonly log: Log;
  readonly maxFileBytes: number;
  readonly write?: WriteBytes;
};

/** Half of the 100 ms that an entry may wait for its fsync; the other half is for the disk. */
const SYNC_AFTER_MS = 50;

export class JournalWriter {
  readonly #options: WriterOptions;
  readonly #write: WriteBytes;
  #file: number;
  #fd: number;
  #bytes: number;
  #isDirty = false;
  /** A failed write could not be cut off again: nothing more goes into this file. */
  #isSpoilt = false;
  #isSyncing = false;
  #isClosed = false;
  #timer: TimerHandle | undefined;

  constructor(options: WriterOptions, file: number, bytes: number) {
    this.#options = options;
    this.#write =
      options.write ?? ((fd, buffer, offset, length) => writeSync(fd, buffer, offset, length));
    this.#file = file;
    this.#bytes = bytes;
    this.#fd = openSync(options.pathOf(file), 'a', 0o600);
  }

  get file(): number {
    return this.#file;
  }

  /** Sound bytes in the current file. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Returns once the kernel has the whole line; throws (and leaves no part of it) when the disk refuses. */
  append(line: Buffer): void {
    if (this.#isClosed) throw new AppError('E_JOURNAL', 'the journal is closed');
    if (
      this.#isSpoilt ||
      (this.#bytes > 0 && this.#bytes + line.length > this.#options.maxFileBytes)
    )
      this.rotate();
    try {
      for (let done = 0; done < line.length;) {
        done += this.#write(this.#fd, line, done, line.length - done);
      }
    } catch (error) {
      this.#cutOff();
      throw error;
    }
    this.#bytes += line.length;
    this.#isDirty = true;
    this.#timer ??= this.#options.clock.setTimer(() => this.#sync(), SYNC_AFTER_MS);
  }

  /** Everything is on the disk when this returns; throws when the disk refuses, but is closed then too. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#options.clock.clearTimer(this.#timer);
    try {
      fsyncSync(this.#fd);
    } finally {
      closeSync(this.#fd);
    }
  }

  #sync(): void {
    this.#timer = undefined;
    if (this.#isClosed || !this.#isDirty || this.#isSyncing) return;
    this.#isDirty = false;
    this.#isSyncing = true;
    fsync(this.#fd, (error) => {
      this.#isSyncing = false;
      // Closing syncs by itself and says so when that fails.
      if (this.#isClosed) return;
      if (error !== null)
        this.#options.log.error('journal.syncFailed', { message: messageOf(error) });
      if (this.#isDirty)
        this.#timer ??= this.#options.clock.setTimer(() => this.#sync(), SYNC_AFTER_MS);
    });
  }

  /** Goes on in the next file. Throws when the disk refuses; the present one stays in use then. */
  rotate(): void {
    const next = openSync(this.#options.pathOf(this.#file + 1), 'ax', 0o600);
    const old = this.#fd;
    fsync(old, (failed) => {
      if (failed !== null)
        this.#options.log.error('journal.syncFailed', { message: messageOf(failed) });
      close(old);
    });
    this.#fd = next;
    this.#file++;
    this.#bytes = 0;
    this.#isSpoilt = false;
    // A new name is durable once its directory is.
    this.#syncDirectory();
  }

  #syncDirectory(): void {
    const directory = openSync(path.dirname(this.#options.pathOf(this.#file)), 'r');
    fsync(directory, (failed) => {
      if (failed !== null)
        this.#options.log.warn('journal.syncFailed', { message: messageOf(failed) });
      close(directory);
    });
  }

  #cutOff(): void {
    try {
      ftruncateSync(this.#fd, this.#bytes);
    } catch (error) {
      this.#isSpoilt = true;
      this.#options.log.error('journal.cutFailed', { message: messageOf(error) });
    }
  }
}
