/** What the turn machine does when it decides something: its notes, its deadlines, its commands. */
import { assign, emit, enqueueActions, setup } from 'xstate';
import { isBackchannel } from './backchannel.ts';
import { isPrompt, turnGuards } from './turn-guards.ts';
import { note, ofNow, type Held } from './turn-held.ts';
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
    context: {} as Held,
    events: {} as TurnEvent,
    emitted: {} as TurnCommand,
  },
  guards: ofNow(turnGuards),
  actions: {
    arm: emit(({ context: { now } }) => ({
      ...{ type: 'bargein.arm' as const, on: mayBargeIn(now) },
      confirmMs: confirmMsOf(now),
    })),
    disarm: emit(({ context: { now } }) => ({
      ...{ type: 'bargein.arm' as const, on: false },
      confirmMs: confirmMsOf(now),
    })),
    pause: emit({ type: 'playout.pause' as const }),
    resume: emit({ type: 'playout.resume' as const }),
    /** What was to follow the interrupted words, does not: neither does the end of the call. */
    yieldFloor: enqueueActions(({ context: { now: context }, event, enqueue }) => {
      const isPressed = ['dtmf', 'text', 'interrupt'].includes(event.type);
      const since = isPressed ? event.at : context.speechSince;
      enqueue.assign(note(() => ({ endCall: false })));
      const isUnanswered = leavesUnanswered({ context, event });
      if (isUnanswered) enqueue.assign(note(() => ({ said: true, turn: context.answered })));
      enqueue.emit({
        type: 'floor.yield',
        utterance: context.utterance,
        since: event.type === 'ask' ? null : since,
        isUnanswered,
      });
    }),
    noteSpeech: assign(
      note(({ event }) =>
        event.type === 'speech.started'
          ? {
              speaking: true,
              speechSince: event.startMs,
              lastedMs: 0,
              over: event.over ?? NOT_OVER,
            }
          : {},
      ),
    ),
    /** Of an interruption: after a pause that is none, the same speech goes on. */
    noteSpeechAgain: assign(
      note(({ context, event }) => {
        if (event.type !== 'speech.started') return {};
        const isSame = !context.speaking && event.startMs - context.speechEndMs < SAME_SPEECH_MS;
        if (isSame) return { speaking: true };
        return { speaking: true, speechSince: event.startMs, lastedMs: 0 };
      }),
    ),
    /** It is not said, and nothing that was to follow it is done. */
    giveUpFloor: enqueueActions(({ context: { now: context }, enqueue }) => {
      enqueue.assign(note(() => ({ endCall: false })));
      enqueue.emit({ type: 'floor.yield', utterance: context.utterance, since: null });
    }),
    noteSilence: assign(note(() => ({ speaking: false }))),
    noteUtterance: assign(
      note(({ context, event }) => {
        if (event.type !== 'speech.stopped') return { speaking: false };
        const speechMs = context.turn.speechMs + Math.max(0, event.endMs - event.startMs);
        return {
          speaking: false,
          unread: context.unread + 1,
          speechEndMs: event.endMs,
          turn: { ...context.turn, speechMs },
        };
      }),
    ),
    noteLasted: assign(
      note(({ context, event }) => ({
        lastedMs:
          event.type === 'speech.lasted'
            ? Math.max(event.speechMs, context.lastedMs)
            : context.lastedMs,
      })),
    ),
    notePartial: assign(
      note(({ context: { turn }, event }) => ({
        turn: withText(turn, turn.words, wordsOf(event)),
      })),
    ),
    noteRead: assign(
      note(({ context: { config, said, turn, unread }, event }) => ({
        unread: Math.max(0, unread - 1),
        said: said || wordsOf(event) !== '' || (!config.reads && unread > 0),
        turn: withText(turn, joinWords(turn.words, wordsOf(event)), ''),
      })),
    ),
    /** Read while the agent speaks: what is no interruption asks for no answer. */
    noteReadOver: assign(
      note(({ context, event }) => {
        const counts = countsOver({ context, event });
        const words = counts ? joinWords(context.turn.words, wordsOf(event)) : context.turn.words;
        return {
          unread: Math.max(0, context.unread - 1),
          said: context.said || counts,
          turn: withText(context.turn, words, ''),
        };
      }),
    ),
    noteLikelihood: assign(
      note(({ context, event }) => ({
        turn:
          event.type === 'likelihood' && event.text === turnTextOf(context)
            ? { ...context.turn, likelihood: event.likelihood }
            : context.turn,
      })),
    ),
    noteDials: assign(
      note(({ context, event }) => ({
        dials: event.type === 'dials' ? { ...context.config.dials, ...event.dials } : context.dials,
      })),
    ),
    noteBegun: assign(
      note(({ context, event }) => ({
        begun: event.type === 'agent.began' ? event.utterance : context.begun,
      })),
    ),
    noteHeard: assign(
      note(({ context, event }) => ({
        lastAgentText:
          event.type === 'agent.heard' && event.text !== '' ? event.text : context.lastAgentText,
      })),
    ),
    clearTurn: assign(note(() => ({ turn: NO_TURN }))),
    /** What was said over the agent was nothing. */
    dropPartial: assign(
      note(({ context: { turn } }) => ({ turn: withText(turn, turn.words, '') })),
    ),
    noteWritten: assign(note(() => ({ said: true }))),
    noteStopped: assign(note(({ event }) => ({ idleSince: event.at }))),
    giveUpUnread: enqueueActions(({ context: { now: context }, enqueue }) => {
      if (context.unread === 0) return;
      enqueue.assign(note(() => ({ unread: 0 })));
      enqueue.emit({ type: 'speech.giveUp' });
    }),
    noteEndCall: assign(
      note(({ context, event }) => ({
        endCall: context.endCall || (event.type === 'reply.queued' && event.endCall),
      })),
    ),
    noteFailure: assign(note(({ context }) => ({ failures: context.failures + 1 }))),
    /** An apology is no success: replies that fail in a row end the call. */
    noteFinished: assign(
      note(({ context, event }) => ({
        idleSince: event.at,
        failures: isPrompt(context.task, 'apology') ? context.failures : 0,
      })),
    ),
    countPrompt: assign(note(({ context }) => ({ promptsGiven: context.promptsGiven + 1 }))),
    clearDeadline: assign(note(() => ({ deadlineAt: null }))),
    setConfirmDeadline: assign(
      note(({ context }) => ({
        deadlineAt:
          context.speechSince +
          Math.min(
            MAX_SPEECH_MS,
            confirmMsOf(context) + context.config.vadHangoverMs + DETECTION_SLACK_MS,
          ),
      })),
    ),
    setJudgeDeadline: assign(note(({ event }) => ({ deadlineAt: event.at + JUDGE_AGAIN_MS }))),
    setFalseDeadline: assign(
      note(({ context, event }) => ({
        deadlineAt: context.config.reads
          ? event.at + context.config.falseBargeInMs
          : context.speechEndMs + SAME_SPEECH_MS,
      })),
    ),
    setIdleDeadline: assign(
      note(({ context: { idleSince, promptsGiven, config, isCallerMuted } }) => ({
        deadlineAt: isCallerMuted
          ? null
          : idleSince +
            (promptsGiven < config.prompts ? config.promptAfterMs : config.hangupAfterMs),
      })),
    ),
    setSpeechDeadline: assign(note(({ event }) => ({ deadlineAt: event.at + MAX_SPEECH_MS }))),
    setEndpointDeadline: assign(
      note(({ context }) => ({
        deadlineAt: context.speechEndMs + pauseMsOf(context),
      })),
    ),
    setFinalDeadline: assign(
      note(({ context }) => ({
        deadlineAt: context.speechEndMs + pauseMsOf(context) + context.config.sttFinalMs,
      })),
    ),
    /** A new utterance number and the command to fill it. */
    take: enqueueActions(
      ({ context: { now: context }, enqueue }, { task }: { task: FloorTask }) => {
        const utterance = context.lastNumber + 1;
        enqueue.assign(
          note(() => ({ ...floorFor(context, { utterance, task }), lastNumber: utterance })),
        );
        enqueue.emit({ type: 'floor.take', utterance, task });
      },
    ),
    takeAsked: enqueueActions(({ context: { now: context }, event, enqueue }) => {
      if (event.type !== 'ask') return;
      const { task } = event;
      const utterance = context.lastNumber + 1;
      enqueue.assign(
        note(() => ({ ...floorFor(context, { utterance, task }), lastNumber: utterance })),
      );
      enqueue.emit({ type: 'floor.take', utterance, task });
    }),
    takeWaiting: enqueueActions(({ context: { now: context }, enqueue }) => {
      const [next, ...waiting] = context.waiting;
      if (next === undefined) return;
      enqueue.assign(note(() => ({ ...floorFor(context, next), waiting })));
      enqueue.emit({ type: 'floor.take', ...next });
    }),
    letWait: assign(
      note(({ context, event }) => (event.type === 'ask' ? withWaiting(context, event.task) : {})),
    ),
    /** Keys pressed one after the other are one input. */
    letKeysWait: assign(
      note(({ context, event }) => {
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
    ),
    dropWaiting: assign(
      note(({ context, event }) => ({
        waiting: context.waiting.filter(
          ({ utterance }) => event.type !== 'unask' || utterance !== event.utterance,
        ),
      })),
    ),
    /** Once the caller can be heard again, his silence counts anew. */
    noteMuted: assign(
      note(({ context, event }) => {
        if (event.type !== 'caller.muted') return {};
        return { isCallerMuted: event.on, idleSince: event.on ? context.idleSince : event.at };
      }),
    ),
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
