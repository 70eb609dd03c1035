/** Reads lines out of one journal file, a piece at a time. */
import { open } from 'node:fs/promises';
import { decodeLines, type Line } from './journal-lines.ts';

const PIECE_BYTES = 256 * 1024;

/** Complete lines of `file` in [start, end), at most `limit`; each `end` counts from the start of the file. */
export async function readLines(
  file: string,
  start: number,
  end: number,
  limit = Number.POSITIVE_INFINITY,
): Promise<Line[]> {
  if (start >= end) return [];
  const handle = await open(file, 'r');
  try {
    const lines: Line[] = [];
    let size = PIECE_BYTES;
    for (let offset = start; offset < end && lines.length < limit;) {
      const piece = Buffer.allocUnsafe(Math.min(size, end - offset));
      const { bytesRead } = await handle.read(piece, 0, piece.length, offset);
      const found = decodeLines(piece.subarray(0, bytesRead), limit - lines.length);
      if (found.length === 0) {
        // One line is longer than the piece, or the file is shorter than it should be.
        if (offset + bytesRead >= end || bytesRead < piece.length) break;
        size *= 2;
        continue;
      }
      for (const { entry, end: lineEnd } of found) lines.push({ entry, end: offset + lineEnd });
      offset = lines.at(-1)?.end ?? end;
    }
    return lines;
  } finally {
    await handle.close();
  }
}
