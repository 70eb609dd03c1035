/** Finds the providers of an agent by vendor name, and owns those that hold a resource. */
import type { Clock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type { Language, LlmProvider, ProviderSet, SttProvider, TtsProvider } from './contract.ts';
import {
  chooseAccount,
  describeAccount,
  llmSettingsOf,
  type Kind,
  type LlmSettings,
  type VendorAccount,
} from './accounts.ts';
import { createLocalAgent } from './local/agent.ts';
import { createLocalStt } from './local/stt.ts';
import { createLocalTts, type LocalTts } from './local/tts.ts';
import { createOpenAiLlm } from './openai/llm.ts';
import { createSimLlm } from './sim/llm.ts';
import { parseSimScript, readSimScript, type SimScript } from './sim/script.ts';
import { createSimStt } from './sim/stt.ts';
import { createSimTts } from './sim/tts.ts';

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

/** What an agent asks for; null means the account's own vendors, else the installation's default. */
export type AgentProviders = {
  readonly vendors: {
    readonly stt: string | null;
    readonly llm: string | null;
    readonly tts: string | null;
  };
  /** The account at the vendor that the agent insists on, by id. */
  readonly vendorConfigs?: {
    readonly stt: string | null;
    readonly llm: string | null;
    readonly tts: string | null;
  };
  readonly llm?: {
    readonly model: string | null;
    readonly temperature: number | null;
    readonly maxTokens: number | null;
  };
};

export type Providers = {
  /**
   * An agent that names no vendor uses the first of `accounts` that fits, then the environment's default, then `local`.
   * `accounts`: the active ones at vendors, by priority. Errors: E_CONFIG for a vendor that does not exist, naming the
   * agent's setting, the account's or the environment's.
   */
  forAgent(agent: AgentProviders, accounts?: readonly VendorAccount[]): ProviderSet;
  /** Asks the vendor of an account for the least it can do. Errors: E_CONFIG, E_PROVIDER_*, E_TIMEOUT, E_ABORTED. */
  probe(account: VendorAccount, signal: AbortSignal): Promise<void>;
  /** Brings the local voice to the point where its first chunk comes at once; `texts` are greetings of agents. */
  warmUp(texts?: readonly { readonly text: string; readonly language: Language }[]): Promise<void>;
  /** Whether the local voice can say any text, or only its recorded prompts. */
  readonly hasVoice: boolean;
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
};

const KIND_NAMES: { readonly [K in Kind]: string } = {
  stt: 'speech recogniser',
  llm: 'language model',
  tts: 'voice',
};

/** Errors: E_CONFIG for an unknown default vendor, a broken sim script, or `openai` without its settings. */
export function createProviders(options: ProvidersOptions): Providers {
  const { log, clock, cacheDir, settings } = options;
  const script = scriptOf(settings);
  const localTts = options.localTts ?? createLocalTts({ log, clock, cacheDir });
  const sim = script ?? {};
  const stt: Readonly<Record<string, SttProvider>> = {
    local: createLocalStt(),
    sim: createSimStt({ script: sim, clock }),
  };
  const tts: Readonly<Record<string, TtsProvider>> = {
    local: localTts,
    sim: createSimTts({ script: sim, clock }),
  };
  const llm: Readonly<Record<string, MakeLlm>> = {
    local: once(createLocalAgent),
    sim: once(() => createSimLlm({ script: sim, clock })),
    openai: (agent, source) => openAiFor(options, agent, source),
  };
  const forAgent: Providers['forAgent'] = (agent, accounts = []) => {
    const { sttVendor, llmVendor, ttsVendor } = settings;
    const defaultLlm = llmVendor ?? (settings.llm === null ? 'local' : 'openai');
    const own = (kind: Kind, known: object, fallback: string): Source =>
      sourceOf({ kind, agent, accounts, known, fallback });
    const llmSource = own('llm', llm, defaultLlm);
    return {
      stt: pick(stt, own('stt', stt, sttVendor ?? 'local')),
      llm: pick(llm, llmSource)(agent, llmSource),
      tts: pick(tts, own('tts', tts, ttsVendor ?? 'local')),
    };
  };
  try {
    forAgent({ vendors: { stt: null, llm: null, tts: null } });
  } catch (error) {
    localTts.close();
    throw error;
  }
  return {
    forAgent,
    probe: (account, signal) => probe({ stt, tts, llm }, account, signal),
    warmUp: (texts) => localTts.warmUp(texts),
    hasVoice: localTts.hasVoice,
    close: () => localTts.close(),
  };
}

function scriptOf(settings: ProviderSettings): SimScript | null {
  const given = settings.simScript ?? null;
  if (given === null) return null;
  return typeof given === 'string' ? readSimScript(given) : parseSimScript(given);
}

function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}

/** Who decided on a vendor, to be named when it does not work. */
type Source = {
  readonly kind: Kind;
  readonly vendor: string;
  /** Null: the agent's word alone, or the environment's. */
  readonly account: VendorAccount | null;
  readonly setting: string;
};

type MakeLlm = (agent: AgentProviders, source: Source) => LlmProvider;

function sourceOf(from: {
  readonly kind: Kind;
  readonly agent: AgentProviders;
  readonly accounts: readonly VendorAccount[];
  readonly known: object;
  readonly fallback: string;
}): Source {
  const { kind, agent, accounts, known, fallback } = from;
  const vendor = agent.vendors[kind];
  const wish = { vendor, configId: agent.vendorConfigs?.[kind] ?? null };
  const account = chooseAccount(
    kind,
    wish,
    accounts,
    (each) => Object.hasOwn(known, each.vendor) && hasAllItNeeds(each, agent),
  );
  if (account !== null) {
    return { kind, vendor: account.vendor, account, setting: describeAccount(account) };
  }
  const setting =
    vendor === null ? `CALLYARD_${kind.toUpperCase()}_VENDOR` : `the agent's vendors.${kind}`;
  return { kind, vendor: vendor ?? fallback, account, setting };
}

/** An account that was saved without a model must not fail every call of the agents that name none. */
function hasAllItNeeds(account: VendorAccount, agent: AgentProviders): boolean {
  if (account.kind !== 'llm' || account.vendor !== 'openai') return true;
  const { baseUrl, model } = llmSettingsOf(account);
  return isHttp(baseUrl) && (model !== '' || (agent.llm?.model ?? '') !== '');
}

function isHttp(address: string): boolean {
  return /^https?:$/.test(URL.parse(address)?.protocol ?? '');
}

function pick<T>(known: Readonly<Record<string, T>>, { kind, vendor, setting }: Source): T {
  if (Object.hasOwn(known, vendor)) return known[vendor] as T;
  const names = Object.keys(known).join(', ');
  throw new AppError(
    'E_CONFIG',
    `${setting}: there is no ${KIND_NAMES[kind]} called "${vendor}"; there are ${names}`,
  );
}

function openAiFor(options: ProvidersOptions, agent: AgentProviders, source: Source): LlmProvider {
  const { log, clock, settings } = options;
  const { account, setting } = source;
  const found = account === null ? settings.llm : llmSettingsOf(account);
  if (found === null) {
    throw new AppError(
      'E_CONFIG',
      `${setting} is openai, which needs CALLYARD_LLM_BASE_URL and CALLYARD_LLM_MODEL`,
    );
  }
  const { model: ownModel = null, temperature = null, maxTokens = null } = agent.llm ?? {};
  if (!isHttp(found.baseUrl)) {
    const what =
      account === null
        ? `CALLYARD_LLM_BASE_URL is not an http address: ${found.baseUrl}`
        : `base_url of ${setting} is not an http address`;
    throw new AppError('E_CONFIG', what);
  }
  const model = ownModel ?? found.model;
  if (model === '') {
    const what =
      account === null
        ? `CALLYARD_LLM_MODEL is not set, and ${setting} is openai`
        : `${setting} has no model in its options, and the agent names none`;
    throw new AppError('E_CONFIG', what);
  }
  const { baseUrl, apiKey } = found;
  return createOpenAiLlm({ log, clock, baseUrl, apiKey, model, temperature, maxTokens });
}

type Clients = {
  readonly stt: Readonly<Record<string, SttProvider>>;
  readonly tts: Readonly<Record<string, TtsProvider>>;
  readonly llm: Readonly<Record<string, MakeLlm>>;
};

/** A language model is asked for one word: address, key and model are right then. What runs here needs no asking. */
async function probe(clients: Clients, account: VendorAccount, signal: AbortSignal): Promise<void> {
  const setting = describeAccount(account);
  const { kind, vendor } = account;
  if (kind === 'realtime' || kind === 'speech') {
    throw new AppError('E_CONFIG', `${setting}: this version has no client for it`);
  }
  if (account.credentials === null) {
    throw new AppError('E_CONFIG', `${setting}: its secrets cannot be opened`);
  }
  const source: Source = { kind, vendor, account, setting };
  if (kind !== 'llm') {
    pick<unknown>(clients[kind], source);
    return;
  }
  const agent: AgentProviders = { vendors: { stt: null, llm: null, tts: null } };
  const llm = pick(clients.llm, source)(agent, source);
  const question = {
    system: 'Answer with one word.',
    user: 'Hello',
    temperature: 0,
    maxTokens: 16,
  };
  await llm.complete?.(question, signal);
}
