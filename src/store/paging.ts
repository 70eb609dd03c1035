/** One page of a table in an order that a cursor can follow (contract 1.7). */
import type { Id } from '#lib/ids.ts';
import type { Page, PageQuery } from '#lib/page.ts';
import type { Sql } from './pool.ts';

export const MAX_COUNTED = 10_000;

/** Conditions joined by AND; each `?` becomes the next parameter. Text comes from code alone, values as parameters. */
export class Where {
  readonly values: unknown[] = [];
  readonly #parts: string[] = [];

  add(condition: string, ...values: unknown[]): this {
    const places = values.map((value) => this.next(value));
    this.#parts.push(condition.replaceAll('?', () => places.shift() ?? '?'));
    return this;
  }

  /** Adds the condition only for a value that is not null. */
  addUnlessNull(condition: string, value: unknown): this {
    return value === null || value === undefined ? this : this.add(condition, value);
  }

  /** The placeholder of one more parameter. */
  next(value: unknown): string {
    return `$${this.values.push(value)}`;
  }

  get text(): string {
    return this.#parts.length === 0 ? 'true' : this.#parts.join(' AND ');
  }
}

export type PageSource = {
  /** Column list without SELECT. */
  readonly columns: string;
  /** FROM clause without FROM. */
  readonly tables: string;
  /** Sort key, e.g. `a.created_at`; together with `id` it is unique. */
  readonly key: string;
  /** Type that the cursor's text is cast to, e.g. `timestamptz`. */
  readonly keyType: string;
  readonly id: string;
  readonly idType?: string;
  readonly order?: 'ASC' | 'DESC';
  /** FROM clause of the rows shown, when `tables` only finds and counts them: from an index alone, if it can. */
  readonly rows?: string;
};

/** Newest first unless `order` says otherwise. `where` is used up. */
export async function readPage<R extends object, T>(
  sql: Sql,
  source: PageSource,
  where: Where,
  query: PageQuery,
  rowOf: (row: R) => T,
): Promise<Page<T>> {
  const counting = { text: where.text, values: [...where.values] };
  const offset = 'offset' in query.from ? query.from.offset : 0;
  const found = await readRows<R>(sql, source, where, query, offset);
  const shown = found.slice(0, query.limit);
  const last = found.length > query.limit ? shown.at(-1) : undefined;
  // The end of the list in sight says how long it is; counting reads up to 10,001 rows.
  const isEndSeen =
    'offset' in query.from && last === undefined && (offset === 0 || found.length > 0);
  const total = isEndSeen
    ? offset + found.length
    : await countRows(sql, source, counting.text, counting.values);
  return {
    rows: shown.map(rowOf),
    total: Math.min(total, MAX_COUNTED),
    totalExact: total <= MAX_COUNTED,
    next: last === undefined ? null : { key: last.page_key, id: last.page_id },
  };
}

async function readRows<R extends object>(
  sql: Sql,
  source: PageSource,
  where: Where,
  query: PageQuery,
  offset: number,
): Promise<(R & { page_key: string; page_id: Id })[]> {
  const { columns, tables, key, keyType, id, idType = 'uuid', order = 'DESC', rows } = source;
  if ('after' in query.from) {
    const sign = order === 'DESC' ? '<' : '>';
    const { after } = query.from;
    where.add(`(${key}, ${id}) ${sign} (?::${keyType}, ?::${idType})`, after.key, after.id);
  }
  const shown = `SELECT ${columns}, (${key})::text AS page_key, (${id})::text AS page_id`;
  const sorted = `ORDER BY ${key} ${order}, ${id} ${order}`;
  const page = `FROM ${tables} WHERE ${where.text} ${sorted} LIMIT ${where.next(query.limit + 1)} OFFSET ${where.next(offset)}`;
  const text =
    rows === undefined
      ? `${shown} ${page}`
      : `${shown} FROM (SELECT ${id} AS page_row ${page}) p JOIN (${rows}) ON ${id} = p.page_row ${sorted}`;
  return sql.rows(text, where.values);
}

async function countRows(
  sql: Sql,
  source: PageSource,
  text: string,
  values: readonly unknown[],
): Promise<number> {
  const [count] = await sql.rows<{ n: number }>(
    `SELECT count(*)::int AS n FROM (SELECT FROM ${source.tables} WHERE ${text} LIMIT ${MAX_COUNTED + 1}) t`,
    values,
  );
  return count?.n ?? 0;
}
