/** The live transcript: finds the call by its SIP Call-ID and prints each message once, as soon as the server has it. */
import type { Clock } from '#lib/clock.ts';
import { delay } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import type { ApiClient, DemoMessage, DemoRecord } from './api-client.ts';

const POLL_MS = 400;

export type TranscriptFollower = {
  /** Null until the server's record of the call was seen. */
  readonly recordId: string | null;
  /** Number of messages printed. */
  readonly printed: number;
  /** Looks once more, then stops. Idempotent. Errors: the last one met, when no record was ever found. */
  stop(): Promise<void>;
};

export function followTranscript(
  api: ApiClient,
  sipCallId: string,
  out: (line: string) => void,
  clock: Clock,
): TranscriptFollower {
  const over = new AbortController();
  let recordId: string | null = null;
  let printed = 0;
  let fault: unknown = null;
  const look = async (): Promise<void> => {
    try {
      recordId ??= await findRecord(api, sipCallId);
      if (recordId === null) return;
      const messages = await api.conversation(recordId);
      for (const message of messages.slice(printed)) out(describeMessage(message));
      printed = Math.max(printed, messages.length);
      fault = null;
    } catch (error) {
      // The transcript must not end the call: the fault is told at the end, if nothing was ever seen.
      fault = error;
    }
  };
  const loop = (async () => {
    while (!over.signal.aborted) {
      await look();
      await delay(POLL_MS, over.signal, clock).catch((error: unknown) => {
        if (!over.signal.aborted) throw error;
      });
    }
    await look();
  })();
  return {
    get recordId() {
      return recordId;
    },
    get printed() {
      return printed;
    },
    stop: async () => {
      over.abort();
      await loop;
      if (recordId === null && fault !== null) throw fault;
    },
  };
}

async function findRecord(api: ApiClient, sipCallId: string): Promise<string | null> {
  for (const id of await api.newest()) {
    if ((await api.record(id)).sip_call_id === sipCallId) return id;
  }
  return null;
}

/** One line of transcript: when it was said, by whom, and what. */
export function describeMessage(message: DemoMessage): string {
  const at =
    message.start_ms === undefined ? '      ' : `${(message.start_ms / 1000).toFixed(1)} s`;
  const who = WHO[message.role] ?? message.role;
  return `  ${at.padStart(7)}  ${who.padEnd(6)}  ${wordsOf(message)}${message.interrupted ? ' [interrupted]' : ''}`;
}

const WHO: Readonly<Record<string, string>> = { assistant: 'agent', user: 'caller' };

function wordsOf(message: DemoMessage): string {
  if (message.content !== '') return message.content;
  const { start_ms: startMs, end_ms: endMs } = message;
  const length =
    startMs === undefined || endMs === undefined
      ? ''
      : `, ${((endMs - startMs) / 1000).toFixed(1)} s`;
  return `(speech${length}; no recogniser is configured)`;
}

/** The finished record. Errors: E_TIMEOUT when it is not closed in time. */
export async function finishedRecord(
  api: ApiClient,
  id: string,
  timeoutMs: number,
  clock: Clock,
): Promise<DemoRecord> {
  const endMs = clock.now() + timeoutMs;
  for (;;) {
    const record = await api.record(id);
    const isOver = record.status === 'ended' || record.status === 'failed';
    if (isOver && record.recording_status !== 'active') return record;
    if (clock.now() > endMs) {
      throw new AppError(
        'E_TIMEOUT',
        `the record of the call was not closed within ${timeoutMs} ms`,
      );
    }
    await delay(POLL_MS, undefined, clock);
  }
}
