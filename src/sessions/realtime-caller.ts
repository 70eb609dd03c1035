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
/**
 * Looks of 20 ms at his ring, of which one is taken while nobody waits for what he says: a message to the model costs the
 * same whatever is in it. When he begins to speak, all of it goes up at once.
 */
const REST_LOOKS = 3;
/** After his last word, while no answer has come of it. */
const SETTLE_MS = 3_000;
/** Words come in a burst, and his silence is counted in seconds: the turn machine is told no more often. */
const SPOKE_EVERY_MS = 100;

export class RealtimeCaller {
  readonly #options: RealtimeCallerOptions;
  readonly #chunk = new Int16Array(PUMP_SAMPLES);
  /** Its beginning, by looks: what is nearly always found, without a view made for it. */
  readonly #views = Array.from({ length: REST_LOOKS }, (_, looks) =>
    this.#chunk.subarray(0, (looks + 1) * FRAME_SAMPLES),
  );
  #times: TurnTimes;
  /** An answer has been measured by these times. */
  #isAnswered = true;
  /** By our own detector, and by the model. */
  #isSpeaking = false;
  #isHeard = false;
  /** By the clock: until then his words may go on, or be answered. */
  #settlesAtMs = 0;
  /** Looks since the last one that was taken, and whether the model was to hear him then. */
  #looks = 0;
  #isDeaf = false;
  #isOpen = false;
  #spokeAtMs = -SPOKE_EVERY_MS;

  constructor(options: RealtimeCallerOptions) {
    this.#options = options;
    this.#times = this.newTimes();
  }

  /** The notice is over: the model hears him. */
  get isOpen(): boolean {
    return this.#isOpen;
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

  /** The notice is over: the model hears him from now on. */
  open(): void {
    this.#drain();
    this.#isOpen = true;
  }

  /** Ask it every 20 ms: whether `pump` is to be called now. */
  isDue(): boolean {
    this.#looks += 1;
    return this.#looks >= REST_LOOKS || !this.#rests;
  }

  /** Carries up what he has said. `isDeaf`: the model hears silence instead, so that its time goes on. */
  pump(isDeaf: boolean): void {
    this.#isDeaf = isDeaf;
    this.#drain();
  }

  /** Nobody hears him speak, and nobody is about to answer him. */
  get #rests(): boolean {
    if (this.#isSpeaking || this.#isHeard) return false;
    return this.#isAnswered || this.#options.clock.now() > this.#settlesAtMs;
  }

  #drain(): void {
    this.#looks = 0;
    // The worker writes a frame at a time: after less than was asked for there is no more.
    while (this.#take(this.#chunk) === PUMP_SAMPLES);
  }

  /** Carries up what there is, at most as much as goes into `into`, and gives how much that was. */
  #take(into: Int16Array): number {
    const { media, link } = this.#options;
    const count = media.readCaller(into);
    if (count === 0 || !this.#isOpen) return count;
    const pcm = this.#views[count / FRAME_SAMPLES - 1] ?? this.#chunk.subarray(0, count);
    if (this.#isDeaf) pcm.fill(0);
    link.push(pcm);
    return count;
  }

  // ---- What our own detector says, in call time ----

  began(startMs: number): void {
    const { words, turn, over } = this.#options;
    this.#isSpeaking = true;
    this.#drain();
    words.began(startMs);
    if (this.#isOpen)
      turn.send({ type: 'speech.started', startMs: turn.time.of(startMs), over: over() });
  }

  stopped({ startMs, endMs, wireMs, jitterMs = 0 }: Stopped): void {
    const { words, turn, clock } = this.#options;
    this.#isSpeaking = false;
    this.#times = this.newTimes();
    this.#isAnswered = false;
    this.#settlesAtMs = clock.now() + SETTLE_MS;
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
      this.#isHeard = true;
      this.#heard();
      this.#spoke();
    } else if (event.type === 'speech_stopped') {
      this.#isHeard = false;
      this.#times.mark('asked');
      words.taken();
      this.#spoke();
      // Speech that our own detector has not noticed, and will not end.
      const { speaking, speechSince } = turn.context;
      if (speaking && !this.#isSpeaking) this.#end(speechSince, turn.time.now());
    } else if (event.type === 'user_transcript') {
      if (event.isFinal) words.read(event.text);
      else words.partial(event.text);
      if (event.text !== '') this.#spoke();
    }
  }

  #spoke(): void {
    const { turn, clock } = this.#options;
    const now = clock.now();
    if (now - this.#spokeAtMs < SPOKE_EVERY_MS) return;
    this.#spokeAtMs = now;
    turn.send({ type: 'caller.spoke' });
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
