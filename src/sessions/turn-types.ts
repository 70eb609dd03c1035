/** What goes into the turn machine and what comes out of it. All times are call time in ms. */

export type TurnConfig = {
  /** Utterances said before the machine began, which keep their numbers. Default 0. */
  readonly saidBefore?: number;
  /** Silence after the caller's last word before the agent takes the floor. */
  readonly endpointMinMs: number;
  readonly bargeIn: boolean;
  /** Speech this long is an interruption whatever it says. */
  readonly bargeInConfirmMs: number;
  /** An unconfirmed interruption is given up after this; playout goes on from the same sample. */
  readonly falseBargeInMs: number;
  /** The detector tells the end of speech this much late: until then a click looks like a word. */
  readonly vadHangoverMs: number;
  /** How long a recogniser may take to say what was heard. */
  readonly sttFinalMs: number;
  readonly promptAfterMs: number;
  readonly prompts: number;
  readonly hangupAfterMs: number;
  /** Whether the recogniser gives text; if not, only the length of speech decides. */
  readonly reads: boolean;
};

export type TurnPrompt = 'greeting' | 'still_there' | 'goodbye_silence' | 'apology';

/** What the agent is asked to say. */
export type FloorTask =
  | { readonly kind: 'prompt'; readonly name: TurnPrompt }
  | { readonly kind: 'reply'; readonly input: ReplyInput };

export type ReplyInput =
  | { readonly kind: 'speech' }
  | { readonly kind: 'dtmf'; readonly digits: string };

export type TurnEndCause = 'agent.done' | 'caller.silent' | 'provider.failed';

export type TurnEvent =
  | { readonly type: 'speech.started'; readonly at: number; readonly startMs: number }
  | {
      readonly type: 'speech.stopped';
      readonly at: number;
      readonly startMs: number;
      readonly endMs: number;
    }
  | { readonly type: 'stt.partial'; readonly at: number; readonly text: string }
  /** The utterance has been read, or nothing could be read in it (empty text). */
  | { readonly type: 'stt.final'; readonly at: number; readonly text: string }
  | { readonly type: 'dtmf'; readonly at: number; readonly digits: string }
  | { readonly type: 'playout.done'; readonly at: number; readonly utterance: number }
  /** All parts of the reply are queued; `endCall`: hang up when they have been heard. */
  | {
      readonly type: 'reply.queued';
      readonly at: number;
      readonly utterance: number;
      readonly endCall: boolean;
      readonly empty: boolean;
    }
  | { readonly type: 'reply.failed'; readonly at: number; readonly utterance: number }
  | { readonly type: 'deadline.reached'; readonly at: number };

export type TurnCommand =
  /** Take the floor: `utterance` is the generation number of everything said for this task. */
  | { readonly type: 'floor.take'; readonly utterance: number; readonly task: FloorTask }
  /** Throw the utterance away; the transcript keeps what was heard. `since`: when the caller began. */
  | { readonly type: 'floor.yield'; readonly utterance: number; readonly since: number }
  /** Stand still. The worker has mostly done so by itself; not when speech began just before it was armed. */
  | { readonly type: 'playout.pause' }
  | { readonly type: 'playout.resume' }
  | { readonly type: 'bargein.arm'; readonly on: boolean }
  /** Nobody waits any longer for the recogniser to read what was said until now. */
  | { readonly type: 'speech.giveUp' }
  | { readonly type: 'turn.ended'; readonly cause: TurnEndCause };

export const TURN_COMMANDS: readonly TurnCommand['type'][] = [
  'floor.take',
  'floor.yield',
  'playout.pause',
  'playout.resume',
  'bargein.arm',
  'speech.giveUp',
  'turn.ended',
];

export type TurnContext = {
  readonly config: TurnConfig;
  /** Number of the utterance being said, or said last. */
  readonly utterance: number;
  readonly task: FloorTask;
  readonly endCall: boolean;
  /** Replies that failed in a row. */
  readonly failures: number;
  readonly promptsGiven: number;
  /** Since when the agent has had nothing to say: noise does not move it, words do. */
  readonly idleSince: number;
  readonly speechSince: number;
  /** The detector hears speech right now. */
  readonly speaking: boolean;
  readonly speechEndMs: number;
  /** Utterances of the caller that are not read yet. */
  readonly unread: number;
  /** Something was said since the agent last took the floor: words, or sound when nobody can read. */
  readonly said: boolean;
  /** Absolute time of the next thing to decide; null when nothing is pending. */
  readonly deadlineAt: number | null;
};
