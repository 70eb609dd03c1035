/** One reader's place in the journal, kept in `<data>/journal/<name>.cursor`. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { JournalEntry } from '#lib/call-events.ts';
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
  readonly log: Log;
};

export class JournalCursor {
  readonly name: string;
  readonly #file: string;
  readonly #source: Source;
  #position: Position;
  #pending = 0;
  #isSaved = true;

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

  /** The reader has dealt with the batch. If saving fails, a restart reads it again. */
  commit(batch: Batch): void {
    this.#position = batch.next;
    this.#pending = Math.max(0, this.#pending - batch.entries.length);
    this.#save();
    this.#source.committed();
  }

  /** Called by the journal. */
  noteAppend(): void {
    this.#pending++;
  }

  close(): void {
    if (!this.#isSaved) this.#save();
  }

  #save(): void {
    const partial = `${this.#file}.partial`;
    try {
      writeFileSync(partial, JSON.stringify(this.#position), { mode: 0o600 });
      renameSync(partial, this.#file);
      this.#isSaved = true;
    } catch (error) {
      if (this.#isSaved)
        this.#source.log.warn('journal.cursorNotSaved', {
          name: this.name,
          message: messageOf(error),
        });
      this.#isSaved = false;
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
