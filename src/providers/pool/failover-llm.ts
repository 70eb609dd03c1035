/** Language models that stand in for each other, until the first word: what was said cannot be taken back. */
import type { LlmProvider, LlmUsage, ReplyPart, ReplyRequest } from '../contract.ts';
import { failureOf } from './failures.ts';
import type { Candidate, Lineup } from './lineup.ts';
import { race, unavailable } from './race.ts';

/** Until the first word of one, before the next is asked as well. */
const PATIENCE = { minMs: 350, maxMs: 800 };

/** Errors of `reply`: those of the first model asked, when none answers. */
export function failoverLlm(lineup: Lineup<LlmProvider>): LlmProvider {
  const [first] = lineup.all;
  if (first === undefined) throw new TypeError('a lineup needs somebody in it');
  const canComplete = lineup.all.filter(({ provider }) => provider.complete !== undefined);
  return {
    vendor: first.provider.vendor,
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
    while (step.done !== true) {
      yield step.value;
      step = await won.stream.next();
    }
    return step.value;
  } catch (error) {
    won.attempt.failed(error);
    throw error;
  } finally {
    won.stop();
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
      return await complete(request, signal);
    } catch (error) {
      first ??= { error };
      attempt.failed(error);
      const failure = failureOf(error);
      if (failure === 'content' || failure === 'aborted' || signal.aborted) throw error;
    } finally {
      attempt.end();
    }
  }
  throw first === null ? unavailable(lineup) : first.error;
}
