/**
 * The agent's side of a conversation: fills the turns that the turn machine gives it, and tells what was heard of them.
 * Owns the utterances that are being made or played.
 */
import { toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type { MediaEvent, MediaSession } from '#media/types.ts';
import type { AgentSpeech } from './agent-speech.ts';
import type { CallerWords } from './caller-words.ts';
import type { CallerSide } from './caller-side.ts';
import { inputOf, NOTHING_SAID, NOTICE } from './conversation-parts.ts';
import type { Requests } from './requests.ts';
import type { Saying, Speaker } from './speaker.ts';
import type { TurnActor } from './turn-actor.ts';
import type { FloorTask } from './turn-types.ts';
import { Utterance } from './utterance.ts';

export type FloorWorkOptions = {
  readonly turn: TurnActor;
  readonly speaker: Speaker;
  readonly speech: AgentSpeech;
  readonly requests: Requests;
  readonly words: CallerWords;
  readonly caller: CallerSide;
  readonly media: MediaSession;
  readonly log: Log;
  readonly tellFault: (error: unknown) => void;
};

type Ended = MediaEvent & { readonly type: 'playout.done' | 'playout.flushed' };

export class FloorWork {
  readonly #options: FloorWorkOptions;
  /** Utterances given to the media plane. */
  #sounds = 0;

  constructor(options: FloorWorkOptions) {
    this.#options = options;
  }

  /** Fills turn `number`. */
  take(number: number, task: FloorTask): void {
    const { caller, speech, requests, media } = this.#options;
    const answersSpeech = task.kind === 'reply' && task.input.kind === 'speech';
    caller.turnOver(answersSpeech);
    const saying = this.#sayingOf(number, task);
    if (saying === null) return;
    // Only an answer to speech has a mouth-to-ear time; a prompt or a key press is measured from nothing.
    const times = answersSpeech ? caller.times.again() : caller.newTimes();
    times.mark('asked');
    const utterance = new Utterance(number, ++this.#sounds, times);
    utterance.repeats = requests.get(number)?.repeats === true;
    speech.add(utterance);
    media.resume();
    void this.#speak(utterance, saying);
  }

  /**
   * Throws turn `number` away. `since`: the caller began then, in the agent's time; null: it was not he. `isUnanswered`:
   * what it was to answer is part of the next input.
   */
  yield(number: number, since: number | null, isUnanswered = false): void {
    const { speech, media, turn, words } = this.#options;
    if (isUnanswered) words.giveBackInput();
    speech.giveUp(number, since === null ? null : turn.time.toCall(since));
    media.flush();
  }

  /** One of the agent's utterances is over on the wire. */
  played(event: Ended): void {
    const { speech, requests, turn } = this.#options;
    const utterance = speech.bySound(event.utterance);
    if (utterance === null) return;
    const { number, isWhole } = utterance;
    const isDone = event.type === 'playout.done';
    requests.over(number, isDone && isWhole);
    speech.onEnded(event);
    if (isDone) turn.send({ type: 'playout.done', utterance: number });
  }

  /**
   * Says what must be heard before anything else. Resolves with true when sound of it is on its way, whose end the wire
   * will tell; with false when there is none. Whatever comes of it, the conversation follows.
   */
  async notice(text: string, isClosed: () => boolean): Promise<boolean> {
    const { caller, speech, speaker, log, tellFault } = this.#options;
    const utterance = new Utterance(NOTICE, ++this.#sounds, caller.newTimes());
    speech.add(utterance);
    try {
      await speaker.speak(utterance, { kind: 'words', text });
    } catch (thrown) {
      if (isClosed()) return true;
      const error = toAppError(thrown);
      log.warn('notice.failed', { error });
      tellFault(error);
    }
    if (isClosed() || utterance.audioMs > 0) return true;
    speech.forget(utterance);
    return false;
  }

  /** What is to be said. Null for a request that is gone: then its turn is over at once. */
  #sayingOf(number: number, task: FloorTask): Saying | null {
    const { requests, words, turn } = this.#options;
    const asked = requests.get(number)?.what ?? null;
    if (task.kind === 'asked') {
      if (asked !== null && asked.kind !== 'note') return asked;
      turn.send({ ...NOTHING_SAID, utterance: number });
      return null;
    }
    const heard = words.takeInput();
    if (task.kind === 'prompt') return task;
    return { kind: 'reply', input: inputOf(task.input, heard, asked) };
  }

  async #speak(utterance: Utterance, saying: Saying): Promise<void> {
    const { speaker, speech, turn, log, tellFault } = this.#options;
    const { number } = utterance;
    try {
      const { endCall, empty } = await speaker.speak(utterance, saying);
      if (empty) this.#silent(utterance);
      else speech.tellReply(utterance);
      turn.send({ type: 'reply.queued', utterance: number, endCall, empty });
    } catch (thrown) {
      if (utterance.abort.signal.aborted) return; // given up by us: the caller went on, or the call is over
      utterance.abort.abort(); // whatever else the providers still hold for it
      const error = toAppError(thrown);
      log.warn('reply.failed', { error });
      tellFault(error);
      const empty = utterance.audioMs === 0;
      if (empty) this.#silent(utterance);
      // The agent has nothing to apologise for where others chose the words.
      const isAsked = saying.kind === 'words' || saying.kind === 'sound';
      if (!isAsked) turn.send({ type: 'reply.failed', utterance: number });
      else if (empty) turn.send({ ...NOTHING_SAID, utterance: number });
    }
  }

  /** Nothing of it will ever be heard. */
  #silent(utterance: Utterance): void {
    this.#options.speech.forget(utterance);
    this.#options.requests.over(utterance.number, false);
  }
}
