/** Asks providers one after another until one answers: the next when one has failed, and also when it takes too long. */
import type { TimerHandle } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { failureOf, isWorthAgain, isWorthAnother } from './failures.ts';
import type { Candidate, Lineup } from './lineup.ts';
import type { Attempt } from './member.ts';

export type Patience = { readonly minMs: number; readonly maxMs: number };

export type RaceOptions<P, T, R> = {
  readonly lineup: Lineup<P>;
  /** Come behind the others. */
  readonly failed?: ReadonlySet<Candidate<P>>;
  /** Are not asked. */
  readonly hopeless?: ReadonlySet<Candidate<P>>;
  ask(candidate: Candidate<P>, signal: AbortSignal): AsyncGenerator<T, R>;
  readonly patience: Patience;
  /** Whether an answer without anything in it is a failure, while others can be asked. */
  readonly needsItems: boolean;
  /** With nobody else to ask, the same provider is asked once more: after a failure, or so long without an answer. */
  readonly againAfterMs: number | null;
  readonly signal: AbortSignal;
};

/** Who answered first, and with what. `stop` must be called in the end: it gives back all that is held. */
export type Won<P, T, R> = {
  readonly candidate: Candidate<P>;
  readonly attempt: Attempt;
  readonly stream: AsyncGenerator<T, R>;
  readonly step: IteratorResult<T, R>;
  stop(): void;
};

/** For a limit or a vendor's "later" that is over so soon, it is waited. */
const WORTH_WAITING_MS = 1_000;

/**
 * Errors: that of the first one asked, when none answers; E_ABORTED once `signal` aborts. Those that lose are given up
 * as soon as one has won.
 */
export async function race<P, T, R>(options: RaceOptions<P, T, R>): Promise<Won<P, T, R>> {
  const { lineup, signal } = options;
  if (signal.aborted) throw givenUp();
  const { clock } = lineup;
  let leftMs = WORTH_WAITING_MS;
  // Whoever waits beside others may come too late, and looks again.
  for (let { waitMs } = lineup; waitMs > 0 && waitMs <= leftMs; { waitMs } = lineup) {
    await pause(waitMs, lineup, signal);
    if (signal.aborted) throw givenUp();
    leftMs -= waitMs;
  }
  const { failed, hopeless } = options;
  const candidates = lineup.available(failed).filter((each) => hopeless?.has(each) !== true);
  if (candidates.length === 0) throw unavailable(lineup);
  return new Promise((resolve, reject) => {
    new Race({ ...options, candidates, clock, resolve, reject }).begin();
  });
}

function pause<P>(ms: number, { clock }: Lineup<P>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimer(() => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    const onAbort = (): void => {
      clock.clearTimer(timer);
      reject(givenUp());
    };
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

type Runner<P, T, R> = {
  readonly candidate: Candidate<P>;
  readonly attempt: Attempt;
  readonly abort: AbortController;
  readonly stream: AsyncGenerator<T, R>;
};

type RaceParts<P, T, R> = RaceOptions<P, T, R> & {
  readonly candidates: readonly Candidate<P>[];
  readonly clock: Lineup<P>['clock'];
  resolve(won: Won<P, T, R>): void;
  reject(error: unknown): void;
};

class Race<P, T, R> {
  readonly #parts: RaceParts<P, T, R>;
  readonly #waiting: Candidate<P>[];
  readonly #running = new Set<Runner<P, T, R>>();
  readonly #onAbort: () => void;
  #first: { readonly error: unknown } | null = null;
  #latest: { readonly candidate: Candidate<P>; readonly error: unknown } | null = null;
  #timer: TimerHandle | undefined;
  #isAgain = false;
  #isOver = false;

  constructor(parts: RaceParts<P, T, R>) {
    this.#parts = parts;
    this.#waiting = [...parts.candidates];
    this.#onAbort = () => this.#lose(givenUp());
  }

  begin(): void {
    this.#parts.signal.addEventListener('abort', this.#onAbort, { once: true });
    this.#next();
  }

  /** Asks the next one; with nobody left and nobody asked, it is lost. */
  #next(): void {
    for (;;) {
      const candidate = this.#waiting.shift();
      if (candidate === undefined) break;
      const attempt = candidate.member.begin();
      if (attempt !== null) return this.#ask(candidate, attempt);
    }
    if (this.#running.size > 0) return;
    this.#lose(this.#first?.error ?? unavailable(this.#parts.lineup));
  }

  #ask(candidate: Candidate<P>, attempt: Attempt): void {
    const { lineup } = this.#parts;
    const before = this.#latest ?? [...this.#running].at(-1) ?? null;
    if (before !== null && before.candidate !== candidate) {
      lineup.failedOver(before.candidate, candidate, 'error' in before ? before.error : 'too slow');
    }
    const abort = new AbortController();
    const stream = this.#parts.ask(candidate, abort.signal);
    const runner = { candidate, attempt, abort, stream };
    this.#running.add(runner);
    stream.next().then(
      (step) => this.#answered(runner, step),
      (error: unknown) => this.#failed(runner, error),
    );
    this.#arm(candidate);
  }

  /** How long the latest one asked is waited for. */
  #arm(candidate: Candidate<P>): void {
    const { clock, patience, againAfterMs } = this.#parts;
    clock.clearTimer(this.#timer);
    const next = this.#waiting[0];
    if (next !== undefined && !next.isLastResort) {
      const ms = candidate.member.patienceMs(patience);
      this.#timer = clock.setTimer(() => this.#next(), ms);
      return;
    }
    if (againAfterMs === null || !this.#mayAgain(candidate)) return;
    const ms = Math.max(againAfterMs, candidate.member.patienceMs(patience));
    this.#timer = clock.setTimer(() => this.#again(candidate), ms);
  }

  #mayAgain({ member, isLastResort }: Candidate<P>): boolean {
    return this.#parts.againAfterMs !== null && !this.#isAgain && member.isRemote && !isLastResort;
  }

  #again(candidate: Candidate<P>): void {
    this.#isAgain = true;
    this.#waiting.unshift(candidate);
    this.#next();
  }

  #answered(runner: Runner<P, T, R>, step: IteratorResult<T, R>): void {
    if (this.#isOver) return this.#drop(runner);
    const { lineup, needsItems, signal } = this.#parts;
    const isEmpty = step.done === true && needsItems;
    const hasOthers = this.#waiting.length > 0 || this.#running.size > 1 || this.#first !== null;
    if (isEmpty && hasOthers) {
      const what = `${runner.candidate.member.vendor}: the answer had nothing in it`;
      return this.#failed(runner, new AppError('E_PROVIDER_SERVER', what));
    }
    runner.attempt.answered();
    this.#end(runner);
    lineup.use(runner.candidate);
    // The winner is given up with the request; it stays tied to it until the last.
    const onAbort = (): void => runner.abort.abort();
    signal.addEventListener('abort', onAbort, { once: true });
    const { candidate, attempt, stream } = runner;
    const stop = (): void => {
      signal.removeEventListener('abort', onAbort);
      attempt.end();
      leave(stream);
      runner.abort.abort();
    };
    this.#parts.resolve({ candidate, attempt, stream, step, stop });
  }

  #failed(runner: Runner<P, T, R>, error: unknown): void {
    this.#running.delete(runner);
    const failure = failureOf(error);
    const { candidate, attempt, abort } = runner;
    abort.abort();
    if (this.#isOver) return attempt.end();
    attempt.failed(error, failure);
    if (!isWorthAnother(failure)) return this.#lose(error);
    this.#first ??= { error };
    this.#latest = { candidate, error };
    const others =
      this.#waiting.some(({ isLastResort }) => !isLastResort) || this.#running.size > 0;
    const isMore = !others && isWorthAgain(failure) && this.#mayAgain(candidate);
    if (isMore) this.#again(candidate);
    else if (this.#running.size === 0 || !this.#waiting.every((each) => each.isLastResort))
      this.#next();
  }

  #lose(error: unknown): void {
    if (this.#isOver) return;
    this.#end(null);
    this.#parts.reject(error);
  }

  #end(winner: Runner<P, T, R> | null): void {
    this.#isOver = true;
    this.#parts.clock.clearTimer(this.#timer);
    this.#parts.signal.removeEventListener('abort', this.#onAbort);
    for (const runner of this.#running) {
      if (runner === winner) continue;
      if (winner !== null) this.#outrun(runner);
      this.#drop(runner);
    }
    this.#running.clear();
  }

  /** Whoever was asked earlier and had not a word to say by now is held to be silent. */
  #outrun({ attempt, candidate }: Runner<P, T, R>): void {
    const { vendor, kind } = candidate.member;
    const order = [...this.#running].map((each) => each.attempt);
    if (order[0] !== attempt) return;
    attempt.failed(new AppError('E_TIMEOUT', `${vendor}: the ${kind} gave no answer in time`));
  }

  #drop({ abort, attempt, stream }: Runner<P, T, R>): void {
    attempt.end();
    abort.abort();
    leave(stream);
  }
}

/** Not awaited: a generator that is stuck in its own wait would never return. */
function leave(stream: AsyncGenerator<unknown, unknown>): void {
  void stream.return(undefined).then(
    () => undefined,
    () => undefined, // given up: whatever it still has to say, nobody listens
  );
}

export function givenUp(): AppError {
  return new AppError('E_ABORTED', 'the request was given up');
}

/** Nobody may be asked now. Whatever the providers failed with last says why, and what to mend. */
export function unavailable<P>({ all, lastError }: Lineup<P>): unknown {
  const names = [...new Set(all.map(({ member }) => member.vendor))].join(', ');
  const kind = all[0]?.member.kind ?? 'provider';
  return (
    lastError ?? new AppError('E_PROVIDER_QUOTA', `${kind}: ${names} take no more requests now`)
  );
}
