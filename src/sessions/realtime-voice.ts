/** What is said by the agent's own voice while a realtime model talks: words that must not be changed, and sound. */
import { toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type { AgentSpeech } from './agent-speech.ts';
import { NOTHING_SAID } from './conversation-parts.ts';
import type { Saying, Speaker } from './speaker.ts';
import type { TurnActor } from './turn-actor.ts';
import type { Utterance } from './utterance.ts';

export type RealtimeVoiceOptions = {
  readonly speaker: Speaker;
  readonly speech: AgentSpeech;
  readonly turn: TurnActor;
  readonly log: Log;
  readonly tellFault: (error: unknown) => void;
};

export class RealtimeVoice {
  readonly #options: RealtimeVoiceOptions;

  constructor(options: RealtimeVoiceOptions) {
    this.#options = options;
  }

  /**
   * Says what must be heard before anything else. Resolves with true when sound of it is on its way, whose end the wire
   * will tell; with false when there is none. Whatever comes of it, the conversation follows.
   */
  async notice(utterance: Utterance, text: string, isClosed: () => boolean): Promise<boolean> {
    const { speech, speaker } = this.#options;
    speech.add(utterance);
    try {
      await speaker.speak(utterance, { kind: 'words', text });
    } catch (thrown) {
      if (isClosed()) return true;
      this.#failed(thrown);
    }
    if (isClosed() || utterance.audioMs > 0) return true;
    speech.forget(utterance);
    return false;
  }

  /** Never rejects. `onSilent`: nothing of it will ever be heard. */
  async say(utterance: Utterance, saying: Saying, onSilent: () => void): Promise<void> {
    const { speaker, speech, turn } = this.#options;
    const { number } = utterance;
    try {
      const { empty } = await speaker.speak(utterance, saying);
      if (empty) onSilent();
      else speech.tellReply(utterance);
      turn.send({ type: 'reply.queued', utterance: number, endCall: false, empty });
    } catch (thrown) {
      if (utterance.abort.signal.aborted) return;
      utterance.abort.abort();
      this.#failed(thrown);
      const empty = utterance.audioMs === 0;
      if (empty) onSilent();
      // The agent has nothing to apologise for where others chose the words.
      if (saying.kind === 'prompt') turn.send({ type: 'reply.failed', utterance: number });
      else if (empty) turn.send({ ...NOTHING_SAID, utterance: number });
    }
  }

  #failed(thrown: unknown): void {
    const { log, tellFault } = this.#options;
    const error = toAppError(thrown);
    log.warn('reply.failed', { error });
    tellFault(error);
  }
}
