/** Finds the providers of an agent by vendor name, and owns their clients and what is known of how they do. */
import type { Clock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import { loadStreamResampling, type StreamResampling } from '#lib/stream-resampler.ts';
import { describeAccount, type LlmSettings, type VendorAccount } from './accounts.ts';
import { fallbacksOf, firstChoices, type AgentProviders, type Source } from './agent-vendors.ts';
import { inProcess, standInVoice } from './builtin.ts';
import type { Language, LlmProvider, ProviderKind, ProviderSet, TtsProvider } from './contract.ts';
import { createLocalTts, type LocalTts } from './local/tts.ts';
import { NO_EVENTS, type PoolEvents, type PoolMember } from './pool/member.ts';
import { composed, type Choices } from './pool/set.ts';
import { probeLlm, probeRealtime, probeStt, probeTts } from './provider-probe.ts';
import { parseSimScript, readSimScript, type SimScript } from './sim/script.ts';
import { VENDORS } from './vendor-list.ts';
import { VendorStock, type AnyProvider } from './vendor-stock.ts';
import type { VendorModule } from './vendor.ts';

export type { AgentProviders } from './agent-vendors.ts';

export type ProviderSettings = {
  /** The OpenAI-compatible model of the installation. */
  readonly llm: LlmSettings | null;
  /** Null: `local`; for llm `openai` when `llm` is set. */
  readonly sttVendor: string | null;
  readonly llmVendor: string | null;
  readonly ttsVendor: string | null;
  /** Path of the JSON file (or the object) that the `sim` vendor plays. */
  readonly simScript?: string | SimScript | null;
};

export type Providers = {
  /**
   * An agent that names no vendor uses `accounts` that fit, by priority, else the environment's default, else `local`.
   * Behind each provider of the set stand all that may do its work: the others are gone to when one does not.
   * `accounts`: the active ones at vendors, by priority. Errors: E_CONFIG for a vendor that does not exist or lacks a
   * setting, naming the agent's setting, the account's or the environment's.
   */
  forAgent(agent: AgentProviders, accounts?: readonly VendorAccount[]): ProviderSet;
  /** Asks the vendor of an account for the least it can do. Errors: E_CONFIG, E_PROVIDER_*, E_TIMEOUT, E_ABORTED. */
  probe(account: VendorAccount, signal: AbortSignal): Promise<void>;
  /** Brings the local voice to the point where its first chunk comes at once; `texts` are greetings of agents. */
  warmUp(texts?: readonly { readonly text: string; readonly language: Language }[]): Promise<void>;
  /** Whether the local voice can say any text, or only its recorded prompts. */
  readonly hasVoice: boolean;
  /** All providers that calls have used lately, with what is known of them. */
  members(): readonly PoolMember[];
  /** Has `events` told from now on, instead of whoever was told before. */
  onEvents(events: PoolEvents): void;
  /** Idempotent. */
  close(): void;
};

export type ProvidersOptions = {
  readonly log: Log;
  readonly clock: Clock;
  /** Folder for cached speech; null caches in memory only. */
  readonly cacheDir: string | null;
  readonly settings: ProviderSettings;
  /** Replaces the local voice, for tests. */
  readonly localTts?: LocalTts;
  /** Those of vendor-list.ts, unless a test has its own. */
  readonly vendors?: readonly VendorModule[];
};

const NO_WISH: AgentProviders = { vendors: { stt: null, llm: null, tts: null } };

/** Errors: E_CONFIG for an unknown default vendor, a broken sim script, or `openai` without its settings. */
export function createProviders(options: ProvidersOptions): Providers {
  const { log, clock, cacheDir, settings } = options;
  const script = scriptOf(settings) ?? {};
  const localTts = options.localTts ?? createLocalTts({ log, clock, cacheDir });
  let events = NO_EVENTS;
  const stock = new VendorStock({
    tools: { log, clock, resampling: once(loadStreamResampling) },
    vendors: options.vendors ?? VENDORS,
    inProcess: inProcess({ clock }, script, localTts),
    installationLlm: settings.llm,
    events: {
      requested: (member) => events.requested(member),
      failed: (member, failure) => events.failed(member, failure),
      failedOver: (from, to) => events.failedOver(from, to),
    },
  });
  const standIn = standInVoice(localTts);
  const forAgent: Providers['forAgent'] = (agent, accounts = []) => {
    const ask = { agent, accounts, log, standIn };
    const of = <K extends ProviderKind>(kind: K) =>
      choicesOf(stock, { ...ask, kind, standard: standardOf(kind, settings) });
    const realtime = agent.mode === 'realtime' ? of('realtime') : null;
    return composed({ stt: of('stt'), llm: of('llm'), tts: of('tts'), realtime }, { clock, log });
  };
  try {
    forAgent(NO_WISH);
  } catch (error) {
    localTts.close();
    throw error;
  }
  return {
    forAgent,
    probe: (account, signal) => probe(stock, clock, account, signal),
    warmUp: (texts) => localTts.warmUp(texts),
    hasVoice: localTts.hasVoice,
    members: () => stock.members(),
    onEvents: (listener) => {
      events = listener;
    },
    close: () => {
      stock.close();
      localTts.close();
    },
  };
}

function scriptOf(settings: ProviderSettings): SimScript | null {
  const given = settings.simScript ?? null;
  if (given === null) return null;
  return typeof given === 'string' ? readSimScript(given) : parseSimScript(given);
}

function once(load: () => Promise<StreamResampling>): () => Promise<StreamResampling> {
  let loading: Promise<StreamResampling> | undefined;
  return () => (loading ??= load());
}

function standardOf(kind: ProviderKind, settings: ProviderSettings): string | null {
  const { sttVendor, llmVendor, ttsVendor, llm } = settings;
  switch (kind) {
    case 'stt':
      return sttVendor ?? 'local';
    case 'llm':
      return llmVendor ?? (llm === null ? 'local' : 'openai');
    case 'tts':
      return ttsVendor ?? 'local';
    case 'realtime':
      return null;
  }
}

type Ask<K extends ProviderKind> = {
  readonly kind: K;
  readonly agent: AgentProviders;
  readonly accounts: readonly VendorAccount[];
  readonly standard: string | null;
  /** Speaks when no vendor's voice does. */
  readonly standIn: TtsProvider;
  readonly log: Log;
};

/** All that may do the work, in order. Errors: E_CONFIG when nobody may, of the first choice. */
function choicesOf<K extends ProviderKind>(stock: VendorStock, ask: Ask<K>): Choices<K> {
  const { kind, agent, accounts, standard, log } = ask;
  const onWrong = (error: unknown): void => log.warn('provider.fallbackUnusable', { kind, error });
  const fallbacks = fallbacksOf(kind, agent, accounts, onWrong);
  let first: Choices<K> = [];
  try {
    first = firstOf(stock, ask, firstChoices(kind, agent, accounts, standard));
  } catch (error) {
    // Whoever has named others wants the call to go on; whoever has not is to learn what is wrong.
    if (fallbacks.length === 0) throw error;
    log.error('provider.unusable', { kind, error });
    const others = stock.usable(kind, agent, fallbacks, onWrong);
    if (others.length === 0) throw error;
    return withVoice(stock, ask, others);
  }
  const others = fallbacks.length === 0 ? [] : stock.usable(kind, agent, fallbacks, onWrong);
  const more = others.filter(({ key }) => first.every((each) => each.key !== key));
  return withVoice(stock, ask, [...first, ...more]);
}

/** Accounts that lack something are passed over for others, or for the installation's own vendor. */
function firstOf<K extends ProviderKind>(
  stock: VendorStock,
  { kind, agent, standard }: Ask<K>,
  sources: readonly Source[],
): Choices<K> {
  let wrong: { readonly error: unknown } | null = null;
  const usable = stock.usable(kind, agent, sources, (error) => (wrong ??= { error }));
  if (usable.length > 0) return usable;
  const isFree = (agent.vendors[kind] ?? null) === null && !sources.some((each) => each.isInsisted);
  const isStandard = sources.every(({ account }) => account === null);
  if (isFree && !isStandard && standard !== null) {
    return [stock.make(kind, agent, firstChoices(kind, agent, [], standard)[0] as Source)];
  }
  throw (wrong as { readonly error: unknown } | null)?.error ?? new TypeError('no source');
}

/** A vendor's voice that fails must not leave a caller in silence: the local one says what is left. */
function withVoice<K extends ProviderKind>(
  stock: VendorStock,
  { kind, standIn }: Ask<K>,
  choices: Choices<K>,
): Choices<K> {
  const isRemote = choices.some(({ candidate }) => candidate.member.isRemote);
  const hasLocal = choices.some(({ candidate }) => candidate.member.vendor === 'local');
  if (kind !== 'tts' || !isRemote || hasLocal) return choices;
  const source: Source = {
    ...{ kind, vendor: 'local', account: null, setting: 'the local voice', options: {} },
    ...{ isFirstChoice: false, isInsisted: false },
  };
  const last = stock.make(kind, NO_WISH, source);
  const provider = standIn as AnyProvider[K];
  return [...choices, { ...last, candidate: { ...last.candidate, provider, isLastResort: true } }];
}

/** What runs here needs no asking. */
async function probe(
  stock: VendorStock,
  clock: Clock,
  account: VendorAccount,
  signal: AbortSignal,
): Promise<void> {
  const setting = describeAccount(account);
  const { kind, vendor } = account;
  if (kind === 'speech') {
    throw new AppError('E_CONFIG', `${setting}: it is tried out by its own route`);
  }
  if (account.credentials === null) {
    throw new AppError('E_CONFIG', `${setting}: its secrets cannot be opened`);
  }
  const own = { isFirstChoice: true, isInsisted: true, options: {} };
  const client = stock.fresh({ ...own, kind, vendor, account, setting }, NO_WISH);
  if (client === null) return;
  try {
    await tryOut(kind, client, clock, signal);
  } finally {
    client.close?.();
  }
}

function tryOut(
  kind: ProviderKind,
  client: AnyProvider[ProviderKind],
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  switch (kind) {
    case 'stt':
      return probeStt(client as AnyProvider['stt'], clock, signal);
    case 'llm':
      return probeLlm(client as LlmProvider, signal);
    case 'tts':
      return probeTts(client as AnyProvider['tts'], signal);
    case 'realtime':
      return probeRealtime(client as AnyProvider['realtime'], signal);
  }
}
