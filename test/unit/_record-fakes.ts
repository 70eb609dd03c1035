/** A fake of what clients write to records: changes by the real rules, rows in a map. */
import type { RecordKeeping } from '#api/ports.ts';
import type { RecordChange, RecordDetail } from '#lib/call-record.ts';
import { newId } from '#lib/ids.ts';
import { changedColumns } from '#store/call-record-changes.ts';
import { statisticsOf } from '#store/statistics.ts';

type Given = {
  readonly records: Map<string, RecordDetail>;
  /** Agents that exist. */
  readonly agents: readonly string[];
  /** Throws what the store would reject with. */
  readonly guard: () => void;
  /** A record to copy what nobody gives from. */
  readonly blank: () => RecordDetail;
};

export function recordKeepingOf({ records, agents, guard, blank }: Given): RecordKeeping {
  return {
    create: async (_actor, made) => {
      guard();
      if (!agents.includes(made.agentId)) return null;
      const id = newId();
      const open = { status: 'answered', source: 'api', channel: 'external' } as const;
      const none = { durationSeconds: null, hangupReason: null, outcome: null, endTime: null };
      const record = { ...blank(), ...none, ...made, ...open, id, messages: [], recording: null };
      records.set(id, record);
      return record;
    },
    change: async (_actor, id, change, nowMs) => {
      guard();
      const record = records.get(id);
      if (record === undefined) return 'missing';
      const columns = changedColumns(
        {
          ...{ source: record.source, status: record.status, patched: null },
          start_time: new Date(record.startTime),
          end_time: record.endTime === null ? null : new Date(record.endTime),
          duration_seconds: record.durationSeconds,
          hangup_reason: record.hangupReason,
          metadata: record.metadata,
        },
        change,
        nowMs,
      );
      if (typeof columns === 'string') return columns;
      const changed = { ...record, ...fieldsOf(change), ...statusOf(columns) } as RecordDetail;
      records.set(id, changed);
      return changed;
    },
    recordingsOf: async (_actor, id) => {
      guard();
      const record = records.get(id);
      if (record === undefined) return 'missing';
      return record.recording === null ? [] : [record.recording];
    },
    remove: async (_actor, id) => {
      guard();
      return records.delete(id) ? null : 'missing';
    },
    events: async () => ({ rows: [], total: 0, totalExact: true, next: null }),
    storedPhone: async (_accountId, normal) => normal,
    statistics: async () => {
      guard();
      return statisticsOf({ days: [], apps: [], reasons: [] });
    },
    noteChange: () => undefined,
  };
}

function fieldsOf({ summary, ...change }: RecordChange): object {
  return summary === undefined ? change : { ...change, summary: summary?.text ?? null };
}

function statusOf(columns: ReadonlyMap<string, unknown>): object {
  return {
    ...(columns.has('status') ? { status: columns.get('status') } : {}),
    ...(columns.has('metadata') ? { metadata: columns.get('metadata') } : {}),
    ...(columns.has('duration_seconds')
      ? { durationSeconds: columns.get('duration_seconds') }
      : {}),
  };
}
