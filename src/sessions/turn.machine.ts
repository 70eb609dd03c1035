/**
 * Turn-taking: who has the floor. Pure: it reads no clock (every event carries `at`) and does nothing but emit
 * commands, which the conversation carries out. The deadline is an absolute time in the context, so that a restored
 * snapshot still knows it; the conversation sends `deadline.reached` when it has passed.
 */
import { turnBase as base } from './turn-actions.ts';
import { NO_TURN, type FloorTask, type TurnEndCause, type TurnEvent } from './turn-types.ts';

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
    'speech.started': { actions: ['noteSpeechAgain', 'setConfirmDeadline'] },
    'speech.confirmed': { target: '#turn.hearing', actions: ['yieldFloor'] },
    'speech.lasted': [
      { guard: 'interrupts', target: '#turn.hearing', actions: ['yieldFloor'] },
      { actions: ['noteLasted'] },
    ],
    'speech.stopped': [
      {
        guard: 'interrupts',
        target: '#turn.recognising',
        actions: ['yieldFloor', 'noteUtterance'],
      },
      { actions: ['noteUtterance', 'setFalseDeadline'] },
    ],
    'stt.partial': [
      { guard: 'interrupts', target: '#turn.hearing', actions: ['yieldFloor', 'notePartial'] },
      { actions: ['notePartial'] },
    ],
    'stt.final': [
      {
        guard: 'interruptsStill',
        target: '#turn.hearing',
        actions: ['yieldFloor', 'noteReadOver'],
      },
      { guard: 'interrupts', target: '#turn.recognising', actions: ['yieldFloor', 'noteReadOver'] },
      // An earlier utterance was read; what is being said now is judged by itself.
      { guard: 'isSpeaking', actions: ['noteReadOver'] },
      { guard: 'cannotRead', actions: ['noteReadOver'] },
      // What he said after it may yet be one: playout does not start only to stop again.
      { guard: 'hasMoreUnread', actions: ['noteReadOver'] },
      { target: 'flowing', actions: ['noteReadOver', 'resume'] },
    ],
    'reply.failed': {
      guard: 'failsOverSpeech',
      target: '#turn.hearing',
      actions: ['yieldFloor', 'noteFailure'],
    },
    'deadline.reached': [
      { guard: 'isOverInterrupts', target: '#turn.hearing', actions: ['yieldFloor'] },
      { guard: 'isFalseBargeIn', target: 'flowing', actions: ['dropPartial', 'resume'] },
      { guard: 'isOver', actions: ['setJudgeDeadline'] },
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
    // Whatever holds it up, the caller is not left with a silent line.
    'floor.stuck': [
      { guard: 'isStuckOverSpeech', target: '#turn.hearing', actions: ['giveUpFloor'] },
      { guard: 'isStuckOverUnread', target: '#turn.recognising', actions: ['giveUpFloor'] },
      { guard: 'isCurrent', target: '#turn.listening', actions: ['giveUpFloor', 'noteStopped'] },
    ],
  },
  states: { flowing, held },
});

/** Nobody speaks. Idle prompts, then the hang-up for silence. */
const listening = base.createStateConfig({
  entry: ['clearTurn', 'setIdleDeadline'],
  always: { guard: 'hasWaiting', target: 'agent', actions: ['takeWaiting'] },
  on: {
    ask: { target: 'agent', actions: ['takeAsked'] },
    'caller.muted': { target: 'listening', reenter: true, actions: ['noteMuted'] },
    'caller.spoke': { target: 'listening', reenter: true, actions: ['noteStopped'] },
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
    'stt.partial': { actions: ['notePartial'] },
    'stt.final': { actions: ['noteRead'] },
    dtmf: { target: 'agent', actions: ['giveUpUnread', replyToDtmf] },
    text: { target: 'agent', actions: [replyToSpeech] },
    'deadline.reached': { guard: 'isOver', target: 'listening', actions: ['noteSilence'] },
  },
});

/**
 * The caller has stopped: wait until his silence is long enough for what he has said, and for the recogniser, whichever
 * comes last.
 */
const recognising = base.createStateConfig({
  initial: 'judging',
  on: {
    'speech.started': { target: 'hearing', actions: ['noteSpeech'] },
    dtmf: { target: 'agent', actions: ['giveUpUnread', replyToDtmf] },
    text: { target: 'agent', actions: [replyToSpeech] },
  },
  states: {
    /** How long it must be is asked anew with every word that is read. */
    judging: {
      entry: ['setEndpointDeadline'],
      always: [
        { guard: 'isOverUnread', target: 'reading' },
        { guard: 'isOverWaiting', target: '#turn.agent', actions: ['takeWaiting'] },
        { guard: 'isOverSaid', target: '#turn.agent', actions: [replyToSpeech] },
        { guard: 'isOver', target: '#turn.listening' },
        { target: 'pausing' },
      ],
    },
    pausing: {
      on: {
        'stt.partial': { target: 'judging', actions: ['notePartial'] },
        'stt.final': { target: 'judging', actions: ['noteRead'] },
        likelihood: { target: 'judging', actions: ['noteLikelihood'] },
        'deadline.reached': { guard: 'isOver', target: 'judging' },
      },
    },
    reading: {
      entry: ['setFinalDeadline'],
      on: {
        'stt.partial': { actions: ['notePartial'] },
        'stt.final': [
          { guard: 'readsLast', target: 'judging', actions: ['noteRead'] },
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
  },
});

export const turnMachine = base.createMachine({
  id: 'turn',
  context: ({ input }) => ({
    now: {
      config: input.config,
      dials: input.config.dials,
      turn: NO_TURN,
      lastAgentText: null,
      over: { spokeMs: 0, text: null },
      lastedMs: 0,
      utterance: input.config.saidBefore ?? 0,
      lastNumber: input.config.saidBefore ?? 0,
      waiting: [],
      isCallerMuted: false,
      begun: 0,
      answered: NO_TURN,
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
    },
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
    'caller.spoke': { actions: ['noteStopped'] },
    'agent.began': { actions: ['noteBegun'] },
    'agent.heard': { actions: ['noteHeard'] },
    'speech.lasted': { actions: ['noteLasted'] },
    dials: { actions: ['noteDials'] },
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
