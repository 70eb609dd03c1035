/** One record from where it is: the database, or the call service while the record is on its way there. */
import type { Clock } from '#lib/clock.ts';
import { withDeadline } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { CallService } from '#sessions/call-service-types.ts';
import { maySee, type Caller } from './auth.ts';
import type { RecordsReader } from './ports.ts';
import type { RecordDetail } from '#lib/call-record.ts';
import { Problem } from './problem.ts';
import { recordOfLive } from './record-view.ts';

/** Longest wait for the database within one request. */
export const STORE_TIMEOUT_MS = 8_000;
/** Longest wait for the node that owns a call (contract 1.5, NODE_TIMEOUT). */
const NODE_TIMEOUT_MS = 2_500;

export type RecordSource = {
  readonly records: RecordsReader;
  readonly calls: CallService;
  readonly clock: Clock;
};

/** A record the caller may see. Errors: NOT_FOUND, UNAVAILABLE. */
export async function findRecord(
  source: RecordSource,
  caller: Caller,
  id: Id,
): Promise<RecordDetail> {
  let failure: unknown = null;
  let record: RecordDetail | null = null;
  try {
    record = await fromStore(source, source.records.get(caller.accountId, id));
  } catch (error) {
    // With the database away the calls of this node can still be read.
    failure = error;
  }
  record ??= await liveRecord(source, caller, id);
  if (record === null && failure !== null) throw failure;
  if (record === null || !maySee(caller, record.agentId)) throw new Problem('NOT_FOUND');
  return record;
}

async function liveRecord(
  source: RecordSource,
  caller: Caller,
  id: Id,
): Promise<RecordDetail | null> {
  const call = await fromNode(source, source.calls.get(caller.accountId, id));
  if (call === null) return null;
  const conversation = await fromNode(source, source.calls.conversation(caller.accountId, id));
  return recordOfLive(call, conversation?.messages ?? []);
}

/** `work` of the store with its deadline. */
export async function fromStore<T>(
  source: { readonly clock: Clock },
  work: Promise<T>,
): Promise<T> {
  return withDeadline(work, STORE_TIMEOUT_MS, 'the database', source.clock);
}

/** `work` of the node that owns a call. Errors: NODE_TIMEOUT. */
export async function fromNode<T>(source: { readonly clock: Clock }, work: Promise<T>): Promise<T> {
  try {
    return await withDeadline(work, NODE_TIMEOUT_MS, 'the owner of the call', source.clock);
  } catch (error) {
    const isLate = error instanceof AppError && error.code === 'E_TIMEOUT';
    throw isLate ? new Problem('NODE_TIMEOUT', { cause: error }) : error;
  }
}
