/** The rows of a CSV text (RFC 4180), read piece by piece: what is no row costs its own line and none behind it. */
import { isUtf8 } from 'node:buffer';
import { CsvError, parse } from 'csv-parse/sync';
import { invalid } from './problem.ts';

export type CsvLine = {
  /** On which the row begins, from 1. */
  readonly line: number;
  /** Without the space around; null for what cannot be read. */
  readonly cells: readonly string[] | null;
};

/** One row as it stands in the file. */
type Piece = { readonly line: number; readonly text: string };

/** Lines that are read at one go: some milliseconds. */
const BLOCK = 500;
/** A cell that goes on for longer than this is a quote that does not end. */
const MAX_ROW_LINES = 50;

/** Errors: VALIDATION_FAILED for what is not UTF-8. */
export function csvText(body: Buffer): string {
  if (!isUtf8(body)) throw invalid('', 'utf8');
  return body.toString('utf8').replace(/^\uFEFF/, '');
}

/** Rows in blocks, so that whoever reads a long table can let others have a turn; empty lines are left out. */
export function* csvBlocks(text: string): Generator<readonly CsvLine[]> {
  let block: Piece[] = [];
  for (const piece of piecesOf(text)) {
    if (block.push(piece) < BLOCK) continue;
    yield readBlock(block);
    block = [];
  }
  if (block.length > 0) yield readBlock(block);
}

function* piecesOf(text: string): Generator<Piece> {
  const lineEnd = text.includes('\n') ? '\n' : '\r';
  for (let offset = 0, line = 1; offset < text.length;) {
    const { end, lines } = endOfRow(text, offset, lineEnd);
    const row = text.slice(offset, end);
    if (row.trim() !== '') yield { line, text: row };
    line += lines;
    offset = end + 1;
  }
}

/** A row ends with the first line on which every quote has its other half. */
function endOfRow(
  text: string,
  offset: number,
  lineEnd: string,
): { readonly end: number; readonly lines: number } {
  const endFrom = (from: number): number => {
    const found = text.indexOf(lineEnd, from);
    return found < 0 ? text.length : found;
  };
  const first = endFrom(offset);
  let quotes = 0;
  for (let lines = 1, from = offset; lines <= MAX_ROW_LINES && from <= text.length; lines++) {
    const end = endFrom(from);
    quotes += quotesIn(text.slice(from, end));
    if (quotes % 2 === 0) return { end, lines };
    from = end + 1;
  }
  return { end: first, lines: 1 };
}

function quotesIn(line: string): number {
  let count = 0;
  for (let at = line.indexOf('"'); at >= 0; at = line.indexOf('"', at + 1)) count++;
  return count;
}

/** All at one go; where one row is faulty each by itself, or it would spoil those behind it. */
function readBlock(block: readonly Piece[]): CsvLine[] {
  const rows = parseRows(block.map(({ text }) => text).join('\n'));
  if (rows?.length === block.length) {
    return block.map(({ line }, at) => ({ line, cells: rows[at] ?? null }));
  }
  return block.map(({ line, text }) => {
    const alone = parseRows(text);
    return { line, cells: alone?.length === 1 ? (alone[0] ?? null) : null };
  });
}

/** Null when anything is wrong with it. */
function parseRows(text: string): string[][] | null {
  try {
    const lines = text.replaceAll(/\r\n?/g, '\n').replace(/\n+$/, '');
    return parse(lines, { trim: true, relax_column_count: true });
  } catch (error) {
    if (error instanceof CsvError) return null;
    throw error;
  }
}
