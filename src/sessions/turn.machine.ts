/**
 * Turn-taking: who has the floor. Pure: it reads no clock (every event carries `at`, call time in ms) and does nothing
 * but emit commands, which the conversation carries out. Deadlines are absolute times in the context, so that a
 * restored snapshot still knows them; the conversation sends `deadline.reached` when one has passed.
 */
import { assign, emit, enqueueActions, setup } from 'xstate';
import { isBackchannel } from './backchannel.ts';

export type TurnConfig = {
  /** Silence after the caller's last word before the agent takes the floor. */
  readonly endpointMinMs: number;
  readonly bargeIn: boolean;
  /** Speech this long is an interruption whatever it says. */
  readonly bargeInConfirmMs: number;
  /** An unconfirmed interruption is given up after this; playout goes on from the same sample. */
  readonly falseBargeInMs: number;
  /** How long a recogniser may take to say what was heard. */
  readonly sttFinalMs: number;
  readonly promptAfterMs: number;
  readonly prompts: number;
  readonly hangupAfterMs: number;
  /** Whether the recogniser gives text; if not, only the length of speech decides. */
  readonly reads: boolean;
};

/** What the agent is asked to say. */
export type FloorTask =
  | {
      readonly kind: 'prompt';
      readonly name: 'greeting' | 'still_there' | 'goodbye_silence' | 'apology';
    }
  | {
      readonly kind: 'reply';
      readonly input:
        | { readonly kind: 'speech' }
        | { readonly kind: 'dtmf'; readonly digits: string };
    };

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
  /** The utterance has been read (or given up as unreadable: empty text). */
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
  /** Throw the utterance away; the transcript keeps what was heard. `since`: call time the caller's speech began. */
  | {
      readonly type: 'floor.yield';
      readonly utterance: number;
      readonly since: number;
      readonly by: 'speech' | 'dtmf';
    }
  | { readonly type: 'playout.resume'; readonly utterance: number }
  | { readonly type: 'bargein.arm'; readonly on: boolean }
  | { readonly type: 'turn.ended'; readonly cause: TurnEndCause };

export type TurnContext = {
  readonly config: TurnConfig;
  /** Number of the utterance being said, or said last. */
  readonly utterance: number;
  readonly task: FloorTask;
  readonly endCall: boolean;
  readonly failures: number;
  readonly promptsGiven: number;
  readonly speechSince: number;
  /** The detector hears speech right now. */
  readonly speaking: boolean;
  readonly speechEndMs: number;
  /** Utterances of the caller that are not read yet. */
  readonly unread: number;
  /** Absolute call time of the next thing to decide; null when nothing is pending. */
  readonly deadlineAt: number | null;
};

/** Consecutive failed replies after which the call is given up. */
const MAX_FAILURES = 3;

const base = setup({
  types: {
    input: {} as { readonly config: TurnConfig },
    context: {} as TurnContext,
    events: {} as TurnEvent,
    emitted: {} as TurnCommand,
  },
  guards: {
    isCurrent: ({ context, event }) => isCurrent(context, event),
    isOver: ({ context, event }) => isOver(context, event),
    /** The deadline has passed and some utterance of the caller is still unread. */
    isOverUnread: ({ context, event }) => isOver(context, event) && context.unread > 0,
    /** An unconfirmed interruption ended and nobody could tell what it was. */
    isFalseBargeIn: ({ context, event }) => isOver(context, event) && !context.speaking,
    bargesIn: ({ context }) => context.config.bargeIn,
    /** Long enough to be an interruption whatever was said. */
    isLongSpeech: ({ context, event }) =>
      event.type === 'speech.stopped' &&
      event.endMs - event.startMs >= context.config.bargeInConfirmMs,
    cannotRead: ({ context }) => !context.config.reads,
    interrupts: ({ context, event }) =>
      context.config.bargeIn && wordsOf(event) !== '' && !isBackchannel(wordsOf(event)),
    hasWords: ({ event }) => wordsOf(event) !== '',
    isPromptDue: ({ context, event }) =>
      isOver(context, event) && context.promptsGiven < context.config.prompts,
    readsLast: ({ context, event }) => event.type === 'stt.final' && context.unread <= 1,
    /** The last word before a hang-up has been heard. */
    saidGoodbye: ({ context, event }) =>
      isCurrent(context, event) &&
      context.task.kind === 'prompt' &&
      context.task.name === 'goodbye_silence',
    saidLast: ({ context, event }) => isCurrent(context, event) && context.endCall,
    saidWhileSpoken: ({ context, event }) =>
      isCurrent(context, event) && !context.endCall && context.speaking,
    saidWhileUnread: ({ context, event }) =>
      isCurrent(context, event) && !context.endCall && context.unread > 0,
    saysNothingAndEnds: ({ context, event }) =>
      event.type === 'reply.queued' && isCurrent(context, event) && event.empty && event.endCall,
    saysNothing: ({ context, event }) =>
      event.type === 'reply.queued' && isCurrent(context, event) && event.empty,
    isHopeless: ({ context, event }) =>
      isCurrent(context, event) && context.failures + 1 >= MAX_FAILURES,
  },
  actions: {
    arm: emit(({ context }) => ({ type: 'bargein.arm' as const, on: context.config.bargeIn })),
    disarm: emit({ type: 'bargein.arm' as const, on: false }),
    resume: emit(({ context }) => ({
      type: 'playout.resume' as const,
      utterance: context.utterance,
    })),
    yieldToSpeech: emit(({ context }) => ({
      type: 'floor.yield' as const,
      utterance: context.utterance,
      since: context.speechSince,
      by: 'speech' as const,
    })),
    yieldToDtmf: emit(({ context, event }) => ({
      type: 'floor.yield' as const,
      utterance: context.utterance,
      since: event.at,
      by: 'dtmf' as const,
    })),
    noteSpeech: assign({
      speechSince: ({ context, event }) =>
        event.type === 'speech.started' ? event.startMs : context.speechSince,
      speaking: true,
      promptsGiven: 0,
    }),
    noteUtterance: assign({
      speaking: false,
      unread: ({ context }) => context.unread + 1,
      speechEndMs: ({ context, event }) =>
        event.type === 'speech.stopped' ? event.endMs : context.speechEndMs,
    }),
    noteRead: assign({ unread: ({ context }) => Math.max(0, context.unread - 1) }),
    forgetUnread: assign({ unread: 0 }),
    noteEndCall: assign({ endCall: ({ event }) => event.type === 'reply.queued' && event.endCall }),
    noteFailure: assign({ failures: ({ context }) => context.failures + 1 }),
    noteSilence: assign({ speaking: false }),
    /** An apology is no success: three replies that fail in a row end the call. */
    noteSuccess: assign({ failures: ({ context }) => (isApology(context) ? context.failures : 0) }),
    countPrompt: assign({ promptsGiven: ({ context }) => context.promptsGiven + 1 }),
    clearDeadline: assign({ deadlineAt: null }),
    setConfirmDeadline: assign({
      deadlineAt: ({ context }) => context.speechSince + context.config.bargeInConfirmMs,
    }),
    setFalseDeadline: assign({
      deadlineAt: ({ context, event }) => event.at + context.config.falseBargeInMs,
    }),
    setIdleDeadline: assign({
      deadlineAt: ({ context, event }) =>
        event.at +
        (context.promptsGiven < context.config.prompts
          ? context.config.promptAfterMs
          : context.config.hangupAfterMs),
    }),
    setEndpointDeadline: assign({
      deadlineAt: ({ context }) => context.speechEndMs + context.config.endpointMinMs,
    }),
    setFinalDeadline: assign({
      deadlineAt: ({ context, event }) => event.at + context.config.sttFinalMs,
    }),
    /** A new utterance number and the command to fill it. */
    take: enqueueActions(({ context, enqueue }, params: { task: FloorTask }) => {
      const utterance = context.utterance + 1;
      enqueue.assign({ utterance, task: params.task, endCall: false, deadlineAt: null });
      enqueue.emit({ type: 'floor.take', utterance, task: params.task });
    }),
    end: emit((_, params: { cause: TurnEndCause }) => ({
      type: 'turn.ended' as const,
      cause: params.cause,
    })),
  },
});

const replyToSpeech = {
  type: 'take',
  params: { task: { kind: 'reply', input: { kind: 'speech' } } },
} as const;
const apologise = { type: 'take', params: { task: { kind: 'prompt', name: 'apology' } } } as const;
const sayGoodbye = {
  type: 'take',
  params: { task: { kind: 'prompt', name: 'goodbye_silence' } },
} as const;
const askStillThere = {
  type: 'take',
  params: { task: { kind: 'prompt', name: 'still_there' } },
} as const;
const greet = { type: 'take', params: { task: { kind: 'prompt', name: 'greeting' } } } as const;
const replyToDtmf = {
  type: 'take',
  params: ({ event }: { event: TurnEvent }) => ({
    task: {
      kind: 'reply' as const,
      input: { kind: 'dtmf' as const, digits: event.type === 'dtmf' ? event.digits : '' },
    },
  }),
} as const;

/** The caller has begun to speak over the agent; playout stands still until it is clear what it was. */
const held = base.createStateConfig({
  entry: ['setConfirmDeadline'],
  on: {
    'speech.stopped': [
      {
        guard: 'isLongSpeech',
        target: '#turn.recognising',
        actions: ['yieldToSpeech', 'noteUtterance'],
      },
      { guard: 'cannotRead', target: 'flowing', actions: ['noteSilence', 'resume'] },
      { actions: ['noteUtterance', 'setFalseDeadline'] },
    ],
    'speech.started': { actions: ['noteSpeech', 'setConfirmDeadline'] },
    'stt.partial': { guard: 'interrupts', target: '#turn.hearing', actions: ['yieldToSpeech'] },
    'stt.final': [
      { guard: 'interrupts', target: '#turn.recognising', actions: ['yieldToSpeech', 'noteRead'] },
      { target: 'flowing', actions: ['noteRead', 'resume'] },
    ],
    /** The last sample had just left when the caller began: nothing to interrupt, but somebody to listen to. */
    'playout.done': [
      { guard: 'saidWhileSpoken', target: '#turn.hearing', actions: ['resume', 'noteSuccess'] },
      { guard: 'saidWhileUnread', target: '#turn.recognising', actions: ['resume', 'noteSuccess'] },
    ],
    'deadline.reached': [
      { guard: 'isFalseBargeIn', target: 'flowing', actions: ['resume'] },
      { guard: 'isOver', target: '#turn.hearing', actions: ['yieldToSpeech'] },
    ],
  },
});

/** The agent has the floor: its words are being made or played. */
const agent = base.createStateConfig({
  entry: ['arm'],
  exit: ['disarm'],
  initial: 'flowing',
  on: {
    'playout.done': [
      { guard: 'saidGoodbye', target: 'done', actions: [endBecause('caller.silent')] },
      { guard: 'saidLast', target: 'done', actions: [endBecause('agent.done')] },
      { guard: 'isCurrent', target: 'listening', actions: ['noteSuccess'] },
    ],
    'reply.queued': [
      { guard: 'saysNothingAndEnds', target: 'done', actions: [endBecause('agent.done')] },
      { guard: 'saysNothing', target: 'listening' },
      { guard: 'isCurrent', actions: ['noteEndCall'] },
    ],
    'reply.failed': [
      { guard: 'isHopeless', target: 'done', actions: [endBecause('provider.failed')] },
      { guard: 'isCurrent', target: 'agent', reenter: true, actions: ['noteFailure', apologise] },
    ],
    dtmf: { target: 'agent', reenter: true, actions: ['yieldToDtmf', 'forgetUnread', replyToDtmf] },
  },
  states: {
    flowing: {
      entry: ['clearDeadline'],
      on: {
        'speech.started': [
          { guard: 'bargesIn', target: 'held', actions: ['noteSpeech'] },
          { actions: ['noteSpeech'] },
        ],
        'speech.stopped': { actions: ['noteUtterance'] },
        /** Read only after playout went on: late, but an interruption all the same. */
        'stt.final': [
          {
            guard: 'interrupts',
            target: '#turn.recognising',
            actions: ['yieldToSpeech', 'noteRead'],
          },
          { actions: ['noteRead'] },
        ],
      },
    },
    held,
  },
});

function endBecause(cause: TurnEndCause): { type: 'end'; params: { cause: TurnEndCause } } {
  return { type: 'end', params: { cause } };
}

function wordsOf(event: TurnEvent): string {
  return event.type === 'stt.partial' || event.type === 'stt.final' ? event.text : '';
}

function isOver(context: TurnContext, event: TurnEvent): boolean {
  return context.deadlineAt !== null && event.at >= context.deadlineAt;
}

function isCurrent(context: TurnContext, event: TurnEvent): boolean {
  return 'utterance' in event && event.utterance === context.utterance;
}

function isApology(context: TurnContext): boolean {
  return context.task.kind === 'prompt' && context.task.name === 'apology';
}

export const turnMachine = base.createMachine({
  id: 'turn',
  context: ({ input }) => ({
    config: input.config,
    utterance: 0,
    task: { kind: 'prompt', name: 'greeting' },
    endCall: false,
    failures: 0,
    promptsGiven: 0,
    speechSince: 0,
    speaking: false,
    speechEndMs: 0,
    unread: 0,
    deadlineAt: null,
  }),
  initial: 'starting',
  states: {
    starting: { always: { target: 'agent', actions: [greet] } },
    agent,
    /** Nobody speaks. Idle prompts, then the hang-up for silence. */
    listening: {
      entry: ['setIdleDeadline'],
      on: {
        'speech.started': { target: 'hearing', actions: ['noteSpeech'] },
        /** Spoken over the agent's last words and read only now. */
        'stt.final': [
          { guard: 'hasWords', target: 'agent', actions: ['noteRead', replyToSpeech] },
          { actions: ['noteRead'] },
        ],
        dtmf: { target: 'agent', actions: [replyToDtmf] },
        'deadline.reached': [
          { guard: 'isPromptDue', target: 'agent', actions: ['countPrompt', askStillThere] },
          { guard: 'isOver', target: 'agent', actions: [sayGoodbye] },
        ],
      },
    },
    /** The caller speaks. */
    hearing: {
      entry: ['clearDeadline'],
      on: {
        'speech.started': { actions: ['noteSpeech'] },
        'speech.stopped': { target: 'recognising', actions: ['noteUtterance'] },
        'stt.final': { actions: ['noteRead'] },
        dtmf: { target: 'agent', actions: ['forgetUnread', replyToDtmf] },
      },
    },
    /** The caller has stopped: wait for the end-of-turn silence and for the recogniser, whichever comes last. */
    recognising: {
      initial: 'pausing',
      on: {
        'speech.started': { target: 'hearing', actions: ['noteSpeech'] },
        dtmf: { target: 'agent', actions: ['forgetUnread', replyToDtmf] },
      },
      states: {
        pausing: {
          entry: ['setEndpointDeadline'],
          on: {
            'stt.final': { actions: ['noteRead'] },
            'deadline.reached': [
              { guard: 'isOverUnread', target: 'reading' },
              { guard: 'isOver', target: '#turn.agent', actions: [replyToSpeech] },
            ],
          },
        },
        reading: {
          entry: ['setFinalDeadline'],
          on: {
            'stt.final': [
              {
                guard: 'readsLast',
                target: '#turn.agent',
                actions: ['forgetUnread', replyToSpeech],
              },
              { actions: ['noteRead'] },
            ],
            'deadline.reached': {
              guard: 'isOver',
              target: '#turn.agent',
              actions: ['forgetUnread', replyToSpeech],
            },
          },
        },
      },
    },
    done: { type: 'final' },
  },
});
