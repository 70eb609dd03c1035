/** The targets of a campaign as CSV (RFC 4180), read piece by piece so that a long list holds up nobody else. */
import { isUtf8 } from 'node:buffer';
import { setImmediate } from 'node:timers/promises';
import { CsvError, parse } from 'csv-parse/sync';
import { normalizePhone } from '#lib/phone.ts';
import type { NewTarget, RejectedTarget } from '#store/campaign-targets.ts';
import { invalid } from './problem.ts';
import { freeFormFaults } from './validation.ts';

export type ReadTarget =
  | { readonly target: NewTarget; readonly rejected: null }
  | { readonly target: null; readonly rejected: RejectedTarget };

/** Lines that are read at one go: some milliseconds. */
const BLOCK = 500;
/** A cell that goes on for longer than this is a quote that does not end: it costs its line and not the rest of the file. */
const MAX_ROW_LINES = 50;
const MAX_COLUMNS = 100;
const MAX_NAME = 255;

/**
 * The rows of a table with the columns `phone` and, if wanted, `name`; every other column is a variable. Empty cells say
 * nothing. Errors: VALIDATION_FAILED for what is not UTF-8, or has no header, no `phone`, or a column twice.
 */
export async function* readTargetsCsv(body: Buffer): AsyncGenerator<ReadTarget> {
  if (!isUtf8(body)) throw invalid('', 'utf8');
  const text = body
    .toString('utf8')
    .replace(/^\uFEFF/, '')
    .replaceAll(/\r\n?/g, '\n');
  let columns: readonly string[] | null = null;
  for (const block of blocksOf(text)) {
    for (const { line, cells } of readBlock(block)) {
      if (cells === null) yield refused(line, 'not readable as CSV');
      else if (columns === null) columns = headerOf(cells);
      else yield targetOf(line, cells, columns);
    }
    await setImmediate();
  }
  if (columns === null) throw invalid('', 'csv');
}

/** One row as it stands in the file, beginning on `line`. */
type Piece = { readonly line: number; readonly text: string };
type Row = { readonly line: number; readonly cells: readonly string[] | null };

function* blocksOf(text: string): Generator<Piece[]> {
  let block: Piece[] = [];
  for (const piece of piecesOf(text)) {
    if (block.push(piece) < BLOCK) continue;
    yield block;
    block = [];
  }
  if (block.length > 0) yield block;
}

function* piecesOf(text: string): Generator<Piece> {
  for (let offset = 0, line = 1; offset < text.length;) {
    const { end, lines } = endOfRow(text, offset);
    const row = text.slice(offset, end);
    if (row.trim() !== '') yield { line, text: row };
    line += lines;
    offset = end + 1;
  }
}

/** A row ends with the first line on which every quote has its other half. */
function endOfRow(text: string, offset: number): { readonly end: number; readonly lines: number } {
  const lineEnd = (from: number): number => {
    const found = text.indexOf('\n', from);
    return found < 0 ? text.length : found;
  };
  const first = lineEnd(offset);
  let quotes = 0;
  for (let lines = 1, from = offset; lines <= MAX_ROW_LINES && from <= text.length; lines++) {
    const end = lineEnd(from);
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
function readBlock(block: readonly Piece[]): Row[] {
  const rows = parseRows(block.map(({ text }) => text).join('\n'));
  if (rows?.length === block.length) {
    return block.map(({ line }, at) => ({ line, cells: rows[at] ?? null }));
  }
  return block.map(({ line, text }) => ({ line, cells: parseRows(text)?.[0] ?? null }));
}

/** Null when anything is wrong with it. */
function parseRows(text: string): string[][] | null {
  try {
    return parse(text, { trim: true, relax_column_count: true });
  } catch (error) {
    if (error instanceof CsvError) return null;
    throw error;
  }
}

function headerOf(cells: readonly string[]): string[] {
  const columns = cells.map((cell) => (/^(?:phone|name)$/i.test(cell) ? cell.toLowerCase() : cell));
  const isUsable = (name: string): boolean =>
    name !== '' && name.length <= 64 && name !== '__proto__' && !name.includes('\0');
  const isSound = columns.every(isUsable) && new Set(columns).size === columns.length;
  if (!isSound || !columns.includes('phone') || columns.length > MAX_COLUMNS)
    throw invalid('', 'csv');
  return columns;
}

function targetOf(line: number, cells: readonly string[], columns: readonly string[]): ReadTarget {
  if (cells.length > columns.length) return refused(line, 'more cells than columns');
  const row = new Map(cells.map((cell, at) => [columns[at] ?? '', cell]));
  const name = row.get('name') || null;
  const variables = [...row].filter(
    ([column, cell]) => column !== 'phone' && column !== 'name' && cell !== '',
  );
  return targetFrom({
    ...{ line, phone: row.get('phone') ?? '', name },
    variables: Object.fromEntries(variables),
  });
}

/** One target, or why it is none. */
export function targetFrom(given: {
  readonly line: number;
  readonly phone: string;
  readonly name: string | null;
  readonly variables: Readonly<Record<string, unknown>>;
}): ReadTarget {
  const { line, name, variables } = given;
  const phone = normalizePhone(given.phone);
  if (phone === null) return refused(line, 'phone is no number');
  if (name !== null && name.length > MAX_NAME) return refused(line, 'name is too long');
  const texts = [name ?? '', ...Object.values(variables)];
  if (texts.some((text) => typeof text === 'string' && text.includes('\0')))
    return refused(line, 'a text holds U+0000');
  if (freeFormFaults(variables, '').length > 0) return refused(line, 'variables are too large');
  return { target: { line, phone, name, variables }, rejected: null };
}

function refused(line: number, reason: string): ReadTarget {
  return { target: null, rejected: { line, reason } };
}
