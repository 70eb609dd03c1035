/**
 * The caller's side of a talk with a realtime model: his sound goes to the model, which says by itself when he began, when
 * his turn is over and what he said. Our own detector is faster, and sees to it that the agent stands still meanwhile.
 */
import type { Clock } from '#lib/clock.ts';
import { FRAME_SAMPLES, type MediaEvent, type MediaSession } from '#media/types.ts';
import type { RealtimeEvent } from '#providers/contract.ts';
import { TurnTimes } from './latency.ts';
import type { RealtimeLink } from './realtime-link.ts';
import type { RealtimeWords } from './realtime-words.ts';
import type { TurnActor } from './turn-actor.ts';

export type RealtimeCallerOptions = {
  readonly turn: TurnActor;
  readonly link: Pick<RealtimeLink, 'push'>;
  readonly words: RealtimeWords;
  readonly media: Pick<MediaSession, 'readCaller'>;
  readonly clock: Clock;
  /** Who answers. */
  readonly vendor: () => string;
  /** What of the agent's utterance had been heard; null: it was not speaking. */
  readonly over: () => { readonly spokeMs: number; readonly text: string } | null;
};

type Stopped = MediaEvent & { readonly type: 'speech.stopped' };

const PUMP_SAMPLES = 1600;

export class RealtimeCaller {
  readonly #options: RealtimeCallerOptions;
  readonly #chunk = new Int16Array(PUMP_SAMPLES);
  /** Its beginning: what nearly every look finds, without a view made for it. */
  readonly #frame = this.#chunk.subarray(0, FRAME_SAMPLES);
  #times: TurnTimes;
  /** An answer has been measured by these times. */
  #isAnswered = true;
  /** By our own detector. */
  #isSpeaking = false;
  /** The notice is over: the model hears him. */
  isOpen = false;

  constructor(options: RealtimeCallerOptions) {
    this.#options = options;
    this.#times = this.newTimes();
  }

  newTimes(): TurnTimes {
    return new TurnTimes(() => performance.timeOrigin + this.#options.clock.now());
  }

  /** The stopwatch of an answer to what he said last; only the first one answers it. */
  takeTimes(): TurnTimes {
    if (this.#isAnswered) return this.newTimes();
    this.#isAnswered = true;
    const times = this.#times;
    this.#times = this.newTimes();
    times.servedBy('llm', this.#options.vendor());
    return times;
  }

  /** Drains his ring. `isDeaf`: the model hears silence instead, so that its time goes on. */
  pump(isDeaf: boolean): void {
    const { media, link } = this.#options;
    for (;;) {
      const count = media.readCaller(this.#chunk);
      if (count === 0) return;
      if (this.isOpen) {
        const pcm = count === FRAME_SAMPLES ? this.#frame : this.#chunk.subarray(0, count);
        if (isDeaf) pcm.fill(0);
        link.push(pcm);
      }
      // The worker writes a frame at a time: after less than was asked for there is no more.
      if (count < PUMP_SAMPLES) return;
    }
  }

  // ---- What our own detector says, in call time ----

  began(startMs: number): void {
    const { words, turn, over } = this.#options;
    this.#isSpeaking = true;
    words.began(startMs);
    if (this.isOpen)
      turn.send({ type: 'speech.started', startMs: turn.time.of(startMs), over: over() });
  }

  stopped({ startMs, endMs, wireMs, jitterMs = 0 }: Stopped): void {
    const { words, turn } = this.#options;
    this.#isSpeaking = false;
    this.#times = this.newTimes();
    this.#isAnswered = false;
    this.#times.mark('speechEnd', wireMs);
    this.#times.jitterMs = jitterMs;
    this.#times.mark('detected');
    words.stopped(startMs, endMs);
    this.#end(turn.time.of(startMs), turn.time.of(endMs));
  }

  // ---- What the model says ----

  onModel(event: RealtimeEvent): void {
    const { words, turn } = this.#options;
    if (event.type === 'speech_started') {
      this.#heard();
      turn.send({ type: 'caller.spoke' });
    } else if (event.type === 'speech_stopped') {
      this.#times.mark('asked');
      words.taken();
      turn.send({ type: 'caller.spoke' });
      // Speech that our own detector has not noticed, and will not end.
      const { speaking, speechSince } = turn.context;
      if (speaking && !this.#isSpeaking) this.#end(speechSince, turn.time.now());
    } else if (event.type === 'user_transcript') {
      if (event.isFinal) words.read(event.text);
      else words.partial(event.text);
      if (event.text !== '') turn.send({ type: 'caller.spoke' });
    }
  }

  /** Whatever the model was saying, it has stopped for him: so does the agent. */
  #heard(): void {
    const { turn, over } = this.#options;
    if (!turn.hasFloor) return;
    if (turn.isFlowing)
      turn.send({ type: 'speech.started', startMs: turn.time.now(), over: over() });
    turn.send({ type: 'speech.confirmed' });
  }

  /** Nobody here reads it: whether it is answered, the model decides. */
  #end(startMs: number, endMs: number): void {
    const { turn } = this.#options;
    turn.send({ type: 'speech.stopped', startMs, endMs });
    turn.send({ type: 'stt.final', text: '' });
  }
}
