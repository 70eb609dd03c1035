/** Nothing is sent of what the agent is to be saying: what is done about it, told by the media plane and not by belief. */
import { AppError } from '#lib/errors.ts';
import type { Id } from '#lib/ids.ts';
import type { Log } from '#lib/log.ts';
import type { MediaEvent, MediaSession } from '#media/types.ts';
import type { AgentSpeech } from './agent-speech.ts';
import type { TurnActor } from './turn-actor.ts';

export type StallParts = {
  readonly callId: Id;
  readonly turn: Pick<TurnActor, 'isOver' | 'isFlowing' | 'time' | 'send'>;
  readonly speech: Pick<AgentSpeech, 'bySound'>;
  readonly media: Pick<MediaSession, 'resume'>;
  readonly log: Log;
  /** Whether the voice owes sound of this turn: no tool and no model is waited for. */
  readonly awaitsVoice: (turn: number) => boolean;
  /** Throws the turn away. */
  readonly yield: (turn: number) => void;
  readonly tellFault: (error: unknown) => void;
};

/**
 * A pause that nobody wants any more ends; a voice that broke off is given up, and the agent says that something went wrong.
 * Where the other side does not let us send (`closed`) there is nothing to be done; `FloorWatch` sees to that in the end.
 */
export function onStalled(
  event: MediaEvent & { readonly type: 'playout.stalled' },
  parts: StallParts,
): void {
  const { turn, speech, media, log, callId } = parts;
  // While the caller speaks over it, the turn machine has deadlines of its own.
  if (turn.isOver || turn.time.stands || !turn.isFlowing) return;
  const { why, waitingMs, heardMs } = event;
  const number = speech.bySound(event.utterance)?.number;
  if (why === 'closed' || number === undefined) return;
  if (why === 'voice' && !parts.awaitsVoice(number)) return;
  log.warn('playout.stalled', { callId, utterance: number, reason: why, waitingMs, heardMs });
  if (why === 'paused') {
    media.resume();
    return;
  }
  parts.tellFault(new AppError('E_PROVIDER_IDLE', 'the voice broke off'));
  parts.yield(number);
  turn.send({ type: 'reply.failed', utterance: number });
}
