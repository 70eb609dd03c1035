/** Which calls of the journal are not over yet, and what a crash would leave of each. */
import {
  FINAL_EVENTS,
  type CallEntry,
  type EventData,
  type Message,
  type RecordingPatch,
} from '#lib/call-events.ts';
import type { Id } from '#lib/ids.ts';
import { MICROS, type Money } from '#lib/prices.ts';

/** A call that has begun and still lacks its final event, or the end of a recording. */
export type LiveCall = {
  readonly callId: Id;
  readonly accountId: Id;
  /** Number of the journal file that holds its first event: that file must stay. */
  readonly firstFile: number;
  readonly startedAt: string;
  /** A conversation in writing: it outlives its process. */
  readonly isText: boolean;
  answeredAt: string | null;
  lastAt: string;
  lastSeq: number;
  isOver: boolean;
  /** Of its vendors so far; null: no price is known. */
  cost: Money | null;
  /** Recordings that are still `active`, by id. */
  readonly recordings: Map<Id, RecordingPatch>;
  /** Names of the tools that were begun and have not answered, in the order they were begun. */
  readonly openTools: string[];
};

export class LiveCalls {
  readonly #calls = new Map<Id, LiveCall>();

  /** Entries in the order of the journal. Only `call.initiated` opens a call: later events alone prove nothing. */
  note(entry: CallEntry, file: number): void {
    const { event, record, recording } = entry;
    if (event.type === 'call.initiated' && !this.#calls.has(event.call_id)) {
      this.#calls.set(event.call_id, {
        callId: event.call_id,
        accountId: event.account_id,
        firstFile: file,
        startedAt: record?.start_time ?? event.time,
        isText: record?.channel === 'text',
        answeredAt: null,
        lastAt: event.time,
        lastSeq: event.seq,
        isOver: false,
        cost: null,
        recordings: new Map(),
        openTools: [],
      });
    }
    const call = this.#calls.get(event.call_id);
    if (call === undefined) return;
    if (event.time > call.lastAt) call.lastAt = event.time;
    call.lastSeq = Math.max(call.lastSeq, event.seq);
    for (const { cost, currency } of entry.usage ?? []) {
      if (cost === undefined || currency === undefined) continue;
      if (call.cost !== null && call.cost.currency !== currency) continue;
      // In millionths, as the meter tells them: nothing is lost in adding up.
      const micros = Math.round((call.cost?.amount ?? 0) * MICROS) + Math.round(cost * MICROS);
      call.cost = { amount: micros / MICROS, currency };
    }
    if (event.type === 'conversation.message') {
      noteTools(call, (event.data as EventData['conversation.message']).message);
    }
    if (event.type === 'call.answered') {
      call.answeredAt = (event.data as EventData['call.answered']).answered_at;
    }
    if (recording?.status === 'active') call.recordings.set(recording.id, recording);
    else if (recording !== null) call.recordings.delete(recording.id);
    if (FINAL_EVENTS.includes(event.type)) call.isOver = true;
    if (call.isOver && call.recordings.size === 0) this.#calls.delete(event.call_id);
  }

  /** The oldest file that a live call began in, or undefined. */
  get oldestFile(): number | undefined {
    let oldest: number | undefined;
    for (const { firstFile } of this.#calls.values()) {
      if (oldest === undefined || firstFile < oldest) oldest = firstFile;
    }
    return oldest;
  }

  list(): LiveCall[] {
    return [...this.#calls.values()];
  }
}

/** More at a time than a call may begin. */
const MAX_OPEN_TOOLS = 64;

function noteTools({ openTools }: LiveCall, { role, name, tool_calls: begun = [] }: Message): void {
  for (const call of begun) if (openTools.length < MAX_OPEN_TOOLS) openTools.push(call.name);
  const at = role === 'function' ? openTools.indexOf(name ?? '') : -1;
  if (at !== -1) openTools.splice(at, 1);
}
