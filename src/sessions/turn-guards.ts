/** Questions that the turn machine asks about a moment. */
import {
  isProtectedTask,
  MAX_SPEECH_MS,
  mayBargeIn,
  verdictOf,
  wordsOf,
  type Moment,
} from './turn-judgement.ts';
import type { FloorTask } from './turn-types.ts';

/** Replies that may fail in a row before the call is given up. */
const MAX_FAILURES = 3;

const isCurrent = ({ context, event }: Moment): boolean =>
  'utterance' in event && event.utterance === context.utterance;
const isOver = ({ context, event }: Moment): boolean =>
  context.deadlineAt !== null && event.at >= context.deadlineAt;
export const isPrompt = (task: FloorTask, name: string): boolean =>
  task.kind === 'prompt' && task.name === name;
/** The caller wants the floor, as far as one can tell by now. That nothing was read tells nothing. */
const interrupts = (moment: Moment): boolean => {
  const { event, context } = moment;
  const isEmpty = event.type.startsWith('stt.') && wordsOf(event) === '';
  return !isEmpty && mayBargeIn(context) && verdictOf(moment) === 'interrupt';
};
const isEmpty = (moment: Moment): boolean =>
  isCurrent(moment) && moment.event.type === 'reply.queued' && moment.event.empty;
/** All of the current utterance has been heard, or there is nothing to hear. */
const isSaid = (moment: Moment): boolean =>
  moment.event.type === 'playout.done' ? isCurrent(moment) : isEmpty(moment);
/** The agent has said all it wanted and the call goes on. */
const isFinished = (moment: Moment): boolean => isSaid(moment) && !moment.context.endCall;
const hasWaiting = ({ context }: Pick<Moment, 'context'>): boolean => context.waiting.length > 0;

export const turnGuards = {
  isCurrent,
  isOver,
  bargesIn: ({ context }: Moment) => mayBargeIn(context),
  isSpeaking: ({ context }: Moment) => context.speaking,
  cannotRead: ({ context }: Moment) => !context.config.reads,
  waitsToOpen: ({ context }: Moment) => context.config.waits === true,
  isUrgent: ({ event }: Moment) => event.type === 'ask' && event.urgent,
  isProtected: ({ context }: Moment) => isProtectedTask(context.task),
  hasWaiting,
  isOverWaiting: (moment: Moment) => isOver(moment) && hasWaiting(moment),
  isSaidWaiting: (moment: Moment) => isSaid(moment) && hasWaiting(moment),
  interrupts,
  interruptsStill: (moment: Moment) => moment.context.speaking && interrupts(moment),
  hasWords: ({ event }: Moment) => wordsOf(event) !== '',
  readsLast: ({ context, event }: Moment) => event.type === 'stt.final' && context.unread <= 1,
  hasMoreUnread: ({ context }: Moment) => context.unread > 1,
  hasUnread: ({ context }: Moment) => context.unread > 0,
  hasSaid: ({ context }: Moment) => context.said,
  isOverUnread: (moment: Moment) => isOver(moment) && moment.context.unread > 0,
  isOverSaid: (moment: Moment) => isOver(moment) && moment.context.said,
  /** Of an interruption that goes on: it is one by now. */
  isOverInterrupts: (moment: Moment) =>
    isOver(moment) && moment.context.speaking && interrupts(moment),
  /** An unconfirmed interruption ended and nobody could tell what it was. */
  isFalseBargeIn: (moment: Moment) =>
    isOver(moment) &&
    (!moment.context.speaking || moment.event.at - moment.context.speechSince >= MAX_SPEECH_MS),
  isPromptDue: (moment: Moment) =>
    isOver(moment) && moment.context.promptsGiven < moment.context.config.prompts,
  saidGoodbye: (moment: Moment) =>
    isCurrent(moment) && isPrompt(moment.context.task, 'goodbye_silence') && !hasWaiting(moment),
  saidLast: (moment: Moment) => isCurrent(moment) && moment.context.endCall && !hasWaiting(moment),
  saysNothingAndEnds: (moment: Moment) =>
    isEmpty(moment) &&
    moment.event.type === 'reply.queued' &&
    moment.event.endCall &&
    !hasWaiting(moment),
  isFinished,
  isFinishedOverSpeech: (moment: Moment) => isFinished(moment) && moment.context.speaking,
  isFinishedOverUnread: (moment: Moment) => isFinished(moment) && moment.context.unread > 0,
  isFinishedOverWords: (moment: Moment) => isFinished(moment) && moment.context.said,
  isStuckOverSpeech: (moment: Moment) => isCurrent(moment) && moment.context.speaking,
  isStuckOverUnread: (moment: Moment) => isCurrent(moment) && moment.context.unread > 0,
  isHopeless: (moment: Moment) => isCurrent(moment) && moment.context.failures + 1 >= MAX_FAILURES,
  failsOverSpeech: (moment: Moment) => isCurrent(moment) && moment.context.speaking,
};
