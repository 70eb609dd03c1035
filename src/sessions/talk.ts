/** A live call's talk as the call sees it, whoever holds it: the cascade (conversation.ts) or a realtime model. */
import type { KeyMode } from '#lib/call-events.ts';
import type { MediaEvent } from '#media/types.ts';
import type { Asking } from './asking.ts';
import type { ConversationFacts } from './conversation-parts.ts';
import type { PauseDials } from './end-of-turn.ts';
import type { Voice } from './speaker.ts';

/** At somebody's command, because nobody is there, or because a machine speaks. */
export type HoldReason = 'asked' | 'away' | 'machine';

export type Talk = {
  /** What others want to be said. */
  readonly asking: Pick<Asking, 'say' | 'play' | 'note' | 'takesNotes'>;
  /** Takes the floor with the greeting. The media session must have been started. */
  start(): void;
  /** The agent neither hears nor speaks, and its time stands still; the owner of the call sees to the sound. */
  hold(on: boolean, why?: HoldReason): void;
  /** The media plane keeps the caller from being heard (or does so no more). */
  muteCaller(on: boolean): void;
  /** Another agent speaks from the next utterance on. */
  become(voice: Voice): void;
  /** How patient the agent is with the caller's next turn; null: as it is set. A realtime model has its own patience. */
  pace(dials: Pick<PauseDials, 'minMs' | 'maxMs'> | null): void;
  /** The call is near its limit: said when the floor is free. */
  warnOfEnd(): void;
  /** The call has reached its limit: said instead of anything else; then `onSaid`, unless nothing can be said. */
  sayEnd(onSaid: () => void): void;
  /** As if the caller had said it. */
  text(text: string): void;
  /** The agent stops; nobody has said anything. */
  interrupt(): void;
  /** The caller's player has got past a mark. */
  played(mark: string): void;
  onMedia(event: MediaEvent): void;
  onDtmf(digit: string, durationMs: number, mode: KeyMode): void;
  /** A client's answer to a function; false when nobody waits for it (any more). */
  functionResult(id: string, result: unknown): boolean;
  /** Ends the talk; the transcript keeps what was heard of the words on the line. Idempotent. */
  close(): Promise<ConversationFacts>;
};
