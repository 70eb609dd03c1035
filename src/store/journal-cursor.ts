/** One reader's place in the journal, kept in `<data>/journal/<name>.cursor`. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { JournalEntry } from '#lib/call-events.ts';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { messageOf, systemCodeOf } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';

export type Position = { readonly file: number; readonly offset: number };
/** Entries in the order of the journal, and the position after them. */
export type Batch = { readonly entries: readonly JournalEntry[]; readonly next: Position };

type Source = {
  clamp(position: Position | null): Position;
  countFrom(position: Position): Promise<number>;
  read(position: Position, limit: number): Promise<Batch>;
  committed(): void;
  readonly clock: Clock;
  readonly log: Log;
};

/** What was committed since is read again after a crash: readers know the ids they have had. */
const SAVE_EVERY_MS = 1_000;

export class JournalCursor {
  readonly name: string;
  readonly #file: string;
  readonly #source: Source;
  #position: Position;
  #pending = 0;
  #isSaved = true;
  #hasFailed = false;
  #savedAtMs = Number.NEGATIVE_INFINITY;
  #timer: TimerHandle | undefined;

  private constructor(name: string, file: string, source: Source, position: Position) {
    this.name = name;
    this.#file = file;
    this.#source = source;
    this.#position = position;
  }

  static async open(name: string, directory: string, source: Source): Promise<JournalCursor> {
    const file = path.join(directory, `${name}.cursor`);
    const cursor = new JournalCursor(name, file, source, source.clamp(load(file, source.log)));
    // Counts up to the sizes of this moment; the journal adds what is appended meanwhile.
    cursor.#pending = await source.countFrom(cursor.#position);
    return cursor;
  }

  get position(): Position {
    return this.#position;
  }

  /** Entries that were appended and not yet committed by this reader. */
  get pending(): number {
    return this.#pending;
  }

  /** The next entries, at most `limit`; none at the end. Reading moves nothing: `commit` does. */
  read(limit: number): Promise<Batch> {
    return this.#source.read(this.#position, limit);
  }

  /** The reader has dealt with the batch. What is not saved, now or soon, a restart reads again. */
  commit(batch: Batch): void {
    this.#position = batch.next;
    this.#pending = Math.max(0, this.#pending - batch.entries.length);
    this.#isSaved = false;
    const { clock } = this.#source;
    const waitMs = this.#savedAtMs + SAVE_EVERY_MS - clock.now();
    if (waitMs <= 0) this.#save();
    else this.#timer ??= clock.setTimer(() => this.#save(), waitMs);
    this.#source.committed();
  }

  /** Called by the journal. */
  noteAppend(): void {
    this.#pending++;
  }

  close(): void {
    this.#source.clock.clearTimer(this.#timer);
    if (!this.#isSaved) this.#save();
  }

  #save(): void {
    const { clock, log } = this.#source;
    clock.clearTimer(this.#timer);
    this.#timer = undefined;
    this.#savedAtMs = clock.now();
    const partial = `${this.#file}.partial`;
    try {
      writeFileSync(partial, JSON.stringify(this.#position), { mode: 0o600 });
      renameSync(partial, this.#file);
      this.#isSaved = true;
      this.#hasFailed = false;
    } catch (error) {
      if (!this.#hasFailed)
        log.warn('journal.cursorNotSaved', { name: this.name, message: messageOf(error) });
      this.#hasFailed = true;
    }
  }
}

function load(file: string, log: Log): Position | null {
  try {
    const { file: number, offset } = JSON.parse(readFileSync(file, 'utf8')) as Partial<Position>;
    if (Number.isSafeInteger(number) && Number.isSafeInteger(offset))
      return { file: number as number, offset: offset as number };
    log.warn('journal.cursorDamaged', { file });
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT')
      log.warn('journal.cursorDamaged', { file, message: messageOf(error) });
  }
  return null;
}
