/** The providers of one call out of all that may do the work, with taps on every single one. */
import type { Clock } from '#lib/clock.ts';
import type { Log } from '#lib/log.ts';
import type {
  LlmProvider,
  ProviderKind,
  ProviderName,
  ProviderSet,
  ProviderTap,
  RealtimeProvider,
  SttProvider,
  TtsProvider,
} from '../contract.ts';
import { failoverLlm } from './failover-llm.ts';
import { failoverRealtime } from './failover-realtime.ts';
import { failoverStt } from './failover-stt.ts';
import { failoverTts } from './failover-tts.ts';
import { Lineup, type Candidate } from './lineup.ts';

type Provider = {
  readonly stt: SttProvider;
  readonly llm: LlmProvider;
  readonly tts: TtsProvider;
  readonly realtime: RealtimeProvider;
};

export type Choice<K extends ProviderKind> = {
  /** Of what it is made of: equal ones are the same. */
  readonly key: string;
  readonly name: ProviderName;
  readonly candidate: Candidate<Provider[K]>;
};

export type Choices<K extends ProviderKind> = readonly Choice<K>[];

export type AllChoices = {
  readonly stt: Choices<'stt'>;
  readonly llm: Choices<'llm'>;
  readonly tts: Choices<'tts'>;
  readonly realtime: Choices<'realtime'> | null;
};

type Around = { readonly clock: Clock; readonly log: Log };

/** A model that stood in is kept so long; a voice or a recogniser for the rest of the call. */
const KEEP_MODEL_MS = 60_000;

export function composed(all: AllChoices, around: Around): ProviderSet {
  const { realtime } = all;
  return {
    stt: single(readers(all.stt)) ?? failoverStt(lineup(readers(all.stt), around)),
    llm: single(all.llm) ?? failoverLlm(lineup(all.llm, around, KEEP_MODEL_MS)),
    tts: single(all.tts) ?? failoverTts(lineup(all.tts, around)),
    realtime: realtime && failoverRealtime(lineup(realtime, around)),
    tapped: (tap) => composed(withTap(all, tap), around),
  };
}

/** What runs in this process and has nobody beside it needs no pool. */
function single<K extends ProviderKind>(choices: Choices<K>): Provider[K] | null {
  const [first] = choices;
  if (first === undefined || choices.length > 1 || first.candidate.member.isRemote) return null;
  return first.candidate.provider;
}

/** A recogniser that hears without reading cannot stand in for one that reads. */
function readers(choices: Choices<'stt'>): Choices<'stt'> {
  const reads = choices[0]?.candidate.provider.reads;
  return choices.filter(({ candidate }) => candidate.provider.reads === reads);
}

function lineup<K extends ProviderKind>(
  choices: Choices<K>,
  { clock, log }: Around,
  keepMs = Number.POSITIVE_INFINITY,
): Lineup<Provider[K]> {
  return new Lineup({ candidates: choices.map(({ candidate }) => candidate), clock, log, keepMs });
}

function withTap(all: AllChoices, tap: ProviderTap): AllChoices {
  const each = <K extends ProviderKind>(
    choices: Choices<K>,
    put: (provider: Provider[K], name: ProviderName) => Provider[K],
  ): Choices<K> =>
    choices.map((choice) => {
      const { name, candidate } = choice;
      return { ...choice, candidate: { ...candidate, provider: put(candidate.provider, name) } };
    });
  return {
    stt: each(all.stt, (provider, name) => tap.stt(provider, name)),
    llm: each(all.llm, (provider, name) => tap.llm(provider, name)),
    tts: each(all.tts, (provider, name) => tap.tts(provider, name)),
    realtime: all.realtime && each(all.realtime, (provider, name) => tap.realtime(provider, name)),
  };
}
