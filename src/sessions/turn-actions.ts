/** What the turn machine does when it decides something: its notes, its deadlines, its commands. */
import { assign, emit, enqueueActions, setup } from 'xstate';
import { isBackchannel } from './backchannel.ts';
import { isPrompt, turnGuards } from './turn-guards.ts';
import {
  confirmMsOf,
  DETECTION_SLACK_MS,
  joinWords,
  MAX_SPEECH_MS,
  mayBargeIn,
  pauseMsOf,
  SAME_SPEECH_MS,
  turnTextOf,
  verdictOf,
  wordsOf,
  type Moment,
} from './turn-judgement.ts';
import {
  MAX_WAITING,
  MAX_WAITING_KEYS,
  NO_TURN,
  type CallerTurn,
  type FloorTask,
  type TurnCommand,
  type TurnConfig,
  type TurnContext,
  type TurnEndCause,
  type TurnEvent,
  type WaitingTask,
} from './turn-types.ts';

/** An interruption that is not decided yet is judged again. */
const JUDGE_AGAIN_MS = 100;
/** The agent's time for a turn of the caller that nobody reads: what he says is kept so far, in characters. */
const MAX_TURN_TEXT = 4000;

export const turnBase = setup({
  types: {
    input: {} as { readonly config: TurnConfig },
    context: {} as TurnContext,
    events: {} as TurnEvent,
    emitted: {} as TurnCommand,
  },
  guards: turnGuards,
  actions: {
    arm: emit(({ context }) => ({
      ...{ type: 'bargein.arm' as const, on: mayBargeIn(context) },
      confirmMs: confirmMsOf(context),
    })),
    disarm: emit(({ context }) => ({
      ...{ type: 'bargein.arm' as const, on: false },
      confirmMs: confirmMsOf(context),
    })),
    pause: emit({ type: 'playout.pause' as const }),
    resume: emit({ type: 'playout.resume' as const }),
    /** What was to follow the interrupted words, does not: neither does the end of the call. */
    yieldFloor: enqueueActions(({ context, event, enqueue }) => {
      const isPressed = ['dtmf', 'text', 'interrupt'].includes(event.type);
      const since = isPressed ? event.at : context.speechSince;
      enqueue.assign({ endCall: false });
      const isUnanswered = leavesUnanswered({ context, event });
      if (isUnanswered) enqueue.assign({ said: true, turn: context.answered });
      enqueue.emit({
        type: 'floor.yield',
        utterance: context.utterance,
        since: event.type === 'ask' ? null : since,
        isUnanswered,
      });
    }),
    noteSpeech: assign(({ event }) =>
      event.type === 'speech.started'
        ? { speaking: true, speechSince: event.startMs, lastedMs: 0, over: event.over ?? NOT_OVER }
        : {},
    ),
    /** Of an interruption: after a pause that is none, the same speech goes on. */
    noteSpeechAgain: assign(({ context, event }) => {
      if (event.type !== 'speech.started') return {};
      const isSame = !context.speaking && event.startMs - context.speechEndMs < SAME_SPEECH_MS;
      if (isSame) return { speaking: true };
      return { speaking: true, speechSince: event.startMs, lastedMs: 0 };
    }),
    /** It is not said, and nothing that was to follow it is done. */
    giveUpFloor: enqueueActions(({ context, enqueue }) => {
      enqueue.assign({ endCall: false });
      enqueue.emit({ type: 'floor.yield', utterance: context.utterance, since: null });
    }),
    noteSilence: assign({ speaking: false }),
    noteUtterance: assign(({ context, event }) => {
      if (event.type !== 'speech.stopped') return { speaking: false };
      const speechMs = context.turn.speechMs + Math.max(0, event.endMs - event.startMs);
      return {
        speaking: false,
        unread: context.unread + 1,
        speechEndMs: event.endMs,
        turn: { ...context.turn, speechMs },
      };
    }),
    noteLasted: assign({
      lastedMs: ({ context, event }) =>
        event.type === 'speech.lasted'
          ? Math.max(event.speechMs, context.lastedMs)
          : context.lastedMs,
    }),
    notePartial: assign({
      turn: ({ context: { turn }, event }) => withText(turn, turn.words, wordsOf(event)),
    }),
    noteRead: assign({
      unread: ({ context }) => Math.max(0, context.unread - 1),
      said: ({ context, event }) =>
        context.said || wordsOf(event) !== '' || (!context.config.reads && context.unread > 0),
      turn: ({ context: { turn }, event }) =>
        withText(turn, joinWords(turn.words, wordsOf(event)), ''),
    }),
    /** Read while the agent speaks: what is no interruption asks for no answer. */
    noteReadOver: assign(({ context, event }) => {
      const counts = countsOver({ context, event });
      const words = counts ? joinWords(context.turn.words, wordsOf(event)) : context.turn.words;
      return {
        unread: Math.max(0, context.unread - 1),
        said: context.said || counts,
        turn: withText(context.turn, words, ''),
      };
    }),
    noteLikelihood: assign({
      turn: ({ context, event }) =>
        event.type === 'likelihood' && event.text === turnTextOf(context)
          ? { ...context.turn, likelihood: event.likelihood }
          : context.turn,
    }),
    noteDials: assign({
      dials: ({ context, event }) =>
        event.type === 'dials' ? { ...context.config.dials, ...event.dials } : context.dials,
    }),
    noteBegun: assign({
      begun: ({ context, event }) =>
        event.type === 'agent.began' ? event.utterance : context.begun,
    }),
    noteHeard: assign({
      lastAgentText: ({ context, event }) =>
        event.type === 'agent.heard' && event.text !== '' ? event.text : context.lastAgentText,
    }),
    clearTurn: assign({ turn: NO_TURN }),
    /** What was said over the agent was nothing. */
    dropPartial: assign({ turn: ({ context: { turn } }) => withText(turn, turn.words, '') }),
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
      deadlineAt: ({ context }) =>
        context.speechSince +
        Math.min(
          MAX_SPEECH_MS,
          confirmMsOf(context) + context.config.vadHangoverMs + DETECTION_SLACK_MS,
        ),
    }),
    setJudgeDeadline: assign({ deadlineAt: ({ event }) => event.at + JUDGE_AGAIN_MS }),
    setFalseDeadline: assign({
      deadlineAt: ({ context, event }) =>
        context.config.reads
          ? event.at + context.config.falseBargeInMs
          : context.speechEndMs + SAME_SPEECH_MS,
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
      deadlineAt: ({ context }) => context.speechEndMs + pauseMsOf(context),
    }),
    setFinalDeadline: assign({
      deadlineAt: ({ context }) =>
        context.speechEndMs + pauseMsOf(context) + context.config.sttFinalMs,
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

const NOT_OVER = { spokeMs: 0, text: null } as const;

function withText(turn: CallerTurn, words: string, partial: string): CallerTurn {
  const next = { words: words.slice(-MAX_TURN_TEXT), partial: partial.slice(-MAX_TURN_TEXT) };
  const isSame = next.words === turn.words && next.partial === turn.partial;
  return { ...turn, ...next, likelihood: isSame ? turn.likelihood : null };
}

/** An answer to speech that is given up before any of it was heard: the caller has only gone on. */
function leavesUnanswered({ context, event }: Moment): boolean {
  const { task, utterance, begun, config } = context;
  // Keys and written words are answered by themselves: what was said before stands in the history.
  const isPressed = ['interrupt', 'dtmf', 'text'].includes(event.type);
  const isAnswer = task.kind === 'reply' && task.input.kind === 'speech';
  return config.asksAgain === true && isAnswer && begun !== utterance && !isPressed;
}

/** Whether words said over the agent are to be answered. */
function countsOver({ context, event }: Moment): boolean {
  const { config, unread } = context;
  if (!config.reads) return unread > 0 && !mayBargeIn(context);
  if (wordsOf(event) === '') return false;
  // "Yes" to a question that the agent says to its end all the same.
  if (context.over.asks === true) return true;
  if (mayBargeIn(context)) return verdictOf({ context, event }) === 'interrupt';
  return !isBackchannel(wordsOf(event));
}

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
    turn: isAsked ? context.turn : NO_TURN,
    answered: task.kind === 'reply' && task.input.kind === 'speech' ? context.turn : NO_TURN,
    // A pace that a reply asks for is that of the turn after it.
    dials: task.kind === 'reply' ? context.config.dials : context.dials,
    deadlineAt: null,
  };
}

function withWaiting(context: TurnContext, task: FloorTask): Partial<TurnContext> {
  if (context.waiting.length >= MAX_WAITING) return {};
  const utterance = context.lastNumber + 1;
  return { lastNumber: utterance, waiting: [...context.waiting, { utterance, task }] };
}
