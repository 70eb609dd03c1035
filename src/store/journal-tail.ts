/**
 * The newest lines of the journal, kept in memory: a reader that keeps up need not open a file for what was written a
 * moment ago. Bounded; who is further behind reads the files.
 */
import type { Batch, Position } from './journal-cursor.ts';
import { entryOf } from './journal-lines.ts';

type Kept = { readonly file: number; readonly start: number; readonly line: Buffer };

const MAX_LINES = 400;
const MAX_BYTES = 256 * 1024;
/** Lines that are gone are let go of so many at a time. */
const MAX_GONE = 100;

export class JournalTail {
  /** In the order of the journal, without a gap. Those before `#first` are gone. */
  #kept: Kept[] = [];
  #first = 0;
  #bytes = 0;

  /** A line that was written whole at `start`, as the next one of the journal. */
  add(file: number, start: number, line: Buffer): void {
    this.#kept.push({ file, start, line });
    this.#bytes += line.length;
    while (this.#kept.length - this.#first > MAX_LINES || this.#bytes > MAX_BYTES) {
      this.#bytes -= this.#kept[this.#first]?.line.length ?? 0;
      this.#first += 1;
    }
    if (this.#first < MAX_GONE) return;
    this.#kept = this.#kept.slice(this.#first);
    this.#first = 0;
  }

  /** What begins at `from`, at most `limit` entries of one file. Null: that is not here. */
  read(from: Position, limit: number): Batch | null {
    const at = this.#find(from);
    if (at < 0) return null;
    const found = this.#kept.slice(at, at + limit).filter(({ file }) => file === from.file);
    const last = found.at(-1) as Kept;
    return {
      entries: found.map(({ line }) => entryOf(line)),
      next: { file: last.file, offset: last.start + last.line.length },
    };
  }

  forget(): void {
    this.#kept = [];
    this.#first = 0;
    this.#bytes = 0;
  }

  #find({ file, offset }: Position): number {
    let [low, high] = [this.#first, this.#kept.length - 1];
    while (low <= high) {
      const middle = (low + high) >> 1;
      const kept = this.#kept[middle] as Kept;
      const order = kept.file - file || kept.start - offset;
      if (order === 0) return middle;
      if (order < 0) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }
}
