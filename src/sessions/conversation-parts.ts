/** What a conversation is made with, and small facts about its turns. */
import type { AgentConfig } from '#lib/agent-config.ts';
import type { Latency } from '#lib/call-events.ts';
import type { Clock } from '#lib/clock.ts';
import type { Log } from '#lib/log.ts';
import { VAD_HANGOVER_MS, type MediaSession } from '#media/types.ts';
import type { ProviderSet, TurnInput } from '#providers/contract.ts';
import type { PhraseStore } from '#providers/phrase-store.ts';
import type { AudioPump } from './audio-pump.ts';
import type { CallContext } from './call-context.ts';
import type { EndOfTurnModel } from './end-of-turn.ts';
import type { Request } from './requests.ts';
import type { SpeakerFloor, SpeakerOptions } from './speaker.ts';
import type { CallStory } from './story.ts';
import type { CallTools } from './tools/call-tools.ts';
import type { ReplyInput, TurnConfig, TurnContext, TurnEndCause } from './turn-types.ts';

/** How long a recogniser may take to read an utterance (providers.md 12.4). */
const STT_FINAL_MS = 2000;
/** Number of the notice's utterance, if there is one: the turn machine's begin behind it. */
export const NOTICE = 1;

export type ConversationOptions = {
  readonly agent: AgentConfig;
  /** The greeting is all that is said, whatever is heard meanwhile. */
  readonly announceOnly: boolean;
  /** Said whole before anything else, and not to be interrupted; null: nothing is. */
  readonly notice: string | null;
  readonly providers: ProviderSet;
  readonly media: MediaSession;
  readonly story: CallStory;
  readonly pump: AudioPump;
  readonly clock: Clock;
  readonly log: Log;
  /** Who of a squad replies. */
  readonly floor?: SpeakerFloor | null;
  /** Keeps the sound of what is said in many calls; absent or null: nothing is kept. */
  readonly phrases?: PhraseStore | null;
  /** What the model may use, and what it is told besides; absent: what a call has by itself. */
  readonly tools?: CallTools;
  readonly context?: CallContext;
  /** Judges by the words whether a turn is over; absent: nobody does. See docs/turn-taking.md. */
  readonly endOfTurn?: EndOfTurnModel | null;
  onEnd(cause: TurnEndCause): void;
  /** Another agent has the floor; what the former one said is heard for so many ms more. */
  readonly onAgent?: SpeakerOptions['onAgent'];
  /** The notice is over; `isWhole`: the other side was sent all of it. Before its message is told. */
  onNoticeOver(isWhole: boolean): void;
};

/** What of the two there is. */
export function talkIn({
  tools,
  context,
}: {
  readonly tools?: CallTools;
  readonly context?: CallContext;
}): Pick<ConversationOptions, 'tools' | 'context'> {
  return {
    ...(tools === undefined ? {} : { tools }),
    ...(context === undefined ? {} : { context }),
  };
}

/** What the record keeps of a conversation besides its messages. */
export type ConversationFacts = {
  readonly latency: Latency | null;
  readonly tokens: number;
  readonly confidence: number | null;
};

/** A sound that is played over and over gives way to whatever is to be said after it. */
export function endsLoop({ task, waiting, said, endCall }: TurnContext): boolean {
  const isProtected = task.kind === 'asked' && !task.interruptible;
  const isAsked = waiting.some(
    (next) => next.task.kind !== 'reply' || next.task.input.kind !== 'dtmf',
  );
  // What may not be interrupted gives way to nothing that the caller does.
  return isAsked || endCall || (!isProtected && (said || waiting.length > 0));
}

/** A turn in which nothing was heard. */
export const NOTHING_SAID = { type: 'reply.queued', endCall: false, empty: true } as const;

/** Words that nobody has answered yet are answered with whatever else there is. */
export function inputOf(
  input: ReplyInput,
  heard: TurnInput,
  asked: Request['what'] | null,
): TurnInput {
  if (input.kind === 'dtmf') return input;
  const hasWords = heard.kind === 'speech' && heard.text !== '';
  if (input.kind === 'speech' || hasWords || asked?.kind !== 'note') return heard;
  return { kind: 'note', text: asked.text };
}

export function configOf({
  agent,
  providers,
  announceOnly,
  notice,
}: ConversationOptions): TurnConfig {
  const { turn, silence } = agent;
  return {
    saidBefore: notice === null ? 0 : NOTICE,
    waits: notice !== null,
    language: agent.language,
    dials: {
      minMs: turn.endpointMinMs,
      maxMs: Math.max(turn.endpointMinMs, turn.endpointMaxMs ?? 3000),
      responsiveness: turn.responsiveness ?? 0.5,
    },
    sensitivity: turn.interruptionSensitivity ?? 0.5,
    bargeIn: turn.bargeIn && !announceOnly,
    bargeInConfirmMs: turn.bargeInConfirmMs,
    falseBargeInMs: turn.falseBargeInMs,
    vadHangoverMs: VAD_HANGOVER_MS,
    sttFinalMs: STT_FINAL_MS,
    promptAfterMs: silence.promptAfterS * 1000,
    prompts: silence.prompts,
    hangupAfterMs: silence.hangupAfterS * 1000,
    reads: providers.stt.reads,
  };
}
