/** What the agent is saying, or about to say, while a realtime model speaks for it. */
import type { TimerHandle } from '#lib/clock.ts';
import type { AppError } from '#lib/errors.ts';
import type { ToolCall } from '#providers/contract.ts';
import type { RealtimeReply } from './realtime-reply.ts';
import type { Utterance } from './utterance.ts';

/** One turn of the agent. */
export type Work = {
  readonly number: number;
  readonly reply: RealtimeReply;
  readonly abort: AbortController;
  /** Null before it has the floor. */
  utterance: Utterance | null;
  /** Replies of the model and answers of tools that it waits for. */
  open: number;
  /** Given up, or said. */
  isOver: boolean;
  /** The call ends with it. */
  endCall: boolean;
  /** What went wrong with it last. */
  error: AppError | null;
  /** The words that the model was asked to say; null: it says its own. */
  readonly wanted: string | null;
  /** Moderation has withheld its words. */
  isWithheld: boolean;
  /** What the model wants done, until its reply is over. */
  calls: ToolCall[];
  /** Called when the reply that is waited for is over. */
  onReply: (() => void) | null;
  timer: TimerHandle | undefined;
};

export function newWork(number: number, reply: RealtimeReply, wanted: string | null): Work {
  return {
    ...{ number, reply, wanted, abort: new AbortController(), utterance: null },
    ...{ open: 0, isOver: false, endCall: false, error: null, isWithheld: false },
    ...{ calls: [], onReply: null, timer: undefined },
  };
}
