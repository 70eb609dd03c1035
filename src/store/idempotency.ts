/** Answers kept for Idempotency-Key (contract 1.6): 24 h, per account and route, for every node and over restarts. */
import { createHash } from 'node:crypto';
import type { Id } from '#lib/ids.ts';
import type { Database } from './pool.ts';
import type { Sealer, SealPlace } from './sealed.ts';

export type IdempotencyScope = {
  readonly accountId: Id;
  /** `POST /api/v1/api-keys`. */
  readonly route: string;
  readonly key: string;
};

export type StoredAnswer = { readonly status: number; readonly body: string };

/** What is known of a key: it is now ours, or another request's, answered or (null) still running. */
export type Claimed =
  | { readonly token: string }
  | { readonly isSame: boolean; readonly answer: StoredAnswer | null };

export type IdempotencyTable = {
  /** `fingerprint`: what the request asks for, 32 bytes. Errors: E_DATABASE_UNREACHABLE. */
  claim(scope: IdempotencyScope, fingerprint: Uint8Array): Promise<Claimed>;
  /** Keeps the answer, or (null) gives the key back. Does nothing when the claim has been taken over since. */
  settle(
    scope: IdempotencyScope,
    token: string,
    answer: StoredAnswer | null,
    isSecret: boolean,
  ): Promise<void>;
};

export type IdempotencyOptions = {
  readonly database: Database;
  readonly sealer: Sealer;
};

type KeyRow = {
  is_same: boolean;
  status: number | null;
  response: { text: string } | { sealed: string } | null;
};

/** A node that dies with a request leaves its claim; after this the next request may take it. */
const CLAIM_S = 60;
/** Older rows count as none; retention.ts removes them. */
const KEEP_H = 24;
const ACTOR = 'idempotency';

export function createIdempotency(options: IdempotencyOptions): IdempotencyTable {
  const { database, sealer } = options;
  return {
    async claim(scope, fingerprint) {
      const { accountId, route, key } = scope;
      return database.withAccount(accountId, ACTOR, async (sql) => {
        const values = [accountId, route, key, fingerprint];
        // The time of the claim is its token: microseconds apart from the one that is taken over.
        const [mine] = await sql.rows<{ token: string }>(
          `INSERT INTO idempotency_keys AS k (user_id, route, key, body_hash) VALUES ($1, $2, $3, $4)
           ON CONFLICT (user_id, route, key) DO UPDATE
             SET body_hash = EXCLUDED.body_hash, status = NULL, response = NULL, created_at = clock_timestamp()
             WHERE k.created_at < now() - make_interval(hours => ${KEEP_H})
                OR (k.status IS NULL AND k.created_at < now() - make_interval(secs => ${CLAIM_S}))
           RETURNING created_at::text AS token`,
          values,
        );
        if (mine !== undefined) return { token: mine.token };
        const [known] = await sql.rows<KeyRow>(
          `SELECT body_hash = $4 AS is_same, status, response FROM idempotency_keys
            WHERE user_id = $1 AND route = $2 AND key = $3`,
          values,
        );
        // Given back between the two statements: the next try will have it.
        if (known === undefined) return { isSame: true, answer: null };
        return { isSame: known.is_same, answer: answerIn(known, sealer, scope) };
      });
    },
    async settle(scope, token, answer, isSecret) {
      const { accountId, route, key } = scope;
      const where = `user_id = $1 AND route = $2 AND key = $3 AND status IS NULL AND created_at = $4::timestamptz`;
      const values: unknown[] = [accountId, route, key, token];
      if (answer === null) {
        const text = `DELETE FROM idempotency_keys WHERE ${where}`;
        await database.accountRows(accountId, ACTOR, text, values);
        return;
      }
      const response = isSecret
        ? { sealed: sealer.seal(answer.body, placeOf(scope)) }
        : { text: answer.body };
      const text = `UPDATE idempotency_keys SET status = $5, response = $6 WHERE ${where}`;
      values.push(answer.status, JSON.stringify(response));
      await database.accountRows(accountId, ACTOR, text, values);
    },
  };
}

function answerIn(
  { status, response }: KeyRow,
  sealer: Sealer,
  scope: IdempotencyScope,
): StoredAnswer | null {
  if (status === null || response === null) return null;
  const body = 'text' in response ? response.text : sealer.open(response.sealed, placeOf(scope));
  return { status, body };
}

/** The row has no id of its own; a digest of its key stands in, since a key may hold any character. */
function placeOf({ accountId, route, key }: IdempotencyScope): SealPlace {
  const rowId = createHash('sha256').update(`${route}\0${key}`).digest('hex');
  return { table: 'idempotency_keys', column: 'response', accountId, rowId };
}
