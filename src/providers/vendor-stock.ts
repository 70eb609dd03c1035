/** Makes the providers that agents and accounts name, once each, and keeps what is known of how each does. */
import { AppError } from '#lib/errors.ts';
import { priceTableOf } from '#lib/prices.ts';
import type { LlmSettings } from './accounts.ts';
import { settingsFor, type AgentProviders, type Source } from './agent-vendors.ts';
import { openAiFor, type InProcess } from './builtin.ts';
import { Clients, keyOf } from './clients.ts';
import type {
  LlmProvider,
  ProviderKind,
  RealtimeProvider,
  SttProvider,
  TtsProvider,
} from './contract.ts';
import { balanced, type Balance } from './pool/lineup.ts';
import { PoolMember, RATE, type PoolEvents } from './pool/member.ts';
import type { Choice, Choices } from './pool/set.ts';
import type { RateBounds } from './pool/rate-limit.ts';
import { choiceOption, numberOption, type VendorModule, type VendorTools } from './vendor.ts';

export type AnyProvider = {
  readonly stt: SttProvider;
  readonly llm: LlmProvider;
  readonly tts: TtsProvider;
  readonly realtime: RealtimeProvider;
};

export type StockOptions = {
  readonly tools: VendorTools;
  readonly vendors: readonly VendorModule[];
  readonly inProcess: InProcess;
  readonly installationLlm: LlmSettings | null;
  readonly events: PoolEvents;
};

const KIND_NAMES: Readonly<Record<ProviderKind, string>> = {
  stt: 'speech recogniser',
  llm: 'language model',
  tts: 'voice',
  realtime: 'speech-to-speech model',
};

const MAX_MEMBERS = 500;
const MAX_WEIGHT = 1_000;
/** Requests a second, at most: `options.rate_limit` of the account. */
const RATE_LIMITS = [1, 100_000] as const;

export class VendorStock {
  readonly #options: StockOptions;
  readonly #clients = new Clients();
  readonly #members = new Map<string, PoolMember>();

  constructor(options: StockOptions) {
    this.#options = options;
  }

  members(): readonly PoolMember[] {
    return [...this.#members.values()];
  }

  close(): void {
    this.#clients.close();
  }

  /** Those of `sources` that can be made; equal ones in the order that their balance gives. `onWrong`: E_CONFIG. */
  usable<K extends ProviderKind>(
    kind: K,
    agent: AgentProviders,
    sources: readonly Source[],
    onWrong: (error: unknown) => void,
  ): Choices<K> {
    const made = sources.flatMap((source) => {
      try {
        return [{ source, choice: this.make(kind, agent, source), ...weightOf(source, agent) }];
      } catch (error) {
        if (!(error instanceof AppError && error.code === 'E_CONFIG')) throw error;
        onWrong(error);
        return [];
      }
    });
    const groups = Map.groupBy(
      made.map((each) => ({ ...each, member: each.choice.candidate.member })),
      ({ source }) => `${source.vendor} ${source.account?.priority ?? source.account?.id ?? ''}`,
    );
    return [...groups.values()].flatMap((group) =>
      balanced(group, group[0]?.balance ?? 'weighted').map(({ choice }) => choice),
    );
  }

  /** Errors: E_CONFIG. */
  make<K extends ProviderKind>(kind: K, agent: AgentProviders, source: Source): Choice<K> {
    const { vendor, account, isFirstChoice } = source;
    const known = this.#inProcess(kind, vendor);
    const name = {
      vendor,
      prices: priceTableOf(account?.prices, account?.currency ?? ''),
    };
    const member = this.#member(source, agent, known === null);
    const own = { member, hasAgentsVoice: isFirstChoice, isLastResort: false };
    const key = this.#keyOf(source, agent);
    if (known !== null) return { key, name, candidate: { ...own, provider: known } };
    const client = (): AnyProvider[K] =>
      this.#clients.get(key, () => this.#newClient(source, agent)) as AnyProvider[K];
    return { key, name, candidate: { ...own, provider: asked(kind, client) } };
  }

  /** A client of its own, to be closed by whoever asked; null: it runs in this process. Errors: E_CONFIG. */
  fresh(source: Source, agent: AgentProviders): AnyProvider[ProviderKind] | null {
    if (this.#inProcess(source.kind, source.vendor) !== null) return null;
    return this.#newClient(source, agent);
  }

  #inProcess<K extends ProviderKind>(kind: K, vendor: string): AnyProvider[K] | null {
    if (kind === 'realtime') return null;
    const known = this.#options.inProcess[kind as Exclude<K, 'realtime'>];
    return Object.hasOwn(known, vendor) ? (known[vendor] as AnyProvider[K]) : null;
  }

  #newClient(source: Source, agent: AgentProviders): AnyProvider[ProviderKind] {
    const { tools, installationLlm } = this.#options;
    const { kind, vendor, setting } = source;
    // Its server and model may be the installation's, and then there is no account to take them from.
    if (kind === 'llm' && vendor === 'openai') {
      return openAiFor(tools, installationLlm, agent, source);
    }
    const make = this.#options.vendors.find((each) => each.vendor === vendor)?.[kind];
    if (make !== undefined) return make(settingsFor(source, agent), tools);
    const names = this.#names(kind);
    const there = names.length === 0 ? 'there is none' : `there are ${names.join(', ')}`;
    const what = `there is no ${KIND_NAMES[kind]} called "${vendor}"; ${there}`;
    throw new AppError('E_CONFIG', `${setting}: ${what}`);
  }

  #names(kind: ProviderKind): string[] {
    const { inProcess, vendors } = this.#options;
    const here = kind === 'realtime' ? [] : Object.keys(inProcess[kind]);
    const openai = kind === 'llm' ? ['openai'] : [];
    const others = vendors.filter((each) => each[kind] !== undefined).map(({ vendor }) => vendor);
    return [...new Set([...here, ...openai, ...others])];
  }

  /** What it is made of. */
  #keyOf(source: Source, agent: AgentProviders): string {
    const { kind, vendor, account, isFirstChoice } = source;
    const own = isFirstChoice ? [agent.llm?.model, agent.voice, agent.speech?.realtimeVoice] : [];
    const { temperature, maxTokens } = agent.llm ?? {};
    const { speed, volume } = agent.speech ?? {};
    const how = kind === 'llm' ? [temperature, maxTokens] : [speed, volume];
    return keyOf(
      kind,
      vendor,
      account?.id,
      account?.credentials,
      account?.options,
      source.options,
      [...own, ...how],
    );
  }

  /**
   * Shared by all agents that use the account in the same way: one that asks for a model it may not use keeps nobody else
   * from theirs. A changed account is another one.
   */
  #member(source: Source, agent: AgentProviders, isRemote: boolean): PoolMember {
    const { kind, vendor, account, isFirstChoice } = source;
    const model = kind === 'llm' && isFirstChoice ? agent.llm?.model : null;
    const { tools, events } = this.#options;
    const own = [kind, vendor, account?.id, account?.credentials, account?.options];
    const key = keyOf(...own, source.options, model);
    const known = this.#members.get(key);
    this.#members.delete(key);
    const member =
      known ??
      new PoolMember({ kind, vendor, clock: tools.clock, isRemote, events, rate: rateOf(account) });
    this.#members.set(key, member);
    for (const [oldest, { inFlight }] of this.#members) {
      if (this.#members.size <= MAX_MEMBERS) break;
      if (inFlight === 0) this.#members.delete(oldest);
    }
    return member;
  }
}

function rateOf(account: Source['account']): RateBounds {
  const limit = account?.options['rate_limit'];
  return typeof limit === 'number' && limit >= 1 ? { ...RATE, maxPerS: limit } : RATE;
}

/** Of an account among others. Errors: E_CONFIG. */
function weightOf(
  source: Source,
  agent: AgentProviders,
): { readonly weight: number; readonly balance: Balance } {
  if (source.account === null) return { weight: 1, balance: 'weighted' };
  const settings = settingsFor(source, agent);
  // Used where the account's member is made; wrong, it is told here.
  numberOption(settings, 'rate_limit', RATE.maxPerS, RATE_LIMITS);
  return {
    weight: numberOption(settings, 'weight', 1, [0, MAX_WEIGHT]),
    balance: choiceOption(settings, 'balance', ['weighted', 'least_connections']),
  };
}

type Complete = NonNullable<LlmProvider['complete']>;

async function questionTo(
  llm: LlmProvider,
  ...question: Parameters<Complete>
): ReturnType<Complete> {
  const answer = await llm.complete?.(...question);
  if (answer !== undefined) return answer;
  throw new AppError('E_CONFIG', `${llm.vendor}: this model answers no questions by themselves`);
}

/** The provider as calls hold it: its client may be given up and made again behind it. Errors: E_CONFIG. */
function asked<K extends ProviderKind>(kind: K, client: () => AnyProvider[K]): AnyProvider[K] {
  const made: AnyProvider[ProviderKind] = client();
  const warm = made.warm === undefined ? {} : { warm: () => client().warm?.() };
  switch (kind) {
    case 'stt': {
      const get = client as () => SttProvider;
      const { vendor, reads } = made as SttProvider;
      const stt: SttProvider = { vendor, reads, ...warm, open: (call) => get().open(call) };
      return stt as AnyProvider[K];
    }
    case 'llm': {
      const get = client as () => LlmProvider;
      const first = made as LlmProvider;
      const llm: LlmProvider = {
        ...{ vendor: first.vendor, ...warm },
        reply: (request, signal) => get().reply(request, signal),
        ...(first.greeting && { greeting: (language) => get().greeting?.(language) ?? null }),
        ...(first.complete && { complete: (...question) => questionTo(get(), ...question) }),
      };
      return llm as AnyProvider[K];
    }
    case 'tts': {
      const get = client as () => TtsProvider;
      const tts: TtsProvider = {
        ...{ vendor: made.vendor, ...warm },
        speak: (request, signal) => get().speak(request, signal),
      };
      return tts as AnyProvider[K];
    }
    case 'realtime': {
      const get = client as () => RealtimeProvider;
      const { vendor, hasTools } = made as RealtimeProvider;
      const realtime: RealtimeProvider = {
        ...{ vendor, hasTools, ...warm },
        open: (options, signal) => get().open(options, signal),
      };
      return realtime as AnyProvider[K];
    }
  }
}
