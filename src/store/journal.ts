/**
 * The node's append-only journal: `<data>/journal/<number>.jsonl`. An entry is with the kernel when `append` returns and
 * on the disk within 100 ms. Readers have cursors of their own; a file goes when all have passed it and no call that
 * began in it is still live.
 */
import { mkdir, readFile, readdir, truncate, unlink } from 'node:fs/promises';
import path from 'node:path';
import { backoffMs } from '#lib/backoff.ts';
import { BoundedQueue } from '#lib/bounded-queue.ts';
import { isCallEntry, type JournalEntry } from '#lib/call-events.ts';
import { systemClock, type Clock, type TimerHandle } from '#lib/clock.ts';
import { AppError, messageOf, systemCodeOf } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import { JournalCursor, type Batch, type Position } from './journal-cursor.ts';
import { decodeLines, encodeLine, soundEnd } from './journal-lines.ts';
import { readLines } from './journal-reader.ts';
import { JournalTail } from './journal-tail.ts';
import { JournalWriter, type WriteBytes } from './journal-writer.ts';
import { LiveCalls, type LiveCall } from './live-calls.ts';

export type JournalOptions = {
  readonly directory: string;
  readonly log: Log;
  readonly clock?: Clock;
  readonly maxFileBytes?: number;
  /** Entries kept in memory while the disk refuses. */
  readonly maxQueued?: number;
  readonly write?: WriteBytes;
};

const MAX_FILE_BYTES = 8 * 1024 * 1024;
const MAX_QUEUED = 20_000;
const NAME = /^(\d{10})\.jsonl$/;
const READ_ALL_BATCH = 500;

/** Sound bytes and entries of one file. */
type FileState = { bytes: number; entries: number };

export class Journal {
  readonly #options: JournalOptions;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #files: Map<number, FileState>;
  readonly #live: LiveCalls;
  readonly #writer: JournalWriter;
  readonly #tail = new JournalTail();
  readonly #queue: BoundedQueue<JournalEntry>;
  readonly #cursors = new Map<string, JournalCursor>();
  readonly #listeners = new Set<(entry: JournalEntry) => void>();
  #written = 0;
  #failures = 0;
  #retry: TimerHandle | undefined;
  #isClosed = false;

  private constructor(options: JournalOptions, files: Map<number, FileState>, live: LiveCalls) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#log = options.log;
    this.#files = files;
    this.#live = live;
    this.#queue = new BoundedQueue(options.maxQueued ?? MAX_QUEUED, 'newest');
    const last = Math.max(1, ...files.keys());
    if (!files.has(last)) files.set(last, { bytes: 0, entries: 0 });
    this.#writer = new JournalWriter(
      {
        pathOf: (file) => this.#pathOf(file),
        clock: this.#clock,
        log: options.log,
        maxFileBytes: options.maxFileBytes ?? MAX_FILE_BYTES,
        ...(options.write === undefined ? {} : { write: options.write }),
      },
      last,
      this.#state(last).bytes,
    );
  }

  /** Reads what is there and cuts a torn tail. Errors: E_JOURNAL when the directory cannot be used. */
  static async open(options: JournalOptions): Promise<Journal> {
    const { directory, log } = options;
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      const files = new Map<number, FileState>();
      const live = new LiveCalls();
      const numbers = await listFiles(directory);
      for (const number of numbers) {
        const file = path.join(directory, nameOf(number));
        files.set(number, await inspect(file, number, live, number === numbers.at(-1), log));
      }
      return new Journal(options, files, live);
    } catch (error) {
      throw new AppError(
        'E_JOURNAL',
        `the journal in ${directory} cannot be used: ${messageOf(error)}`,
        {
          cause: error,
        },
      );
    }
  }

  /** Never throws and never waits: when the disk refuses, the entry is kept in memory and written later. */
  append(entry: JournalEntry): void {
    if (this.#isClosed) {
      this.#log.error('journal.closed', { type: entry.event.type, callId: entry.event.call_id });
      return;
    }
    if (this.#queue.length === 0 && this.#tryWrite(entry)) return;
    if (!this.#queue.push(entry) && this.#queue.dropped % 1_000 === 1) {
      this.#log.error('journal.dropped', { type: entry.event.type, dropped: this.#queue.dropped });
    }
  }

  /** A reader's own place in the journal, kept over restarts. The first opening starts at the oldest entry. */
  async cursor(name: string): Promise<JournalCursor> {
    const known = this.#cursors.get(name);
    if (known !== undefined) return known;
    const before = this.#written;
    const cursor = await JournalCursor.open(name, this.#options.directory, {
      clamp: (position) => this.#clamp(position),
      countFrom: (position) => this.#countFrom(position),
      read: (position, limit) => this.#read(position, limit),
      committed: () => this.#dropOldFiles(),
      clock: this.#clock,
      log: this.#log,
    });
    for (let missed = before; missed < this.#written; missed++) cursor.noteAppend();
    this.#cursors.set(name, cursor);
    return cursor;
  }

  /**
   * Begins a new file, so that what every reader has had goes, however little it is: keys that were destroyed in the
   * database must not live on here. Entries of live calls stay. Never throws.
   */
  turnOver(): void {
    if (this.#isClosed) return;
    try {
      if (this.#writer.bytes > 0) this.#writer.rotate();
      this.#tail.forget();
    } catch (error) {
      this.#log.warn('journal.notTurnedOver', { message: messageOf(error) });
      return;
    }
    const { file, bytes } = this.#writer;
    if (!this.#files.has(file)) this.#files.set(file, { bytes, entries: 0 });
    this.#dropOldFiles((position) =>
      position.offset >= this.#state(position.file).bytes
        ? Math.min(position.file + 1, file)
        : position.file,
    );
  }

  /** Every entry still in the journal, oldest first. */
  async *readAll(): AsyncGenerator<JournalEntry> {
    let position = this.#clamp(null);
    for (;;) {
      const batch = await this.#read(position, READ_ALL_BATCH);
      if (batch.entries.length === 0) return;
      yield* batch.entries;
      position = batch.next;
    }
  }

  /** Calls without their final event, or with a recording that has not ended. */
  liveCalls(): LiveCall[] {
    return this.#live.list();
  }

  /** Told each entry once it is written, in order; must return at once and never throw. Returns the way to stop. */
  onAppend(listener: (entry: JournalEntry) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** False while the disk refuses. */
  get isHealthy(): boolean {
    return this.#failures === 0;
  }

  /** Entries in memory that wait for the disk, and those lost because there were too many. */
  get backlog(): { readonly queued: number; readonly dropped: number } {
    return { queued: this.#queue.length, dropped: this.#queue.dropped };
  }

  /** Writes what waits in memory if the disk lets it, and syncs; rejects when that fails, closed all the same. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#flushQueue();
    this.#clock.clearTimer(this.#retry);
    if (this.#queue.length > 0) this.#log.error('journal.lost', { entries: this.#queue.length });
    this.#listeners.clear();
    for (const cursor of this.#cursors.values()) cursor.close();
    try {
      this.#writer.close();
    } finally {
      await this.#removals;
    }
  }

  #tryWrite(entry: JournalEntry): boolean {
    let line: Buffer;
    try {
      line = encodeLine(entry);
      this.#writer.append(line);
    } catch (error) {
      this.#failed(error);
      return false;
    }
    this.#written++;
    const { file, bytes } = this.#writer;
    this.#tail.add(file, bytes - line.length, line);
    const state = this.#files.get(file) ?? { bytes: 0, entries: 0 };
    this.#files.set(file, { bytes, entries: state.entries + 1 });
    if (isCallEntry(entry)) this.#live.note(entry, file);
    for (const cursor of this.#cursors.values()) cursor.noteAppend();
    for (const listener of this.#listeners) listener(entry);
    return true;
  }

  /** Reported once per outage, not once per entry. */
  #failed(error: unknown): void {
    this.#failures++;
    if (this.#failures === 1) {
      const fault = new AppError(
        'E_JOURNAL',
        `the journal cannot be written: ${messageOf(error)}`,
        {
          cause: error,
        },
      );
      this.#log.error('journal.failed', { error: fault, directory: this.#options.directory });
    }
    if (this.#isClosed) return;
    const waitMs = backoffMs(this.#failures, { firstMs: 100, maxMs: 2_000 });
    this.#clock.clearTimer(this.#retry);
    this.#retry = this.#clock.setTimer(() => this.#flushQueue(), waitMs);
  }

  #flushQueue(): void {
    const waiting = this.#queue.drain();
    for (const [index, entry] of waiting.entries()) {
      if (this.#tryWrite(entry)) continue;
      for (const rest of waiting.slice(index)) this.#queue.push(rest);
      return;
    }
    if (this.#failures > 0) this.#log.info('journal.recovered', { entries: waiting.length });
    this.#failures = 0;
  }

  #pathOf(file: number): string {
    return path.join(this.#options.directory, nameOf(file));
  }

  #state(file: number): FileState {
    return this.#files.get(file) ?? { bytes: 0, entries: 0 };
  }

  /** A position that exists: after a power loss a cursor may be ahead of the journal. */
  #clamp(position: Position | null): Position {
    const first = Math.min(...this.#files.keys());
    const last = this.#writer.file;
    if (position === null || position.file < first) return { file: first, offset: 0 };
    if (position.file > last) return { file: last, offset: this.#state(last).bytes };
    return {
      file: position.file,
      offset: Math.min(position.offset, this.#state(position.file).bytes),
    };
  }

  async #countFrom(position: Position): Promise<number> {
    let count = 0;
    for (const [file, state] of this.#files) if (file > position.file) count += state.entries;
    const { bytes } = this.#state(position.file);
    const lines = await readLines(this.#pathOf(position.file), position.offset, bytes);
    return count + lines.filter(({ entry }) => entry !== null).length;
  }

  async #read(from: Position, limit: number): Promise<Batch> {
    const newest = this.#tail.read(from, limit);
    if (newest !== null) return newest;
    let position = from;
    for (;;) {
      const { bytes } = this.#state(position.file);
      const lines =
        position.offset < bytes
          ? await readLines(this.#pathOf(position.file), position.offset, bytes, limit)
          : [];
      const entries = lines.flatMap(({ entry }) => (entry === null ? [] : [entry]));
      // Nothing where something should be: the file was cut by someone else, and what is gone is skipped.
      const next = {
        file: position.file,
        offset: lines.at(-1)?.end ?? Math.max(position.offset, bytes),
      };
      const isLast = position.file >= this.#writer.file;
      if (entries.length > 0 || (isLast && next.offset >= this.#state(next.file).bytes)) {
        return { entries, next };
      }
      position = next.offset < bytes || isLast ? next : { file: position.file + 1, offset: 0 };
    }
  }

  #removals: Promise<void> = Promise.resolve();

  /** `neededFrom`: the first file that a reader at this position still needs. */
  #dropOldFiles(neededFrom = (position: Position): number => position.file): void {
    let keep = Math.min(this.#writer.file, this.#live.oldestFile ?? this.#writer.file);
    for (const { position } of this.#cursors.values()) keep = Math.min(keep, neededFrom(position));
    const old = [...this.#files.keys()].filter((file) => file < keep);
    for (const file of old) this.#files.delete(file);
    if (old.length > 0) this.#removals = this.#removals.then(() => this.#remove(old));
  }

  async #remove(files: readonly number[]): Promise<void> {
    for (const file of files) {
      try {
        await unlink(this.#pathOf(file));
      } catch (error) {
        // It is read again after a restart, which does no harm: every consumer knows the ids it has had.
        this.#log.warn('journal.notRemoved', { file, message: messageOf(error) });
      }
    }
  }
}

function nameOf(file: number): string {
  return `${String(file).padStart(10, '0')}.jsonl`;
}

async function listFiles(directory: string): Promise<number[]> {
  const names = await readdir(directory);
  const numbers = names.flatMap((name) => NAME.exec(name)?.[1] ?? []).map(Number);
  return numbers.sort((a, b) => a - b);
}

async function inspect(
  file: string,
  number: number,
  live: LiveCalls,
  isLast: boolean,
  log: Log,
): Promise<FileState> {
  const content = await readFile(file);
  const lines = decodeLines(content);
  const bytes = soundEnd(lines);
  let entries = 0;
  let damaged = 0;
  for (const { entry, end } of lines) {
    if (entry === null) damaged += end < bytes ? 1 : 0;
    else {
      entries++;
      if (isCallEntry(entry)) live.note(entry, number);
    }
  }
  if (damaged > 0) log.error('journal.damaged', { file: number, lines: damaged });
  if (isLast && bytes < content.length) {
    log.warn('journal.tailCut', { file: number, bytes: content.length - bytes });
    await truncate(file, bytes).catch((error: unknown) => {
      if (systemCodeOf(error) !== 'ENOENT') throw error;
    });
  }
  return { bytes, entries };
}
