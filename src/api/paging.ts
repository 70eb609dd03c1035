/** Pages and cursors of every list (contract 1.7), in both spellings. */
import { Type } from 'typebox';
import { isId } from '#lib/ids.ts';
import type { Page, PagePosition, PageQuery } from '#lib/page.ts';
import { invalid } from './problem.ts';
import { nullable, type Pagination } from './schemas.ts';

const MAX_ROWS_BY_PAGE = 10_000;
const DEFAULT_PAGE_SIZE = 20;

/** Query fields of a `snake_case` list. */
export const pageFields = {
  page: Type.Optional(Type.Integer({ minimum: 1, description: 'Default 1; not with `cursor`' })),
  page_size: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, description: 'Default 20' })),
  cursor: Type.Optional(
    Type.String({ minLength: 1, maxLength: 200, description: '`next_cursor` of the last answer' }),
  ),
};

/** Query fields of a `camelCase` list. */
export const consolePageFields = {
  page: pageFields.page,
  pageSize: pageFields.page_size,
  cursor: pageFields.cursor,
};

export const ConsolePaginationSchema = Type.Object(
  {
    page: Type.Integer(),
    pageSize: Type.Integer(),
    total: Type.Integer({ description: 'Exact up to 10,000' }),
    totalExact: Type.Boolean(),
    totalPages: Type.Integer(),
    hasNext: Type.Boolean(),
    nextCursor: nullable(Type.String({ description: 'Opaque; null on the last page' })),
  },
  { $id: 'ConsolePagination' },
);

export type ListPage = PageQuery & { readonly number: number };

type PageInput = {
  readonly page?: number;
  readonly page_size?: number;
  readonly pageSize?: number;
  readonly cursor?: string;
};

/**
 * What kind of sort key the cursor of a list carries; a forged one must not reach the database. Rows are told apart by
 * UUID, with `time-number` (the audit log) by number.
 */
export type CursorKey = 'time' | 'number' | 'time-number';

/** The page that a query asks for. Errors: VALIDATION_FAILED. */
export function pageOf(query: PageInput, key: CursorKey = 'time'): ListPage {
  const limit = query.page_size ?? query.pageSize ?? DEFAULT_PAGE_SIZE;
  if (query.cursor !== undefined) {
    if (query.page !== undefined) throw invalid('?cursor', 'exclusive', { other: 'page' });
    const { page, after } = positionOf(query.cursor, key);
    return { number: page, limit, from: { after } };
  }
  const number = query.page ?? 1;
  if (number * limit > MAX_ROWS_BY_PAGE) {
    throw invalid('?page', 'maximum', { limit: Math.floor(MAX_ROWS_BY_PAGE / limit) });
  }
  return { number, limit, from: { offset: (number - 1) * limit } };
}

export function paginationOf(page: ListPage, found: Omit<Page<unknown>, 'rows'>): Pagination {
  return {
    page: page.number,
    page_size: page.limit,
    total: found.total,
    total_exact: found.totalExact,
    total_pages: Math.ceil(found.total / page.limit),
    has_next: found.next !== null,
    next_cursor: found.next === null ? null : cursorOf(page.number + 1, found.next),
  };
}

export function consolePaginationOf(page: ListPage, found: Omit<Page<unknown>, 'rows'>) {
  const plain = paginationOf(page, found);
  return {
    page: plain.page,
    pageSize: plain.page_size,
    total: plain.total,
    totalExact: plain.total_exact,
    totalPages: plain.total_pages,
    hasNext: plain.has_next,
    nextCursor: plain.next_cursor,
  };
}

/** A cursor is the page it leads to and the row before it: opaque to clients, and safe to have forged. */
function cursorOf(page: number, after: PagePosition): string {
  return Buffer.from(`1|${page}|${after.key}|${after.id}`).toString('base64url');
}

/**
 * ISO-8601, or a timestamptz as Postgres writes it: a space for the T, an offset of hours alone. Year 0 and offsets of
 * 16 h are beyond what it reads.
 */
const KEY_TIME =
  /^((?!0000)\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}:\d{2})(?:\.\d{1,6})?(?:Z|[+-](?:0\d|1[0-5])(?::[0-5]\d){0,2})$/;
/** The largest `int` of Postgres. */
const MAX_KEY_NUMBER = 2_147_483_647;

function positionOf(
  cursor: string,
  kind: CursorKey,
): { readonly page: number; readonly after: PagePosition } {
  const text = Buffer.from(cursor, 'base64url').toString('latin1');
  const [version, page = '', key = '', id = '', ...rest] = text.split('|');
  const isKey = kind === 'number' ? isNumberKey(key) : isTimeKey(key);
  const isRow = kind === 'time-number' ? /^\d{1,15}$/.test(id) : isId(id);
  const isWhole = version === '1' && rest.length === 0 && /^[1-9]\d{0,8}$/.test(page);
  if (!isWhole || !isKey || !isRow) throw invalid('?cursor', 'cursor');
  return { page: Number(page), after: { key, id } };
}

function isNumberKey(key: string): boolean {
  return /^-?\d{1,10}$/.test(key) && Math.abs(Number(key)) <= MAX_KEY_NUMBER;
}

function isTimeKey(key: string): boolean {
  const [, day = '', time = ''] = KEY_TIME.exec(key) ?? [];
  if (day === '') return false;
  const ms = Date.parse(`${day}T${time}Z`);
  // A day such as 02-30 is taken by Date and refused by Postgres.
  return !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(day);
}
