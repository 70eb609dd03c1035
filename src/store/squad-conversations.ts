/** Text conversations as the database has them (contract 2.4): to be taken up again after a restart. */
import type { HandoffSummary, Message, Outcome } from '#lib/call-events.ts';
import type { Id } from '#lib/ids.ts';
import type { Money } from '#lib/prices.ts';
import type { Database, Sql } from './pool.ts';

export type StoredConversation = {
  readonly accountId: Id;
  readonly squadId: Id | null;
  /** The primary member. */
  readonly agentId: Id;
  readonly agentName: string;
  /** Null while it goes on. */
  readonly outcome: Outcome | null;
  /** Unix ms. */
  readonly startedMs: number;
  /** Of its newest message, unix ms. */
  readonly lastMs: number;
  /** Of its newest event. */
  readonly seq: number;
  readonly messages: readonly Message[];
  readonly variables: Readonly<Record<string, string>>;
  /** As far as it is in the database. */
  readonly cost: Money | null;
  readonly handoff: {
    readonly fromId: Id;
    readonly toId: Id;
    readonly summary: HandoffSummary;
  } | null;
};

export type SquadConversations = {
  /** Null when the account has no such conversation. Errors: E_DATABASE, E_DATABASE_UNREACHABLE. */
  read(accountId: Id, id: Id): Promise<StoredConversation | null>;
};

export function createSquadConversations(database: Database): SquadConversations {
  return {
    read: (accountId, id) => database.withSystem((sql) => readConversation(sql, accountId, id)),
  };
}

type Row = {
  readonly squad_id: Id | null;
  readonly agent_id: Id;
  readonly agent_name: string;
  readonly outcome: Outcome | null;
  readonly start_time: Date;
  readonly variables: Record<string, string>;
  readonly cost: string | null;
  readonly currency: string | null;
  readonly seq: number;
  readonly last_at: Date | null;
  readonly messages: Message[];
  readonly handoff: {
    readonly from_agent_id: Id;
    readonly to_agent_id: Id;
    readonly summary: HandoffSummary;
  } | null;
};

/** The events are complete where the record's own list is up to 5 s old. */
async function readConversation(
  sql: Sql,
  accountId: Id,
  id: Id,
): Promise<StoredConversation | null> {
  const [row] = await sql.rows<Row>(
    `SELECT r.squad_id, r.agent_id, a.name AS agent_name, r.outcome, r.start_time, r.variables, r.cost, r.currency, e.seq, e.last_at,
            e.messages, (SELECT h.data FROM call_events h WHERE h.call_id = r.id AND h.type = 'call.handoff'
                          ORDER BY h.seq DESC LIMIT 1) AS handoff
       FROM call_records r JOIN agents a ON a.id = r.agent_id AND a.user_id = r.user_id
      CROSS JOIN LATERAL (
        SELECT coalesce(max(seq), 0) AS seq, max(at) FILTER (WHERE type = 'conversation.message') AS last_at,
               coalesce(jsonb_agg(data -> 'message' ORDER BY seq) FILTER (WHERE type = 'conversation.message'), '[]'::jsonb) AS messages
          FROM call_events WHERE call_id = r.id) e
      WHERE r.id = $1 AND r.user_id = $2 AND r.channel = 'text' AND r.source = 'core'`,
    [id, accountId],
  );
  if (row === undefined) return null;
  const { handoff } = row;
  return {
    ...{ accountId, squadId: row.squad_id, agentId: row.agent_id, agentName: row.agent_name },
    ...{ outcome: row.outcome, seq: row.seq, messages: row.messages, variables: row.variables },
    startedMs: row.start_time.getTime(),
    cost: row.cost === null ? null : { amount: Number(row.cost), currency: row.currency ?? 'CNY' },
    lastMs: (row.last_at ?? row.start_time).getTime(),
    handoff:
      handoff === null
        ? null
        : {
            ...{ fromId: handoff.from_agent_id, toId: handoff.to_agent_id },
            summary: handoff.summary,
          },
  };
}
