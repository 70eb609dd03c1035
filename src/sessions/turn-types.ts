/** What goes into the turn machine and what comes out of it. All times are call time in ms. */
import type { PauseDials } from './end-of-turn.ts';

export type TurnConfig = {
  /** Nothing is said before `open`; what is asked until then waits. Default: the greeting comes at once. */
  readonly waits?: boolean;
  /** Utterances said before the machine began, which keep their numbers. Default 0. */
  readonly saidBefore?: number;
  /** What the call began in; words tell for themselves. */
  readonly language: 'zh' | 'en';
  /** How long the caller's silence must last before the agent takes the floor, unless a turn asks for others. */
  readonly dials: PauseDials;
  readonly bargeIn: boolean;
  /** Speech this long is an interruption; a recogniser gets time to read it first. */
  readonly bargeInConfirmMs: number;
  /** 0: only plain words interrupt; 1: any speech does. */
  readonly sensitivity: number;
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
  /** What was said is asked again when its answer was given up unheard; a vendor with a history of its own has it. */
  readonly asksAgain?: boolean;
};

export type TurnPrompt = 'greeting' | 'still_there' | 'goodbye_silence' | 'apology';

/** What the agent is asked to say. */
export type FloorTask =
  | { readonly kind: 'prompt'; readonly name: TurnPrompt }
  | { readonly kind: 'reply'; readonly input: ReplyInput }
  /** Words or sound from outside; what they are is the conversation's to know, by the number. */
  | { readonly kind: 'asked'; readonly interruptible: boolean };

export type ReplyInput =
  | { readonly kind: 'speech' }
  | { readonly kind: 'dtmf'; readonly digits: string }
  /** A private note that the agent is to act on. */
  | { readonly kind: 'note' };

/** Waits for the floor under the number that it will be said by. */
export type WaitingTask = { readonly utterance: number; readonly task: FloorTask };

/** Tasks that wait at one time; more are not taken. */
export const MAX_WAITING = 16;
/** Keys that wait until something that may not be interrupted is over. */
export const MAX_WAITING_KEYS = 64;

export type TurnEndCause = 'agent.done' | 'caller.silent' | 'provider.failed';

export type TurnEvent =
  | {
      readonly type: 'speech.started';
      readonly at: number;
      readonly startMs: number;
      /** What of the agent's utterance had been heard; absent or null: it was not speaking. */
      readonly over?: SpokenOver | null;
    }
  /** It goes on: so much of it was speech. */
  | { readonly type: 'speech.lasted'; readonly at: number; readonly speechMs: number }
  | {
      readonly type: 'speech.stopped';
      readonly at: number;
      readonly startMs: number;
      readonly endMs: number;
    }
  | { readonly type: 'stt.partial'; readonly at: number; readonly text: string }
  /** The utterance has been read, or nothing could be read in it (empty text). */
  | { readonly type: 'stt.final'; readonly at: number; readonly text: string }
  /** Of a semantic model, about `text`: how likely the turn is over, 0..1. */
  | {
      readonly type: 'likelihood';
      readonly at: number;
      readonly text: string;
      readonly likelihood: number;
    }
  /** The caller's next turn has a pace of its own; null: as the agent is set. */
  | {
      readonly type: 'dials';
      readonly at: number;
      readonly dials: Pick<PauseDials, 'minMs' | 'maxMs'> | null;
    }
  | { readonly type: 'dtmf'; readonly at: number; readonly digits: string }
  /** The caller has written instead of spoken: wants an answer now, whatever the agent is saying. */
  | { readonly type: 'text'; readonly at: number }
  /** The caller wants the agent to be quiet, and says nothing himself. */
  | { readonly type: 'interrupt'; readonly at: number }
  | { readonly type: 'playout.done'; readonly at: number; readonly utterance: number }
  /** Its first packet has been sent. */
  | { readonly type: 'agent.began'; readonly at: number; readonly utterance: number }
  /** An utterance is over: what the caller heard of it. */
  | { readonly type: 'agent.heard'; readonly at: number; readonly text: string }
  /** The agent has the floor, and nothing of it has been sent for too long. */
  | { readonly type: 'floor.stuck'; readonly at: number; readonly utterance: number }
  /** All parts of the reply are queued; `endCall`: hang up when they have been heard. */
  | {
      readonly type: 'reply.queued';
      readonly at: number;
      readonly utterance: number;
      readonly endCall: boolean;
      readonly empty: boolean;
    }
  | { readonly type: 'reply.failed'; readonly at: number; readonly utterance: number }
  /** Of a machine that waits: the conversation may begin. */
  | { readonly type: 'open'; readonly at: number }
  /** Said once the floor is free, before any reply; `urgent`: at once, instead of what is being said. */
  | {
      readonly type: 'ask';
      readonly at: number;
      readonly task: FloorTask;
      readonly urgent: boolean;
    }
  /** Not to be said after all; nothing happens when it has the floor already. */
  | { readonly type: 'unask'; readonly at: number; readonly utterance: number }
  /** The agent is kept from hearing the caller: nobody asks why he says nothing. */
  | { readonly type: 'caller.muted'; readonly at: number; readonly on: boolean }
  /** Of a vendor that takes turns by itself: what is being said over the agent is meant to be an answer. */
  | { readonly type: 'speech.confirmed'; readonly at: number }
  /** Of the same: the caller has said something, so that his silence counts anew. */
  | { readonly type: 'caller.spoke'; readonly at: number }
  | { readonly type: 'deadline.reached'; readonly at: number };

export type TurnCommand =
  /** Take the floor: `utterance` is the generation number of everything said for this task. */
  | { readonly type: 'floor.take'; readonly utterance: number; readonly task: FloorTask }
  /**
   * Throw the utterance away; the transcript keeps what was heard. `since`: when the caller began; null: somebody else
   * wants it. `isUnanswered`: nothing of it was heard, so what it was to answer is answered with what comes next.
   */
  | {
      readonly type: 'floor.yield';
      readonly utterance: number;
      readonly since: number | null;
      readonly isUnanswered?: boolean;
    }
  /** Stand still. The worker has mostly done so by itself; not when speech began just before it was armed. */
  | { readonly type: 'playout.pause' }
  | { readonly type: 'playout.resume' }
  /** `confirmMs`: speech of this length is to be told of; Infinity: of none. */
  | { readonly type: 'bargein.arm'; readonly on: boolean; readonly confirmMs: number }
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

/**
 * How long the agent had been heard, and what, when the caller began to speak over it. `asks`: a question had just been
 * heard, or was about to end; absent: what was heard tells.
 */
export type SpokenOver = {
  readonly spokeMs: number;
  readonly text: string | null;
  readonly asks?: boolean;
};

/** What the caller has said since the agent last took the floor to answer him. */
export type CallerTurn = {
  readonly words: string;
  /** What is being read; not part of `words`. */
  readonly partial: string;
  readonly speechMs: number;
  /** Of the words as they are now; null: unknown. */
  readonly likelihood: number | null;
};

export const NO_TURN: CallerTurn = { words: '', partial: '', speechMs: 0, likelihood: null };

export type TurnContext = {
  readonly config: TurnConfig;
  /** Of the caller's present turn. */
  readonly dials: PauseDials;
  readonly turn: CallerTurn;
  readonly lastAgentText: string | null;
  /** Of the interruption that is being judged. */
  readonly over: SpokenOver;
  /** So much of the present speech is known to be speech. */
  readonly lastedMs: number;
  /** Number of the utterance being said, or said last. */
  readonly utterance: number;
  /** The latest utterance of which anything was heard; 0: none. */
  readonly begun: number;
  /** What `utterance` answers, if it answers speech. */
  readonly answered: CallerTurn;
  readonly task: FloorTask;
  /** The highest number given away: what waits has its own already. */
  readonly lastNumber: number;
  /** In the order in which they will be said. */
  readonly waiting: readonly WaitingTask[];
  readonly isCallerMuted: boolean;
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
