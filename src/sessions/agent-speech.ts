/** What the agent said and what of it was heard: utterances from their first packet to the transcript. */
import { SAMPLE_RATE_HZ, type MediaEvent, type MediaSession } from '#media/types.ts';
import { ANSWER_MS, asksAround } from './backchannel.ts';
import type { TurnLatency } from './latency.ts';
import { SpeechFrames } from './speech-frames.ts';
import type { CallStory } from './story.ts';
import type { SpokenOver } from './turn-types.ts';
import type { Utterance } from './utterance.ts';

type Ended = Extract<MediaEvent, { type: 'playout.done' | 'playout.flushed' }>;
type Paused = Extract<MediaEvent, { type: 'playout.paused' | 'playout.resumed' }>;
type Started = Extract<MediaEvent, { type: 'playout.started' }>;

const FRAME_MS = 20;
const FRAME_SAMPLES = (SAMPLE_RATE_HZ * FRAME_MS) / 1000;

/** What is told of it, and to whom. */
export type SpeechStory = Pick<
  CallStory,
  'feed' | 'callTimeMs' | 'fact' | 'message' | 'turnMeasured'
>;

export class AgentSpeech {
  readonly #story: SpeechStory;
  /** By their number in the media plane. */
  readonly #utterances = new Map<number, Utterance>();
  readonly #latencies: TurnLatency[] = [];
  readonly #frames: SpeechFrames;

  readonly #playedSamples: MediaSession['playedSamples'];
  /** An utterance is over: what was heard of it. */
  onHeard: (text: string) => void = () => undefined;

  constructor(story: SpeechStory, media: Pick<MediaSession, 'playedSamples'>) {
    this.#story = story;
    this.#playedSamples = (sound) => media.playedSamples(sound);
    this.#frames = new SpeechFrames({
      feed: story.feed,
      nowMs: () => story.callTimeMs(),
      playedSamples: (sound) => media.playedSamples(sound),
    });
  }

  /** Tells clients what has been sent by now, and looks whether the answer behind a filler has begun. */
  poll(): void {
    this.#frames.poll();
    if (this.#utterances.size === 0) return;
    for (const utterance of this.#utterances.values())
      if (isAwaited(utterance))
        this.#lookForAnswer(utterance, this.#playedSamples(utterance.sound) ?? 0);
  }

  /** A client's player has got past this mark. */
  played(mark: string): void {
    this.#frames.played(mark);
  }

  /** Waterfalls of the turns so far. */
  get latencies(): readonly TurnLatency[] {
    return this.#latencies;
  }

  /** Utterances that are being made or played. */
  get open(): number {
    return this.#utterances.size;
  }

  /** The utterance that plays under this number of the media plane. */
  bySound(sound: number): Utterance | null {
    return this.#utterances.get(sound) ?? null;
  }

  /** What is being said right now, as far as it was heard; null: nothing is. */
  get heardSoFar(): (SpokenOver & { readonly text: string }) | null {
    for (const utterance of this.#utterances.values()) {
      const played = utterance.startedAtMs === null ? null : this.#playedSamples(utterance.sound);
      if (played === null) continue;
      const spokeMs = (played * 1000) / SAMPLE_RATE_HZ;
      const before = utterance.heard(spokeMs - ANSWER_MS.after);
      const asks = asksAround(before, utterance.heard(spokeMs + ANSWER_MS.before));
      return { spokeMs, text: utterance.heard(spokeMs), asks };
    }
    return null;
  }

  byNumber(number: number): Utterance | null {
    for (const utterance of this.#utterances.values())
      if (utterance.number === number) return utterance;
    return null;
  }

  add(utterance: Utterance): void {
    this.#utterances.set(utterance.sound, utterance);
    utterance.frames = this.#frames;
  }

  /** Nothing of it will ever be heard. */
  forget(utterance: Utterance): void {
    this.#utterances.delete(utterance.sound);
  }

  /** Given up: providers stop. If anything was heard, the caller's interruption is told with `sinceMs`; null: not his. */
  giveUp(number: number, sinceMs: number | null): void {
    const utterance = this.byNumber(number);
    if (utterance === null) return;
    utterance.interruptedSinceMs = sinceMs;
    utterance.abort.abort();
  }

  abortAll(): void {
    for (const utterance of this.#utterances.values()) utterance.abort.abort();
  }

  onStarted({ utterance: sound, atMs, wireMs }: Started): void {
    const utterance = this.bySound(sound);
    if (utterance === null) return;
    utterance.startedAtMs = atMs;
    // The first packet of a filler is no answer.
    if (utterance.answerFrom === 0) this.#measure(utterance, wireMs);
    this.tellReply(utterance);
  }

  /** By how much of it was sent until `sinceMs` ago, to the packet. */
  #lookForAnswer(utterance: Utterance, sentSamples: number, sinceMs = 0): void {
    const { answerFrom, times } = utterance;
    const sent = sentSamples - (answerFrom ?? Infinity);
    if (sent <= 0 || !isAwaited(utterance)) return;
    const agoMs = sinceMs + Math.floor((sent - 1) / FRAME_SAMPLES) * FRAME_MS;
    this.#measure(utterance, Math.max(times.now() - agoMs, times.at('audioReady') ?? 0));
    this.tellReply(utterance);
  }

  #measure(utterance: Utterance, wireMs: number): void {
    utterance.times.mark('firstPacket', wireMs);
    const latency = utterance.times.latency();
    if (latency === null) return;
    this.#latencies.push(latency);
    utterance.latencyMs = Math.round(latency.totalMs);
    this.#story.turnMeasured(latency);
  }

  onPaused({ type, utterance: sound, atMs }: Paused): void {
    const utterance = this.bySound(sound);
    if (utterance !== null) utterance.pausedAtMs = type === 'playout.paused' ? atMs : null;
  }

  onEnded({ type, utterance: sound, atMs, heardMs }: Ended): void {
    const utterance = this.bySound(sound);
    if (utterance === null) return;
    const endedAgoMs = Math.max(0, this.#story.callTimeMs() - (utterance.pausedAtMs ?? atMs));
    this.#lookForAnswer(utterance, heardMs * (SAMPLE_RATE_HZ / 1000), endedAgoMs);
    this.tellReply(utterance, true);
    if (type === 'playout.done') this.#frames.done(utterance);
    const isWhole = type === 'playout.done' || (utterance.isWhole && heardMs >= utterance.audioMs);
    // What is still on its way to the client's ear is not heard.
    const playedMs = isWhole ? heardMs : Math.max(0, heardMs - this.#frames.lagMs);
    this.#tellHeard(utterance, playedMs, utterance.pausedAtMs ?? atMs, !isWhole);
    if (type === 'playout.flushed') this.#frames.flushed(utterance);
  }

  /** The media plane did not answer in time: what was not reported as heard counts as not heard. */
  endAll(): void {
    for (const utterance of this.#utterances.values()) {
      this.#tellHeard(utterance, 0, utterance.startedAtMs ?? 0, true);
    }
  }

  /** `ai-response`, once per reply: its first audio has been sent, or it is over, and all of it is known. */
  tellReply(utterance: Utterance, isOver = false): void {
    if (utterance.isTold || !utterance.isQueued || utterance.startedAtMs === null) return;
    if (!isOver && isAwaited(utterance)) return;
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
    this.onHeard(content);
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

/** Its sound has begun, with a filler, and that of the answer behind it has not been seen yet. */
function isAwaited({ startedAtMs, latencyMs, answerFrom, times }: Utterance): boolean {
  if (startedAtMs === null || latencyMs !== null || times.at('speechEnd') === undefined)
    return false;
  return answerFrom !== null && answerFrom > 0;
}
