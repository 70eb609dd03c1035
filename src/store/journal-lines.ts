/** The journal's lines on disk: CRC-32 in hex, a space, one JSON object, a line feed. */
import { crc32 } from 'node:zlib';
import type { JournalEntry } from '#lib/call-events.ts';

const SUM_CHARS = 8;
const LINE_FEED = 0x0a;

export type Line = {
  /** Null when the line is damaged: its checksum does not fit. */
  readonly entry: JournalEntry | null;
  /** Offset after its line feed. */
  readonly end: number;
};

export function encodeLine(entry: JournalEntry): Buffer {
  const json = JSON.stringify(entry);
  return Buffer.from(`${sumOf(json)} ${json}\n`);
}

function sumOf(json: string | Buffer): string {
  return crc32(json).toString(16).padStart(SUM_CHARS, '0');
}

/** The complete lines at the start of `bytes`; what follows the last line feed is left out. */
export function decodeLines(bytes: Buffer, limit = Number.POSITIVE_INFINITY): Line[] {
  const lines: Line[] = [];
  for (let start = 0; lines.length < limit;) {
    const feed = bytes.indexOf(LINE_FEED, start);
    if (feed < 0) break;
    lines.push({ entry: decodeLine(bytes.subarray(start, feed)), end: feed + 1 });
    start = feed + 1;
  }
  return lines;
}

/** Where the last whole and sound line ends: a writer that was cut off left everything after it. */
export function soundEnd(lines: readonly Line[]): number {
  return lines.findLast(({ entry }) => entry !== null)?.end ?? 0;
}

/** Of a line that nobody can have damaged. */
export function entryOf(line: Buffer): JournalEntry {
  return JSON.parse(line.toString('utf8', SUM_CHARS + 1)) as JournalEntry;
}

function decodeLine(line: Buffer): JournalEntry | null {
  const json = line.subarray(SUM_CHARS + 1);
  return line.toString('latin1', 0, SUM_CHARS) === sumOf(json) ? entryOf(line) : null;
}
