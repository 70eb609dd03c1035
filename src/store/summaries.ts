/** Summaries in `call_records`, and which finished calls still wait for one (contract 7.2). */
import type { Actor } from '#lib/actor.ts';
import type { Message } from '#lib/call-events.ts';
import type { Id } from '#lib/ids.ts';
import type { Database, Sql } from './pool.ts';

/** As the columns hold it. */
export type StoredSummary = {
  readonly summary: string;
  readonly meta: {
    readonly source: 'llm' | 'extractive';
    readonly model: string | null;
    readonly language: string;
    readonly generated_at: string;
  };
};

/** What became of an automatic summary. `present`: another was there before and stays. */
export type AutoSaved =
  | { readonly kind: 'saved' }
  | { readonly kind: 'present'; readonly source: string | null; readonly summary: string | null }
  | { readonly kind: 'missing' };

/** A finished call of a server's own without summary and without `summary.ready`. */
export type Unsummarised = {
  readonly callId: Id;
  readonly accountId: Id;
  readonly agentId: Id;
  readonly messages: readonly Message[];
  /** Of the call's newest event. */
  readonly lastSeq: number;
};

/** Errors of all: E_DATABASE, E_DATABASE_UNREACHABLE. */
export type SummaryRows = {
  /** Overwrites whatever summary was there. False when the account has no such record. */
  save(actor: Actor, id: Id, summary: StoredSummary): Promise<boolean>;
  /** Leaves alone what a client, or somebody's request, has written. */
  saveAutomatic(accountId: Id, id: Id, summary: StoredSummary): Promise<AutoSaved>;
  /** Calls that ended after `sinceMs` (unix time), the oldest first; those of other nodes only when ended before `othersBeforeMs`. */
  waiting(query: {
    readonly node: string;
    readonly sinceMs: number;
    readonly othersBeforeMs: number;
    readonly limit: number;
  }): Promise<readonly Unsummarised[]>;
};

/** The longest call is 4 h: what ended within the last hour began within this. */
const LONGEST_CALL_MS = 6 * 3_600_000;

export function createSummaries(database: Database): SummaryRows {
  return {
    save: (actor, id, summary) =>
      database.withAccount(actor.accountId, actor.name, async (sql) => {
        const written = await sql.run(
          `UPDATE call_records SET summary = $3, summary_meta = $4::jsonb, updated_at = now()
            WHERE id = $1 AND user_id = $2`,
          valuesOf(actor.accountId, id, summary),
        );
        return written > 0;
      }),
    saveAutomatic: (accountId, id, summary) =>
      database.withAccount(accountId, 'system', (sql) =>
        saveAutomatic(sql, accountId, id, summary),
      ),
    waiting: (query) => database.withSystem((sql) => waiting(sql, query)),
  };
}

async function saveAutomatic(
  sql: Sql,
  accountId: Id,
  id: Id,
  summary: StoredSummary,
): Promise<AutoSaved> {
  const written = await sql.run(
    `UPDATE call_records SET summary = $3, summary_meta = $4::jsonb, updated_at = now()
      WHERE id = $1 AND user_id = $2 AND summary IS NULL AND summary_meta IS NULL`,
    valuesOf(accountId, id, summary),
  );
  if (written > 0) return { kind: 'saved' };
  const [row] = await sql.rows<{ summary: string | null; source: string | null }>(
    "SELECT summary, summary_meta ->> 'source' AS source FROM call_records WHERE id = $1 AND user_id = $2",
    [id, accountId],
  );
  return row === undefined ? { kind: 'missing' } : { kind: 'present', ...row };
}

async function waiting(
  sql: Sql,
  query: Parameters<SummaryRows['waiting']>[0],
): Promise<Unsummarised[]> {
  const found = await sql.rows<{
    id: Id;
    user_id: Id;
    agent_id: Id;
    messages: Message[];
    last_seq: number;
  }>(
    `SELECT r.id, r.user_id, r.agent_id, r.messages,
            (SELECT coalesce(max(e.seq), 0) FROM call_events e WHERE e.call_id = r.id) AS last_seq
       FROM call_records r JOIN agents a ON a.id = r.agent_id AND a.user_id = r.user_id
      WHERE r.source = 'core' AND r.status = 'ended' AND r.start_time > $1::timestamptz AND r.end_time > $2::timestamptz
        AND (r.node = $3 OR r.end_time < $4::timestamptz)
        AND r.summary_meta ->> 'source' IS DISTINCT FROM 'client'
        AND a.config ->> 'auto_summary' IS DISTINCT FROM 'false'
        AND jsonb_path_exists(r.messages, '$[*] ? ((@.role == "user" || @.role == "assistant") && @.content like_regex "\\\\S")')
        AND NOT EXISTS (SELECT FROM call_events e WHERE e.call_id = r.id AND e.type = 'summary.ready')
      ORDER BY r.start_time, r.id LIMIT $5`,
    [
      new Date(query.sinceMs - LONGEST_CALL_MS),
      new Date(query.sinceMs),
      query.node,
      new Date(query.othersBeforeMs),
      query.limit,
    ],
  );
  return found.map((row) => ({
    callId: row.id,
    accountId: row.user_id,
    agentId: row.agent_id,
    messages: row.messages,
    lastSeq: row.last_seq,
  }));
}

/** PostgreSQL takes neither U+0000 nor half a character. */
function valuesOf(accountId: Id, id: Id, { summary, meta }: StoredSummary): unknown[] {
  return [id, accountId, summary.replaceAll('\0', '').toWellFormed(), JSON.stringify(meta)];
}
