/**
 * Turn-taking: who has the floor. Pure: it reads no clock (every event carries `at`) and does nothing but emit
 * commands, which the conversation carries out. The deadline is an absolute time in the context, so that a restored
 * snapshot still knows it; the conversation sends `deadline.reached` when it has passed.
 */
import { assign, emit, enqueueActions, setup } from 'xstate';
import { isBackchannel } from './backchannel.ts';
import { isPrompt, mayBargeIn, turnGuards, wordsOf } from './turn-guards.ts';
import {
  MAX_WAITING,
  MAX_WAITING_KEYS,
  type FloorTask,
  type TurnCommand,
  type TurnConfig,
  type TurnContext,
  type TurnEndCause,
  type TurnEvent,
  type WaitingTask,
} from './turn-types.ts';

/** Longer "speech" than this is a noisy line: the agent stops waiting for its end. */
const MAX_SPEECH_MS = 60_000;
/** Frames and messages between the caller's mouth and this machine. */
const DETECTION_SLACK_MS = 60;

const base = setup({
  types: {
    input: {} as { readonly config: TurnConfig },
    context: {} as TurnContext,
    events: {} as TurnEvent,
    emitted: {} as TurnCommand,
  },
  guards: turnGuards,
  actions: {
    arm: emit(({ context }) => ({ type: 'bargein.arm' as const, on: mayBargeIn(context) })),
    disarm: emit({ type: 'bargein.arm' as const, on: false }),
    pause: emit({ type: 'playout.pause' as const }),
    resume: emit({ type: 'playout.resume' as const }),
    /** What was to follow the interrupted words, does not: neither does the end of the call. */
    yieldFloor: enqueueActions(({ context, event, enqueue }) => {
      const isPressed = ['dtmf', 'text', 'interrupt'].includes(event.type);
      const since = isPressed ? event.at : context.speechSince;
      enqueue.assign({ endCall: false });
      enqueue.emit({
        type: 'floor.yield',
        utterance: context.utterance,
        since: event.type === 'ask' ? null : since,
      });
    }),
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
      said: ({ context, context: { said, config, unread }, event }) =>
        said ||
        (config.reads
          ? wordsOf(event) !== '' && !isBackchannel(wordsOf(event))
          : unread > 0 && !mayBargeIn(context)),
    }),
    noteWritten: assign({ said: true }),
    noteStopped: assign({ idleSince: ({ event }) => event.at }),
    giveUpUnread: enqueueActions(({ context, enqueue }) => {
      if (context.unread === 0) return;
      enqueue.assign({ unread: 0 });
      enqueue.emit({ type: 'speech.giveUp' });
    }),
    noteEndCall: assign({
      endCall: ({ context, event }) =>
        context.endCall || (event.type === 'reply.queued' && event.endCall),
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
      deadlineAt: ({ context: { idleSince, promptsGiven, config, isCallerMuted } }) =>
        isCallerMuted
          ? null
          : idleSince +
            (promptsGiven < config.prompts ? config.promptAfterMs : config.hangupAfterMs),
    }),
    setSpeechDeadline: assign({ deadlineAt: ({ event }) => event.at + MAX_SPEECH_MS }),
    setEndpointDeadline: assign({
      deadlineAt: ({ context }) => context.speechEndMs + context.config.endpointMinMs,
    }),
    setFinalDeadline: assign({
      deadlineAt: ({ context, event }) => event.at + context.config.sttFinalMs,
    }),
    /** A new utterance number and the command to fill it. */
    take: enqueueActions(({ context, enqueue }, { task }: { task: FloorTask }) => {
      const utterance = context.lastNumber + 1;
      enqueue.assign({ ...floorFor(context, { utterance, task }), lastNumber: utterance });
      enqueue.emit({ type: 'floor.take', utterance, task });
    }),
    takeAsked: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'ask') return;
      const { task } = event;
      const utterance = context.lastNumber + 1;
      enqueue.assign({ ...floorFor(context, { utterance, task }), lastNumber: utterance });
      enqueue.emit({ type: 'floor.take', utterance, task });
    }),
    takeWaiting: enqueueActions(({ context, enqueue }) => {
      const [next, ...waiting] = context.waiting;
      if (next === undefined) return;
      enqueue.assign({ ...floorFor(context, next), waiting });
      enqueue.emit({ type: 'floor.take', ...next });
    }),
    letWait: assign(({ context, event }) =>
      event.type === 'ask' ? withWaiting(context, event.task) : {},
    ),
    /** Keys pressed one after the other are one input. */
    letKeysWait: assign(({ context, event }) => {
      if (event.type !== 'dtmf') return {};
      const last = context.waiting.at(-1);
      if (last?.task.kind !== 'reply' || last.task.input.kind !== 'dtmf')
        return withWaiting(context, {
          kind: 'reply',
          input: { kind: 'dtmf', digits: event.digits },
        });
      const digits = (last.task.input.digits + event.digits).slice(0, MAX_WAITING_KEYS);
      const task: FloorTask = { kind: 'reply', input: { kind: 'dtmf', digits } };
      return { waiting: [...context.waiting.slice(0, -1), { ...last, task }] };
    }),
    dropWaiting: assign({
      waiting: ({ context, event }) =>
        context.waiting.filter(
          ({ utterance }) => event.type !== 'unask' || utterance !== event.utterance,
        ),
    }),
    /** Once the caller can be heard again, his silence counts anew. */
    noteMuted: assign(({ context, event }) => {
      if (event.type !== 'caller.muted') return {};
      return { isCallerMuted: event.on, idleSince: event.on ? context.idleSince : event.at };
    }),
    end: emit((_, { cause }: { cause: TurnEndCause }) => ({ type: 'turn.ended' as const, cause })),
  },
});

/**
 * The context of who takes the floor. An answer starts the count of idle prompts anew; what was asked for from outside
 * answers nobody, and changes nothing of what comes after it.
 */
function floorFor(context: TurnContext, { utterance, task }: WaitingTask): Partial<TurnContext> {
  const isAsked = task.kind === 'asked';
  return {
    utterance,
    task,
    promptsGiven: task.kind === 'prompt' ? context.promptsGiven : 0,
    said: isAsked && context.said,
    endCall: isAsked && context.endCall,
    deadlineAt: null,
  };
}

function withWaiting(context: TurnContext, task: FloorTask): Partial<TurnContext> {
  if (context.waiting.length >= MAX_WAITING) return {};
  const utterance = context.lastNumber + 1;
  return { lastNumber: utterance, waiting: [...context.waiting, { utterance, task }] };
}

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
    guard: 'isSaidWaiting',
    target: '#turn.agent',
    reenter: true,
    actions: ['resume', 'noteFinished', 'noteEndCall', 'takeWaiting'],
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
    dtmf: [
      { guard: 'isProtected', actions: ['letKeysWait'] },
      {
        target: 'agent',
        reenter: true,
        actions: ['yieldFloor', 'giveUpUnread', replyToDtmf],
      },
    ],
    text: [
      { guard: 'isProtected', actions: ['noteWritten'] },
      { target: 'agent', reenter: true, actions: ['yieldFloor', replyToSpeech] },
    ],
    interrupt: [
      { guard: 'isProtected' },
      { guard: 'isSpeaking', target: '#turn.hearing', actions: ['yieldFloor'] },
      { guard: 'hasUnread', target: '#turn.recognising', actions: ['yieldFloor'] },
      { target: '#turn.listening', actions: ['yieldFloor', 'noteStopped'] },
    ],
    ask: [
      {
        guard: 'isUrgent',
        target: 'agent',
        reenter: true,
        actions: ['yieldFloor', 'takeAsked'],
      },
      { actions: ['letWait'] },
    ],
  },
  states: { flowing, held },
});

/** Nobody speaks. Idle prompts, then the hang-up for silence. */
const listening = base.createStateConfig({
  entry: ['setIdleDeadline'],
  always: { guard: 'hasWaiting', target: 'agent', actions: ['takeWaiting'] },
  on: {
    ask: { target: 'agent', actions: ['takeAsked'] },
    'caller.muted': { target: 'listening', reenter: true, actions: ['noteMuted'] },
    'speech.started': { target: 'hearing', actions: ['noteSpeech'] },
    // Speech that began over the agent's last words.
    'speech.stopped': { target: 'recognising', actions: ['noteUtterance'] },
    'stt.final': [
      { guard: 'hasWords', target: 'agent', actions: ['noteRead', replyToSpeech] },
      { actions: ['noteRead'] },
    ],
    dtmf: { target: 'agent', actions: [replyToDtmf] },
    text: { target: 'agent', actions: [replyToSpeech] },
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
    text: { target: 'agent', actions: [replyToSpeech] },
    'deadline.reached': { guard: 'isOver', target: 'listening', actions: ['noteSilence'] },
  },
});

/** The caller has stopped: wait for the end-of-turn silence and for the recogniser, whichever comes last. */
const recognising = base.createStateConfig({
  initial: 'pausing',
  on: {
    'speech.started': { target: 'hearing', actions: ['noteSpeech'] },
    dtmf: { target: 'agent', actions: ['giveUpUnread', replyToDtmf] },
    text: { target: 'agent', actions: [replyToSpeech] },
  },
  states: {
    pausing: {
      entry: ['setEndpointDeadline'],
      on: {
        'stt.final': { actions: ['noteRead'] },
        'deadline.reached': [
          { guard: 'isOverUnread', target: 'reading' },
          { guard: 'isOverWaiting', target: '#turn.agent', actions: ['takeWaiting'] },
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
            guard: 'isOverWaiting',
            target: '#turn.agent',
            actions: ['giveUpUnread', 'takeWaiting'],
          },
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
        { guard: 'hasWaiting', target: '#turn.agent', actions: ['takeWaiting'] },
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
    lastNumber: input.config.saidBefore ?? 0,
    waiting: [],
    isCallerMuted: false,
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
  on: {
    ask: [
      { guard: 'isUrgent', target: '.agent', actions: ['takeAsked'] },
      { actions: ['letWait'] },
    ],
    unask: { actions: ['dropWaiting'] },
    text: { actions: ['noteWritten'] },
    'caller.muted': { actions: ['noteMuted'] },
  },
  states: {
    starting: {
      always: [
        { guard: 'waitsToOpen', target: 'waiting' },
        { target: 'agent', actions: [greet] },
      ],
    },
    /** Something else is being said first. */
    waiting: {
      on: {
        ask: { actions: ['letWait'] },
        open: [
          { guard: 'hasSaid', target: 'agent', actions: [replyToSpeech] },
          { target: 'agent', actions: [greet] },
        ],
      },
    },
    agent,
    listening,
    hearing,
    recognising,
    done: { type: 'final' },
  },
});
