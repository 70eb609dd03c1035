/** Language models that stand in for each other, until the first word: what was said cannot be taken back. */
import { withDeadline } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import type { LlmProvider, LlmUsage, ReplyPart, ReplyRequest } from '../contract.ts';
import { sentenceSplitter } from '../sentences.ts';
import { failureOf, isWorthAnother } from './failures.ts';
import type { Candidate, Lineup } from './lineup.ts';
import { givenUp, race, unavailable, type Won } from './race.ts';

/** Until the first word of one, before the next is asked as well. */
const PATIENCE = { minMs: 350, maxMs: 800 };
/** Between two parts of a sentence of which nothing can be said yet. */
const STALL_MS = 700;

/** Errors of `reply`: those of the first model asked, when none answers. */
export function failoverLlm(lineup: Lineup<LlmProvider>): LlmProvider {
  const [first] = lineup.all;
  if (first === undefined) throw new TypeError('a lineup needs somebody in it');
  const canComplete = lineup.all.filter(({ provider }) => provider.complete !== undefined);
  return {
    vendor: first.provider.vendor,
    servedBy: () => lineup.servedBy(),
    warm: () => lineup.available()[0]?.provider.warm?.(),
    greeting: (language) => first.provider.greeting?.(language) ?? null,
    reply: (request, signal) => reply(lineup, request, signal),
    ...(canComplete.length === 0
      ? {}
      : { complete: (request, signal) => completed(lineup, canComplete, request, signal) }),
  };
}

async function* reply(
  lineup: Lineup<LlmProvider>,
  request: ReplyRequest,
  signal: AbortSignal,
): AsyncGenerator<ReplyPart, LlmUsage | undefined> {
  const won = await race<LlmProvider, ReplyPart, LlmUsage | undefined>({
    ...{ lineup, signal, patience: PATIENCE, needsItems: true, againAfterMs: null },
    ask: ({ provider }, given) => provider.reply(request, given),
  });
  try {
    let { step } = won;
    const splitter = sentenceSplitter();
    let isSpoken = false;
    while (step.done !== true) {
      yield step.value;
      // What the listener makes of it: once there is a piece, it may be on its way to the caller.
      isSpoken ||= step.value.type !== 'text' || splitter.push(step.value.text).length > 0;
      step = await following(won, lineup, isSpoken);
    }
    return step.value;
  } catch (error) {
    // Whatever a client makes of an abort says nothing of its vendor.
    if (signal.aborted) throw givenUp();
    won.attempt.failed(error);
    // What moderation withholds is not to be had of another.
    if (isWorthAnother(failureOf(error))) lineup.leave(won.candidate);
    throw error;
  } finally {
    won.stop();
  }
}

/** What comes next. Errors: E_PROVIDER_SERVER when it stalls, nothing of it can have been said, and there are others. */
async function following(
  { stream, candidate }: Won<LlmProvider, ReplyPart, LlmUsage | undefined>,
  { all, clock }: Lineup<LlmProvider>,
  isSpoken: boolean,
): Promise<IteratorResult<ReplyPart, LlmUsage | undefined>> {
  const next = stream.next();
  if (isSpoken || all.length < 2) return next;
  const what = `${candidate.member.vendor}: the rest of the first sentence`;
  try {
    return await withDeadline(next, STALL_MS, what, clock);
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'E_TIMEOUT') throw error;
    throw new AppError('E_PROVIDER_SERVER', error.message, { cause: error });
  }
}

type Ask = NonNullable<LlmProvider['complete']>;

/** One after another: whoever asks has all the time it needs. */
async function completed(
  lineup: Lineup<LlmProvider>,
  able: readonly Candidate<LlmProvider>[],
  ...[request, signal]: Parameters<Ask>
): ReturnType<Ask> {
  let first: { readonly error: unknown } | null = null;
  for (const candidate of lineup.available().filter((each) => able.includes(each))) {
    const complete = candidate.provider.complete?.bind(candidate.provider);
    const attempt = complete === undefined ? null : candidate.member.begin();
    if (complete === undefined || attempt === null) continue;
    try {
      const answer = await complete(request, signal);
      attempt.worked();
      return answer;
    } catch (error) {
      if (signal.aborted) throw givenUp();
      first ??= { error };
      attempt.failed(error);
      const failure = failureOf(error);
      if (failure === 'content' || failure === 'aborted') throw error;
    } finally {
      attempt.end();
    }
  }
  throw first === null ? unavailable(lineup) : first.error;
}
