/** The targets of a campaign as a table, read in blocks so that a long one holds up nobody else. */
import { setImmediate } from 'node:timers/promises';
import { normalizePhone } from '#lib/phone.ts';
import type { NewTarget, RejectedTarget } from '#store/campaign-targets.ts';
import { csvBlocks, csvText } from './csv-rows.ts';
import { invalid } from './problem.ts';
import { freeFormFaults } from './validation.ts';

export type ReadTarget =
  | { readonly target: NewTarget; readonly rejected: null }
  | { readonly target: null; readonly rejected: RejectedTarget };

const MAX_COLUMNS = 100;
const MAX_NAME = 255;

/**
 * The rows of a table with the columns `phone` and, if wanted, `name`; every other column is a variable. Empty cells say
 * nothing. Errors: VALIDATION_FAILED for what is not UTF-8, or has no header, no `phone`, or a column twice.
 */
export async function* readTargetsCsv(body: Buffer): AsyncGenerator<ReadTarget> {
  let columns: readonly string[] | null = null;
  for (const block of csvBlocks(csvText(body))) {
    for (const { line, cells } of block) {
      if (columns === null) columns = headerOf(cells ?? []);
      else if (cells === null) yield refused(line, 'not readable as CSV');
      else yield targetOf(line, cells, columns);
    }
    await setImmediate();
  }
  if (columns === null) throw invalid('', 'csv');
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
