/** The account's extensions (contract 2.6 row 14): reading. Their passwords stay in the table. */
import type { Actor } from '#lib/actor.ts';
import type { Id } from '#lib/ids.ts';
import type { Database } from './pool.ts';

export type Extension = {
  readonly id: Id;
  readonly extension: string;
  readonly name: string;
  readonly kind: 'sip' | 'number' | 'agent';
  /** Number or URI that the extension stands for. */
  readonly target: string | null;
  readonly department: string | null;
  readonly enabled: boolean;
};

export type Extensions = {
  /** By extension, at most `MAX_EXTENSIONS`, and how many there are. Errors: E_DATABASE, E_DATABASE_UNREACHABLE. */
  list(actor: Actor): Promise<{ readonly total: number; readonly items: readonly Extension[] }>;
};

export const MAX_EXTENSIONS = 10_000;

export function createExtensions(database: Database): Extensions {
  return {
    list: (actor) =>
      database.withAccount(actor.accountId, actor.name, async (sql) => {
        const items = await sql.rows<Extension>(
          `SELECT id, extension, name, kind, target, department, enabled FROM extensions
            WHERE user_id = $1 ORDER BY extension, id LIMIT ${MAX_EXTENSIONS}`,
          [actor.accountId],
        );
        if (items.length < MAX_EXTENSIONS) return { total: items.length, items };
        const [count] = await sql.rows<{ n: number }>(
          'SELECT count(*)::int AS n FROM extensions WHERE user_id = $1',
          [actor.accountId],
        );
        return { total: count?.n ?? items.length, items };
      }),
  };
}
