/**
 * Turn-taking: who has the floor. Pure: it reads no clock (every event carries `at`) and does nothing but emit
 * commands, which the conversation carries out. The deadline is an absolute time in the context, so that a restored
 * snapshot still knows it; the conversation sends `deadline.reached` when it has passed.
 */
import { assign, emit, enqueueActions, setup } from 'xstate';
import { isBackchannel } from './backchannel.ts';
import type {
  FloorTask,
  TurnCommand,
  TurnConfig,
  TurnContext,
  TurnEndCause,
  TurnEvent,
} from './turn-types.ts';

/** Replies that may fail in a row before the call is given up. */
const MAX_FAILURES = 3;
/** Longer "speech" than this is a noisy line: the agent stops waiting for its end. */
const MAX_SPEECH_MS = 60_000;
/** Frames and messages between the caller's mouth and this machine. */
const DETECTION_SLACK_MS = 60;

type Moment = { readonly context: TurnContext; readonly event: TurnEvent };

const isCurrent = ({ context, event }: Moment): boolean =>
  'utterance' in event && event.utterance === context.utterance;
const isOver = ({ context, event }: Moment): boolean =>
  context.deadlineAt !== null && event.at >= context.deadlineAt;
const wordsOf = (event: TurnEvent): string =>
  event.type === 'stt.partial' || event.type === 'stt.final' ? event.text : '';
const isPrompt = (task: FloorTask, name: string): boolean =>
  task.kind === 'prompt' && task.name === name;
const interrupts = ({ context, event }: Moment): boolean =>
  context.config.bargeIn && wordsOf(event) !== '' && !isBackchannel(wordsOf(event));
const isEmpty = (moment: Moment): boolean =>
  isCurrent(moment) && moment.event.type === 'reply.queued' && moment.event.empty;
/** The agent has said all it wanted and the call goes on. */
const isFinished = (moment: Moment): boolean =>
  (moment.event.type === 'playout.done' ? isCurrent(moment) : isEmpty(moment)) &&
  !moment.context.endCall;

const base = setup({
  types: {
    input: {} as { readonly config: TurnConfig },
    context: {} as TurnContext,
    events: {} as TurnEvent,
    emitted: {} as TurnCommand,
  },
  guards: {
    isCurrent,
    isOver,
    bargesIn: ({ context }) => context.config.bargeIn,
    isSpeaking: ({ context }) => context.speaking,
    cannotRead: ({ context }) => !context.config.reads,
    /** Long enough to be an interruption whatever was said. */
    isLongSpeech: ({ context, event }) =>
      event.type === 'speech.stopped' &&
      event.endMs - event.startMs >= context.config.bargeInConfirmMs,
    interrupts,
    interruptsStill: (moment) => moment.context.speaking && interrupts(moment),
    hasWords: ({ event }) => wordsOf(event) !== '',
    readsLast: ({ context, event }) => event.type === 'stt.final' && context.unread <= 1,
    hasSaid: ({ context }) => context.said,
    isOverUnread: (moment) => isOver(moment) && moment.context.unread > 0,
    isOverSaid: (moment) => isOver(moment) && moment.context.said,
    /** An unconfirmed interruption ended and nobody could tell what it was. */
    isFalseBargeIn: (moment) => isOver(moment) && !moment.context.speaking,
    isPromptDue: (moment) =>
      isOver(moment) && moment.context.promptsGiven < moment.context.config.prompts,
    saidGoodbye: (moment) => isCurrent(moment) && isPrompt(moment.context.task, 'goodbye_silence'),
    saidLast: (moment) => isCurrent(moment) && moment.context.endCall,
    saysNothingAndEnds: (moment) =>
      isEmpty(moment) && moment.event.type === 'reply.queued' && moment.event.endCall,
    isFinished,
    isFinishedOverSpeech: (moment) => isFinished(moment) && moment.context.speaking,
    isFinishedOverUnread: (moment) => isFinished(moment) && moment.context.unread > 0,
    isFinishedOverWords: (moment) => isFinished(moment) && moment.context.said,
    isHopeless: (moment) => isCurrent(moment) && moment.context.failures + 1 >= MAX_FAILURES,
    failsOverSpeech: (moment) => isCurrent(moment) && moment.context.speaking,
  },
  actions: {
    arm: emit(({ context }) => ({ type: 'bargein.arm' as const, on: context.config.bargeIn })),
    disarm: emit({ type: 'bargein.arm' as const, on: false }),
    pause: emit({ type: 'playout.pause' as const }),
    resume: emit({ type: 'playout.resume' as const }),
    yieldFloor: emit(({ context, event }) => ({
      type: 'floor.yield' as const,
      utterance: context.utterance,
      since: event.type === 'dtmf' ? event.at : context.speechSince,
    })),
    noteSpeech: assign({
      speaking: true,
      speechSince: ({ context, event }) =>
        event.type === 'speech.started' ? event.startMs : context.speechSince,
    }),
    noteSilence: assign({ speaking: false }),
    noteUtterance: assign({
      speaking: false,
      unread: ({ context }) => context.unread + 1,
      speechEndMs: ({ context, event }) =>
        event.type === 'speech.stopped' ? event.endMs : context.speechEndMs,
    }),
    noteRead: assign({
      unread: ({ context }) => Math.max(0, context.unread - 1),
      said: ({ context, event }) =>
        context.said || wordsOf(event) !== '' || (!context.config.reads && context.unread > 0),
    }),
    /** Read while the agent speaks: a backchannel asks for no answer. */
    noteReadOver: assign({
      unread: ({ context }) => Math.max(0, context.unread - 1),
      said: ({ context: { said, config, unread }, event }) =>
        said ||
        (config.reads
          ? wordsOf(event) !== '' && !isBackchannel(wordsOf(event))
          : unread > 0 && !config.bargeIn),
    }),
    giveUpUnread: enqueueActions(({ context, enqueue }) => {
      if (context.unread === 0) return;
      enqueue.assign({ unread: 0 });
      enqueue.emit({ type: 'speech.giveUp' });
    }),
    noteEndCall: assign({
      endCall: ({ event }) => event.type === 'reply.queued' && event.endCall,
    }),
    noteFailure: assign({ failures: ({ context }) => context.failures + 1 }),
    /** An apology is no success: replies that fail in a row end the call. */
    noteFinished: assign({
      idleSince: ({ event }) => event.at,
      failures: ({ context }) => (isPrompt(context.task, 'apology') ? context.failures : 0),
    }),
    countPrompt: assign({ promptsGiven: ({ context }) => context.promptsGiven + 1 }),
    clearDeadline: assign({ deadlineAt: null }),
    setConfirmDeadline: assign({
      deadlineAt: ({ context: { speechSince, config } }) =>
        speechSince + config.bargeInConfirmMs + config.vadHangoverMs + DETECTION_SLACK_MS,
    }),
    setFalseDeadline: assign({
      deadlineAt: ({ context, event }) => event.at + context.config.falseBargeInMs,
    }),
    setIdleDeadline: assign({
      deadlineAt: ({ context: { idleSince, promptsGiven, config } }) =>
        idleSince + (promptsGiven < config.prompts ? config.promptAfterMs : config.hangupAfterMs),
    }),
    setSpeechDeadline: assign({ deadlineAt: ({ event }) => event.at + MAX_SPEECH_MS }),
    setEndpointDeadline: assign({
      deadlineAt: ({ context }) => context.speechEndMs + context.config.endpointMinMs,
    }),
    setFinalDeadline: assign({
      deadlineAt: ({ context, event }) => event.at + context.config.sttFinalMs,
    }),
    /** A new utterance number and the command to fill it. An answer starts the count of idle prompts anew. */
    take: enqueueActions(({ context, enqueue }, { task }: { task: FloorTask }) => {
      const utterance = context.utterance + 1;
      const promptsGiven = task.kind === 'reply' ? 0 : context.promptsGiven;
      enqueue.assign({
        utterance,
        task,
        promptsGiven,
        said: false,
        endCall: false,
        deadlineAt: null,
      });
      enqueue.emit({ type: 'floor.take', utterance, task });
    }),
    end: emit((_, { cause }: { cause: TurnEndCause }) => ({ type: 'turn.ended' as const, cause })),
  },
});

const replyToSpeech = {
  type: 'take',
  params: { task: { kind: 'reply', input: { kind: 'speech' } } },
} as const;
const replyToDtmf = {
  type: 'take',
  params: ({ event }: { event: TurnEvent }): { task: FloorTask } => ({
    task: {
      kind: 'reply',
      input: { kind: 'dtmf', digits: event.type === 'dtmf' ? event.digits : '' },
    },
  }),
} as const;
const greet = { type: 'take', params: { task: { kind: 'prompt', name: 'greeting' } } } as const;
const apologise = { type: 'take', params: { task: { kind: 'prompt', name: 'apology' } } } as const;
const sayGoodbye = {
  type: 'take',
  params: { task: { kind: 'prompt', name: 'goodbye_silence' } },
} as const;
const askStillThere = {
  type: 'take',
  params: { task: { kind: 'prompt', name: 'still_there' } },
} as const;
const endAs = (cause: TurnEndCause) => ({ type: 'end', params: { cause } }) as const;

/** The floor is free again: to whoever is speaking, to what is still being read, or to nobody. */
const freeTheFloor = [
  { guard: 'isFinishedOverSpeech', target: '#turn.hearing', actions: ['resume', 'noteFinished'] },
  {
    guard: 'isFinishedOverUnread',
    target: '#turn.recognising',
    actions: ['resume', 'noteFinished'],
  },
  {
    guard: 'isFinishedOverWords',
    target: '#turn.agent',
    reenter: true,
    actions: ['resume', 'noteFinished', replyToSpeech],
  },
  { guard: 'isFinished', target: '#turn.listening', actions: ['resume', 'noteFinished'] },
] as const;

/** The caller has begun to speak over the agent; playout stands still until it is clear what it was. */
const held = base.createStateConfig({
  entry: ['pause', 'setConfirmDeadline'],
  on: {
    'speech.started': { actions: ['noteSpeech', 'setConfirmDeadline'] },
    'speech.stopped': [
      {
        guard: 'isLongSpeech',
        target: '#turn.recognising',
        actions: ['yieldFloor', 'noteUtterance'],
      },
      { guard: 'cannotRead', target: 'flowing', actions: ['noteSilence', 'resume'] },
      { actions: ['noteUtterance', 'setFalseDeadline'] },
    ],
    'stt.partial': { guard: 'interrupts', target: '#turn.hearing', actions: ['yieldFloor'] },
    'stt.final': [
      {
        guard: 'interruptsStill',
        target: '#turn.hearing',
        actions: ['yieldFloor', 'noteReadOver'],
      },
      { guard: 'interrupts', target: '#turn.recognising', actions: ['yieldFloor', 'noteReadOver'] },
      // An earlier utterance was read; what is being said now is judged by itself.
      { guard: 'isSpeaking', actions: ['noteReadOver'] },
      { target: 'flowing', actions: ['noteReadOver', 'resume'] },
    ],
    'reply.failed': {
      guard: 'failsOverSpeech',
      target: '#turn.hearing',
      actions: ['yieldFloor', 'noteFailure'],
    },
    'deadline.reached': [
      { guard: 'isFalseBargeIn', target: 'flowing', actions: ['resume'] },
      { guard: 'isOver', target: '#turn.hearing', actions: ['yieldFloor'] },
    ],
  },
});

const flowing = base.createStateConfig({
  entry: ['clearDeadline'],
  on: {
    'speech.started': [
      { guard: 'bargesIn', target: 'held', actions: ['noteSpeech'] },
      { actions: ['noteSpeech'] },
    ],
    'speech.stopped': { actions: ['noteUtterance'] },
    // Read only after playout went on: late, but an interruption all the same.
    'stt.final': [
      {
        guard: 'interruptsStill',
        target: '#turn.hearing',
        actions: ['yieldFloor', 'noteReadOver'],
      },
      { guard: 'interrupts', target: '#turn.recognising', actions: ['yieldFloor', 'noteReadOver'] },
      { actions: ['noteReadOver'] },
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
      { guard: 'saidGoodbye', target: 'done', actions: [endAs('caller.silent')] },
      { guard: 'saidLast', target: 'done', actions: [endAs('agent.done')] },
      ...freeTheFloor,
    ],
    'reply.queued': [
      { guard: 'saysNothingAndEnds', target: 'done', actions: [endAs('agent.done')] },
      ...freeTheFloor,
      { guard: 'isCurrent', actions: ['noteEndCall'] },
    ],
    'reply.failed': [
      { guard: 'isHopeless', target: 'done', actions: [endAs('provider.failed')] },
      {
        guard: 'isCurrent',
        target: 'agent',
        reenter: true,
        actions: ['noteFailure', apologise],
      },
    ],
    dtmf: {
      target: 'agent',
      reenter: true,
      actions: ['yieldFloor', 'giveUpUnread', replyToDtmf],
    },
  },
  states: { flowing, held },
});

/** Nobody speaks. Idle prompts, then the hang-up for silence. */
const listening = base.createStateConfig({
  entry: ['setIdleDeadline'],
  on: {
    'speech.started': { target: 'hearing', actions: ['noteSpeech'] },
    // Speech that began over the agent's last words.
    'speech.stopped': { target: 'recognising', actions: ['noteUtterance'] },
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
});

/** The caller speaks. */
const hearing = base.createStateConfig({
  entry: ['setSpeechDeadline'],
  on: {
    'speech.started': { actions: ['noteSpeech', 'setSpeechDeadline'] },
    'speech.stopped': { target: 'recognising', actions: ['noteUtterance'] },
    'stt.final': { actions: ['noteRead'] },
    dtmf: { target: 'agent', actions: ['giveUpUnread', replyToDtmf] },
    'deadline.reached': { guard: 'isOver', target: 'listening', actions: ['noteSilence'] },
  },
});

/** The caller has stopped: wait for the end-of-turn silence and for the recogniser, whichever comes last. */
const recognising = base.createStateConfig({
  initial: 'pausing',
  on: {
    'speech.started': { target: 'hearing', actions: ['noteSpeech'] },
    dtmf: { target: 'agent', actions: ['giveUpUnread', replyToDtmf] },
  },
  states: {
    pausing: {
      entry: ['setEndpointDeadline'],
      on: {
        'stt.final': { actions: ['noteRead'] },
        'deadline.reached': [
          { guard: 'isOverUnread', target: 'reading' },
          { guard: 'isOverSaid', target: '#turn.agent', actions: [replyToSpeech] },
          { guard: 'isOver', target: '#turn.listening' },
        ],
      },
    },
    reading: {
      entry: ['setFinalDeadline'],
      on: {
        'stt.final': [
          { guard: 'readsLast', target: 'read', actions: ['noteRead'] },
          { actions: ['noteRead'] },
        ],
        'deadline.reached': [
          {
            guard: 'isOverSaid',
            target: '#turn.agent',
            actions: ['giveUpUnread', replyToSpeech],
          },
          // The recogniser is silent: better to ask again than to say nothing.
          { guard: 'isOver', target: '#turn.agent', actions: ['giveUpUnread', apologise] },
        ],
      },
    },
    read: {
      always: [
        { guard: 'hasSaid', target: '#turn.agent', actions: [replyToSpeech] },
        { target: '#turn.listening' },
      ],
    },
  },
});

export const turnMachine = base.createMachine({
  id: 'turn',
  context: ({ input }) => ({
    config: input.config,
    utterance: input.config.saidBefore ?? 0,
    task: { kind: 'prompt', name: 'greeting' },
    endCall: false,
    failures: 0,
    promptsGiven: 0,
    idleSince: 0,
    speechSince: 0,
    speaking: false,
    speechEndMs: 0,
    unread: 0,
    said: false,
    deadlineAt: null,
  }),
  initial: 'starting',
  states: {
    starting: { always: { target: 'agent', actions: [greet] } },
    agent,
    listening,
    hearing,
    recognising,
    done: { type: 'final' },
  },
});
