/** What the turn machine makes of the caller's voice: is the turn over, is it an interruption. Pure. */
import { joinPieces } from '#providers/speakable.ts';
import { judgeInterruption, soundLimitMs, type InterruptionVerdict } from './backchannel.ts';
import { endOfTurnMs, type PauseFacts } from './end-of-turn.ts';
import type { FloorTask, TurnContext, TurnEvent } from './turn-types.ts';

/** Frames and messages between the caller's mouth and the turn machine. */
export const DETECTION_SLACK_MS = 60;
/** A pause in the caller's voice that is shorter than this is no end of an interruption. */
export const SAME_SPEECH_MS = 440;

/** Longer "speech" than this is a noisy line: the agent stops waiting for its end. */
export const MAX_SPEECH_MS = 60_000;

/** What the machine is asked about: its context, and what has just happened. */
export type Moment = { readonly context: TurnContext; readonly event: TurnEvent };

export const wordsOf = (event: TurnEvent): string =>
  event.type === 'stt.partial' || event.type === 'stt.final' ? event.text : '';

/** Both, as one text: Chinese without a space between. */
export function joinWords(before: string, after: string): string {
  return joinPieces([before, after].filter((words) => words !== ''));
}

/** Everything the caller has said in this turn, as far as it was read. */
export function turnTextOf({ turn }: Pick<TurnContext, 'turn'>): string {
  return joinWords(turn.words, turn.partial);
}

export function pauseFactsOf(context: TurnContext): PauseFacts {
  const { turn, config, unread, lastAgentText } = context;
  const text = turnTextOf(context);
  return {
    language: languageOf(text) ?? config.language,
    text,
    reads: config.reads,
    isFinal: unread === 0,
    speechMs: turn.speechMs,
    lastAgentText,
    likelihood: turn.likelihood,
  };
}

/** How long the caller's silence must be now for his turn to be over. */
export function pauseMsOf(context: TurnContext): number {
  return endOfTurnMs(pauseFactsOf(context), context.dials);
}

/** What was asked for may forbid it: then neither words nor keys stop it. */
export const isProtectedTask = (task: FloorTask): boolean =>
  task.kind === 'asked' && !task.interruptible;
export const mayBargeIn = ({ config, task }: TurnContext): boolean =>
  config.bargeIn && !isProtectedTask(task);

/** Speech this long over the agent interrupts though nothing was read of it; Infinity: only words do. */
export function confirmMsOf({ config }: Pick<TurnContext, 'config'>): number {
  const { sensitivity, bargeInConfirmMs: confirmMs, reads } = config;
  return soundLimitMs({ sensitivity, confirmMs, reads });
}

/** Of the caller's voice over the agent's, by what is known after this event. */
export function verdictOf({ context, event }: Moment): InterruptionVerdict {
  const { config, over, turn } = context;
  const hasStopped = event.type === 'speech.stopped';
  return judgeInterruption({
    text: event.type === 'stt.final' ? event.text : wordsOf(event) || turn.partial,
    isFinal: event.type === 'stt.final' || (hasStopped && !config.reads),
    speechMs: speechMsOf({ context, event }),
    agentSpokeMs: over.spokeMs,
    lastAgentText: over.text,
    asks: over.asks === true,
    sensitivity: config.sensitivity,
    confirmMs: config.bargeInConfirmMs,
    reads: config.reads,
  });
}

/** How long he has certainly been speaking: the detector tells an end late, so a click looks like a word at first. */
function speechMsOf({ context, event }: Moment): number {
  const { speechSince, speechEndMs, speaking, lastedMs, config } = context;
  if (event.type === 'speech.stopped') return event.endMs - Math.min(event.startMs, speechSince);
  if (!speaking) return Math.max(0, speechEndMs - speechSince);
  const certainMs = event.at - speechSince - config.vadHangoverMs - DETECTION_SLACK_MS;
  const told = event.type === 'speech.lasted' ? event.speechMs : 0;
  return Math.max(certainMs, lastedMs, told, 0);
}

function languageOf(text: string): 'zh' | 'en' | null {
  if (text === '') return null;
  return /\p{Script=Han}/u.test(text) ? 'zh' : 'en';
}
