/**
 * Voices that stand in for each other inside a sentence: one that gives no sound is replaced before a word was said, one
 * that breaks is replaced at the next word.
 */
import { withDeadline } from '#lib/deadline.ts';
import type { TtsChunk, TtsProvider, TtsRequest, WordMark } from '../contract.ts';
import { failureOf, isWorthAnother } from './failures.ts';
import type { Candidate, Lineup } from './lineup.ts';
import { givenUp, race, type RaceOptions, type Won } from './race.ts';
import { SpokenPart } from './spoken-part.ts';

/** Until the first sound of one, before the next is asked as well. */
const PATIENCE = { minMs: 300, maxMs: 600 };
/** With nobody else: the same vendor again, on another connection. */
const AGAIN_MS = 1_000;
/** Behind the end of the sound that it has given, a voice may be silent so long. */
const STALL_MS = 400;
/** The last voice there is may take its time: the listener has deadlines of its own. */
const LAST_STALL_MS = 3_000;
const MAX_BREAKS = 4;

type Stage = Won<TtsProvider, TtsChunk, void>;

/** Errors of `speak`: those of the first voice asked, when none says it to its end. */
export function failoverTts(lineup: Lineup<TtsProvider>): TtsProvider {
  const [first] = lineup.all;
  if (first === undefined) throw new TypeError('a lineup needs somebody in it');
  return {
    vendor: first.provider.vendor,
    warm: () => lineup.available()[0]?.provider.warm?.(),
    speak: (request, signal) => speak(lineup, request, signal),
  };
}

async function* speak(
  lineup: Lineup<TtsProvider>,
  request: TtsRequest,
  signal: AbortSignal,
): AsyncGenerator<TtsChunk, void> {
  const failed = new Set<Candidate<TtsProvider>>();
  /** Broken twice in this very sentence. */
  const hopeless = new Set<Candidate<TtsProvider>>();
  let from: WordMark = { chars: 0, ms: 0 };
  let first: { readonly error: unknown } | null = null;
  for (let breaks = 0; ; breaks++) {
    const text = request.text.slice(from.chars);
    if (breaks > 0 && !hasWords(text)) {
      const chars = request.text.trimEnd().length;
      yield { pcm: new Int16Array(0), marks: [{ chars, ms: from.ms }] };
      return;
    }
    const whom = { failed, hopeless };
    const won = await start(lineup, { ...request, text }, whom, signal).catch((error: unknown) => {
      throw first === null || signal.aborted ? error : first.error;
    });
    const { candidate } = won;
    const part = new SpokenPart(text, from, candidate.member.paceMs);
    try {
      yield* toTheEnd(lineup, won, part);
      return;
    } catch (error) {
      // Whatever a client makes of an abort says nothing of its vendor.
      if (signal.aborted) throw givenUp();
      const failure = failureOf(error);
      won.attempt.failed(error, failure);
      first ??= { error };
      if (!isWorthAnother(failure) || breaks === MAX_BREAKS) throw error;
      if (failed.has(candidate)) hopeless.add(candidate);
      failed.add(candidate);
      from = part.broken();
      const next = lineup.available(failed).find((each) => !hopeless.has(each));
      if (next !== undefined && next !== candidate) lineup.failedOver(candidate, next, error);
    } finally {
      won.stop();
    }
  }
}

function start(
  lineup: Lineup<TtsProvider>,
  request: TtsRequest,
  whom: Pick<RaceOptions<TtsProvider, TtsChunk, void>, 'failed' | 'hopeless'>,
  signal: AbortSignal,
): Promise<Stage> {
  const { voice: _, ...withoutVoice } = request;
  return race<TtsProvider, TtsChunk, void>({
    ...{ lineup, ...whom, signal, patience: PATIENCE, againAfterMs: AGAIN_MS },
    needsItems: hasWords(request.text),
    // Another vendor has no voice of that name.
    ask: ({ provider, hasAgentsVoice }, given) =>
      provider.speak(hasAgentsVoice ? request : withoutVoice, given),
  });
}

/** Errors: those of the voice; E_TIMEOUT when its sound has run out and no more comes. */
async function* toTheEnd(
  { clock, all }: Lineup<TtsProvider>,
  { stream, step: begun, candidate }: Stage,
  part: SpokenPart,
): AsyncGenerator<TtsChunk, void> {
  const { member, hasAgentsVoice } = candidate;
  let startMs = clock.now();
  const stallMs = all.length > 1 ? STALL_MS : LAST_STALL_MS;
  for (let step = begun; step.done !== true;) {
    const givenMs = clock.now();
    yield { ...part.take(step.value), by: member.vendor, isStandIn: !hasAgentsVoice };
    // A listener who takes no more has enough to listen to.
    startMs += clock.now() - givenMs;
    const aheadMs = Math.max(0, startMs + part.ms - clock.now());
    const what = `${member.vendor}: the rest of the sentence`;
    step = await withDeadline(stream.next(), aheadMs + stallMs, what, clock);
  }
  const marks = part.end();
  if (marks.length > 0) yield { pcm: new Int16Array(0), marks };
  const { paceMs } = part;
  if (paceMs !== null && paceMs > 0) member.learnPace(paceMs);
}

function hasWords(text: string): boolean {
  return /[\p{L}\p{N}]/u.test(text);
}
