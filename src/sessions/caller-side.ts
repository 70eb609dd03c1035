/**
 * The caller's side of a conversation: hears him, has him read, keeps what he said, and begins the reply ahead when he
 * seems to have finished. Owns the recogniser's session and the drafts; `close` gives both back.
 */
import type { Clock, TimerHandle } from '#lib/clock.ts';
import type { Log } from '#lib/log.ts';
import type { MediaEvent } from '#media/types.ts';
import type { SttEvent } from '#providers/contract.ts';
import type { CallerWords } from './caller-words.ts';
import type { EagerReplies } from './eager-reply.ts';
import type { Ears } from './ears.ts';
import type { EndOfTurnModel } from './end-of-turn.ts';
import { TurnTimes } from './latency.ts';
import { SemanticTurn } from './semantic-turn.ts';
import type { TurnActor } from './turn-actor.ts';
import { pauseFactsOf, pauseMsOf, turnTextOf } from './turn-judgement.ts';

export type CallerSideOptions = {
  readonly turn: TurnActor;
  readonly ears: Ears;
  readonly words: CallerWords;
  readonly drafts: EagerReplies;
  readonly model: EndOfTurnModel | null;
  readonly clock: Clock;
  readonly log: Log;
  readonly tellFault: (error: unknown) => void;
};

type Stopped = MediaEvent & { readonly type: 'speech.stopped' };

/** A partial that has not changed for so long, in silence, is as good as a final. */
const STABLE_MS = 100;
/** A turn that would have to wait longer than this for its end does not look complete. */
const COMPLETE_WITHIN_MS = 900;

export class CallerSide {
  readonly #options: CallerSideOptions;
  readonly #semantic: SemanticTurn | null;
  #times: TurnTimes;
  #timer: TimerHandle | undefined;

  constructor(options: CallerSideOptions) {
    this.#options = options;
    this.#times = this.newTimes();
    const { model, clock, log, turn } = options;
    this.#semantic =
      model === null
        ? null
        : new SemanticTurn({
            ...{ model, clock, log },
            onLikelihood: (text, likelihood) => turn.send({ type: 'likelihood', text, likelihood }),
          });
  }

  /** The stopwatch of what he said last; an answer to it goes on with a copy. */
  get times(): TurnTimes {
    return this.#times;
  }

  newTimes(): TurnTimes {
    return new TurnTimes(() => performance.timeOrigin + this.#options.clock.now());
  }

  /** The detector's word, in call time; the machine gets its own. */
  stopped(event: Stopped): void {
    const { ears, words, turn } = this.#options;
    const { startMs, endMs } = event;
    this.#times = this.newTimes();
    this.#times.mark('speechEnd', event.wireMs);
    this.#times.jitterMs = event.jitterMs ?? 0;
    this.#times.mark('detected');
    ears.pump();
    const { history } = ears;
    words.stopped(startMs, endMs, () => history.utterance(startMs, endMs));
    const turnTimes = { startMs: turn.time.of(startMs), endMs: turn.time.of(endMs) };
    turn.send({ type: 'speech.stopped', ...turnTimes });
    // After the machine: a recogniser that answers at once must find the utterance already counted as unread.
    ears.tell((stt) => stt.speechStopped(history.utterance(startMs, endMs)));
    this.#consider();
  }

  onStt(event: SttEvent, callMs: number): void {
    const { words, turn, ears, log, tellFault } = this.#options;
    if (event.type === 'error') {
      log.warn('stt.failed', { error: event.error });
      tellFault(event.error);
      return;
    }
    if (event.type === 'partial') {
      words.partial(event.text, callMs);
      turn.send({ type: 'stt.partial', text: event.text });
      return this.#consider();
    }
    const isNoise = event.text === '' && turn.isFlowing;
    if (!words.read(event, { isNoise, isOver: turn.hasFloor })) return;
    // The last word decides: those before were read while he went on.
    if (turn.context.unread <= 1) {
      this.#times.mark('read');
      this.#times.servedBy('stt', ears.readBy);
    }
    turn.send({ type: 'stt.final', text: event.text });
    this.#consider();
  }

  /** As if he had said it, all at once. */
  written(text: string, callMs: number): void {
    this.#options.words.written(text, callMs);
    this.#times = this.newTimes();
  }

  /** The agent takes the floor to answer; `isAnswer`: to what was said. */
  turnOver(isAnswer: boolean): void {
    const { drafts, words, clock } = this.#options;
    clock.clearTimer(this.#timer);
    this.#semantic?.drop();
    words.endTurn();
    drafts.turnOver();
    if (!isAnswer) drafts.drop();
  }

  /** Idempotent. */
  close(): void {
    const { ears, drafts, clock } = this.#options;
    clock.clearTimer(this.#timer);
    this.#semantic?.drop();
    drafts.close();
    ears.close();
  }

  /** Whether a reply may be begun ahead, by what is known now. */
  #consider(): void {
    const { turn, drafts, clock } = this.#options;
    clock.clearTimer(this.#timer);
    if (turn.isOver || turn.hasFloor) return;
    const text = turnTextOf(turn.context);
    drafts.changed(text);
    if (text === '' || !turn.isPausing) return;
    this.#semantic?.ask(pauseFactsOf(turn.context));
    if (turn.context.unread === 0) return this.#begin(text);
    this.#timer = clock.setTimer(() => {
      if (!turn.isOver && turn.isPausing && turnTextOf(turn.context) === text) this.#begin(text);
    }, STABLE_MS);
  }

  #begin(text: string): void {
    const { context } = this.#options.turn;
    if (pauseMsOf(context) > COMPLETE_WITHIN_MS) return;
    this.#options.drafts.begin(text, context.turn.speechMs);
  }
}
