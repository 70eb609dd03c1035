/** Pages of a list (contract 1.7), between the facade that reads the query and the store that answers it. */
import type { Id } from './ids.ts';

/** The row behind which a cursor goes on: the text of its sort key as Postgres or ISO-8601 writes it, and its id. */
export type PagePosition = { readonly key: string; readonly id: Id };

export type PageQuery = {
  readonly limit: number;
  /** Rows to skip (page mode), or the row to go on behind (cursor mode). */
  readonly from: { readonly offset: number } | { readonly after: PagePosition };
};

export type Page<T> = {
  readonly rows: readonly T[];
  /** Exact up to 10,000; 10,000 with `totalExact: false` above. */
  readonly total: number;
  readonly totalExact: boolean;
  /** Behind the last row of this page; null on the last page. */
  readonly next: PagePosition | null;
};
