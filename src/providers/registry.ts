/** Finds the providers of an agent by vendor name, and owns those that hold a resource. */
import type { Clock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type { Language, LlmProvider, ProviderSet, SttProvider, TtsProvider } from './contract.ts';
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
  readonly llm: {
    readonly baseUrl: string;
    readonly apiKey: string;
    readonly model: string;
  } | null;
  /** Null: `local`; for llm `openai` when `llm` is set. */
  readonly sttVendor: string | null;
  readonly llmVendor: string | null;
  readonly ttsVendor: string | null;
  /** Path of the JSON file (or the object) that the `sim` vendor plays. */
  readonly simScript?: string | SimScript | null;
};

/** What an agent asks for; null means the installation's default. */
export type AgentProviders = {
  readonly vendors: {
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
  /** Errors: E_CONFIG for a vendor that does not exist, naming the agent's setting or the environment's. */
  forAgent(agent: AgentProviders): ProviderSet;
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

type Kind = 'stt' | 'llm' | 'tts';

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
  const llm: Readonly<Record<string, (agent: AgentProviders, setting: string) => LlmProvider>> = {
    local: once(createLocalAgent),
    sim: once(() => createSimLlm({ script: sim, clock })),
    openai: (agent, setting) => openAiFor(options, agent, setting),
  };
  const forAgent = (agent: AgentProviders): ProviderSet => {
    const { sttVendor, llmVendor, ttsVendor } = settings;
    const defaultLlm = llmVendor ?? (settings.llm === null ? 'local' : 'openai');
    const llmSetting = settingName('llm', agent.vendors.llm);
    return {
      stt: pick(stt, 'stt', agent.vendors.stt, sttVendor ?? 'local'),
      llm: pick(llm, 'llm', agent.vendors.llm, defaultLlm)(agent, llmSetting),
      tts: pick(tts, 'tts', agent.vendors.tts, ttsVendor ?? 'local'),
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

function settingName(kind: Kind, own: string | null): string {
  return own === null ? `CALLYARD_${kind.toUpperCase()}_VENDOR` : `the agent's vendors.${kind}`;
}

function pick<T>(
  known: Readonly<Record<string, T>>,
  kind: Kind,
  own: string | null,
  fallback: string,
): T {
  const name = own ?? fallback;
  if (Object.hasOwn(known, name)) return known[name] as T;
  const names = Object.keys(known).join(', ');
  throw new AppError(
    'E_CONFIG',
    `${settingName(kind, own)}: there is no ${KIND_NAMES[kind]} called "${name}"; there are ${names}`,
  );
}

function openAiFor(options: ProvidersOptions, agent: AgentProviders, setting: string): LlmProvider {
  const { log, clock, settings } = options;
  if (settings.llm === null) {
    throw new AppError(
      'E_CONFIG',
      `${setting} is openai, which needs CALLYARD_LLM_BASE_URL and CALLYARD_LLM_MODEL`,
    );
  }
  const { baseUrl, apiKey, model } = settings.llm;
  const { model: ownModel = null, temperature = null, maxTokens = null } = agent.llm ?? {};
  if (URL.parse(baseUrl)?.protocol.startsWith('http') !== true) {
    throw new AppError('E_CONFIG', `CALLYARD_LLM_BASE_URL is not an http address: ${baseUrl}`);
  }
  if ((ownModel ?? model) === '') {
    throw new AppError('E_CONFIG', `CALLYARD_LLM_MODEL is not set, and ${setting} is openai`);
  }
  const tuning = { model: ownModel ?? model, temperature, maxTokens };
  return createOpenAiLlm({ log, clock, baseUrl, apiKey, ...tuning });
}
