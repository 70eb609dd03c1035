/** Asks a plugged-in model whether the caller's turn is over, once for each text, and no longer than it may take. */
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type { EndOfTurnModel, PauseFacts } from './end-of-turn.ts';

export type SemanticTurnOptions = {
  readonly model: EndOfTurnModel;
  readonly clock: Clock;
  readonly log: Log;
  readonly onLikelihood: (text: string, likelihood: number) => void;
};

/** An answer that comes later is of no use: the silence has told by then. */
const ANSWER_MS = 100;

export class SemanticTurn {
  readonly #options: SemanticTurnOptions;
  #asked: string | null = null;
  #abort: AbortController | null = null;
  #timer: TimerHandle | undefined;

  constructor(options: SemanticTurnOptions) {
    this.#options = options;
  }

  /** Gives up what was asked before. The same text is asked about once. */
  ask({ language, text, lastAgentText }: PauseFacts): void {
    if (text === this.#asked) return;
    this.drop();
    this.#asked = text;
    const abort = new AbortController();
    this.#abort = abort;
    this.#timer = this.#options.clock.setTimer(() => abort.abort(), ANSWER_MS);
    void this.#ask({ language, text, lastAgentText }, abort);
  }

  /** The turn is over, or something else was said. Idempotent. */
  drop(): void {
    this.#options.clock.clearTimer(this.#timer);
    this.#abort?.abort();
    this.#abort = null;
    this.#asked = null;
  }

  async #ask(
    facts: Pick<PauseFacts, 'language' | 'text' | 'lastAgentText'>,
    abort: AbortController,
  ): Promise<void> {
    const { model, log, onLikelihood } = this.#options;
    try {
      const likelihood = await model.likelihood(facts, abort.signal);
      if (abort.signal.aborted || likelihood === null || Number.isNaN(likelihood)) return;
      this.#options.clock.clearTimer(this.#timer);
      onLikelihood(facts.text, Math.min(1, Math.max(0, likelihood)));
    } catch (error) {
      if (!abort.signal.aborted) log.debug('endOfTurn.failed', { error: toAppError(error) });
    }
  }
}
