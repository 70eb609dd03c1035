/** What the agent said and what of it was heard: utterances from their first packet to the transcript. */
import type { MediaEvent } from '#media/types.ts';
import type { TurnLatency } from './latency.ts';
import type { CallStory } from './story.ts';
import type { Utterance } from './utterance.ts';

type Ended = Extract<MediaEvent, { type: 'playout.done' | 'playout.flushed' }>;
type Paused = Extract<MediaEvent, { type: 'playout.paused' | 'playout.resumed' }>;
type Started = Extract<MediaEvent, { type: 'playout.started' }>;

export class AgentSpeech {
  readonly #story: CallStory;
  readonly #utterances = new Map<number, Utterance>();
  readonly #latencies: TurnLatency[] = [];

  constructor(story: CallStory) {
    this.#story = story;
  }

  /** Waterfalls of the turns so far. */
  get latencies(): readonly TurnLatency[] {
    return this.#latencies;
  }

  /** Utterances that are being made or played. */
  get open(): number {
    return this.#utterances.size;
  }

  /** True for an utterance that nothing is missing from. */
  isWhole(number: number): boolean {
    const utterance = this.#utterances.get(number);
    return utterance !== undefined && utterance.isQueued && !utterance.isTorn;
  }

  add(utterance: Utterance): void {
    this.#utterances.set(utterance.number, utterance);
  }

  /** Nothing of it will ever be heard. */
  forget(utterance: Utterance): void {
    this.#utterances.delete(utterance.number);
  }

  /** Given up: providers stop, and if anything was heard the caller's interruption is told with `since`. */
  giveUp(number: number, sinceMs: number): void {
    const utterance = this.#utterances.get(number);
    if (utterance === undefined) return;
    utterance.interruptedSinceMs = sinceMs;
    utterance.abort.abort();
  }

  abortAll(): void {
    for (const utterance of this.#utterances.values()) utterance.abort.abort();
  }

  onStarted({ utterance: number, atMs, wireMs }: Started): void {
    const utterance = this.#utterances.get(number);
    if (utterance === undefined) return;
    utterance.startedAtMs = atMs;
    utterance.times.mark('firstPacket', wireMs);
    const latency = utterance.times.latency();
    if (latency !== null) {
      this.#latencies.push(latency);
      utterance.latencyMs = Math.round(latency.totalMs);
    }
    this.tellReply(utterance);
  }

  onPaused({ type, utterance: number, atMs }: Paused): void {
    const utterance = this.#utterances.get(number);
    if (utterance !== undefined) utterance.pausedAtMs = type === 'playout.paused' ? atMs : null;
  }

  onEnded({ type, utterance: number, atMs, heardMs }: Ended): void {
    const utterance = this.#utterances.get(number);
    if (utterance === undefined) return;
    this.tellReply(utterance);
    const isWhole =
      type === 'playout.done' ||
      (utterance.isQueued && !utterance.isTorn && heardMs >= utterance.audioMs);
    this.#tellHeard(utterance, heardMs, utterance.pausedAtMs ?? atMs, !isWhole);
  }

  /** The media plane did not answer in time: what was not reported as heard counts as not heard. */
  endAll(): void {
    for (const utterance of this.#utterances.values()) {
      this.#tellHeard(utterance, 0, utterance.startedAtMs ?? 0, true);
    }
  }

  /** `ai-response`, once per reply: its first audio has been sent and all of it is known. */
  tellReply(utterance: Utterance): void {
    if (utterance.isTold || !utterance.isQueued || utterance.startedAtMs === null) return;
    utterance.isTold = true;
    const { text, number, latencyMs, audioMs } = utterance;
    this.#story.fact('ai-response', {
      text,
      turn: number,
      latency_ms: latencyMs,
      audio_ms: audioMs,
    });
  }

  /** `endMs`: call time at which its sound stopped. */
  #tellHeard(utterance: Utterance, heardMs: number, endMs: number, interrupted: boolean): void {
    this.forget(utterance);
    const { startedAtMs, interruptedSinceMs } = utterance;
    if (startedAtMs === null) return; // thrown away before its first packet
    const content = utterance.heard(heardMs);
    if (interrupted && interruptedSinceMs !== null) {
      this.#story.fact('user-interrupted', {
        turn: utterance.number,
        heard_ms: Math.round(heardMs),
        heard_text: content,
        reaction_ms: Math.max(0, Math.round(endMs - interruptedSinceMs)),
      });
    }
    if (content === '') return;
    const latency = utterance.latencyMs === null ? {} : { latency_ms: utterance.latencyMs };
    const cut = interrupted ? { interrupted: true } : {};
    const times = {
      start_ms: Math.round(startedAtMs),
      end_ms: Math.round(Math.max(startedAtMs, endMs)),
    };
    this.#story.message({ role: 'assistant', content, ...times, ...latency, ...cut }, startedAtMs);
  }
}
