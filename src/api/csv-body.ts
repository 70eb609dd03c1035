/** Tables as the body of a request: CSV (RFC 4180) with a header line. */
import type { FastifyRequest } from 'fastify';
import { csvBlocks, csvText } from './csv-rows.ts';
import { invalid } from './problem.ts';
import type { ApiServer } from './routing.ts';

export type CsvRow = {
  /** Line of the file on which the row begins, from 1; the header is line 1. */
  readonly line: number;
  /** By column, without the space around; columns are in lower case. */
  readonly cells: ReadonlyMap<string, string>;
};

export type RejectedLine = { readonly line: number; readonly reason: string };

export type CsvTable = {
  readonly columns: readonly string[];
  readonly rows: readonly CsvRow[];
  /** Rows that are none: a quote that does not end, cells without a column. */
  readonly rejected: readonly RejectedLine[];
};

/** In `scope`, `text/csv` is taken besides what the server takes. */
export function acceptCsv(scope: ApiServer): void {
  scope.addContentTypeParser<Buffer>(
    'text/csv',
    { parseAs: 'buffer' },
    async (request: FastifyRequest, body: Buffer) => {
      if (request.headers['idempotency-key'] !== undefined) request.rawBody = body;
      return csvText(body);
    },
  );
}

/** Errors: VALIDATION_FAILED for a body without header, with a column twice or without a `required` one, or too long. */
export function readCsv(
  text: string,
  limits: { readonly required: readonly string[]; readonly maxRows: number },
): CsvTable {
  const rejected: RejectedLine[] = [];
  const records = recordsOf(text, rejected);
  const [header, ...body] = records;
  if (header === undefined) throw invalid('', 'csv');
  const columns = header.cells.map((name) => name.toLowerCase());
  const hasAll = limits.required.every((name) => columns.includes(name));
  if (!hasAll || columns.includes('') || new Set(columns).size < columns.length)
    throw invalid('', 'csv');
  if (columns.some((name) => name.includes('\0'))) throw invalid('', 'csv');
  if (body.length + rejected.length > limits.maxRows)
    throw invalid('', 'maxItems', { limit: limits.maxRows });
  const rows: CsvRow[] = [];
  for (const { line, cells } of body) {
    if (cells.length > columns.length) rejected.push({ line, reason: 'more cells than columns' });
    else if (cells.some((cell) => cell.includes('\0')))
      rejected.push({ line, reason: 'U+0000 cannot be kept' });
    else rows.push({ line, cells: new Map(cells.map((cell, at) => [columns[at] ?? '', cell])) });
  }
  return { columns, rows, rejected };
}

/** A header that cannot be read is none. */
function recordsOf(text: string, rejected: RejectedLine[]): { line: number; cells: string[] }[] {
  const records: { line: number; cells: string[] }[] = [];
  for (const { line, cells } of [...csvBlocks(text)].flat()) {
    if (cells !== null) records.push({ line, cells: [...cells] });
    else if (records.length === 0) throw invalid('', 'csv');
    else rejected.push({ line, reason: 'not readable as CSV' });
  }
  return records;
}
