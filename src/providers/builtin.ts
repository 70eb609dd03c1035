/** The providers that need no account (`local`, `sim`), and the OpenAI-compatible model, which may have the installation's. */
import { AppError } from '#lib/errors.ts';
import { llmSettingsOf, type LlmSettings } from './accounts.ts';
import { settingsFor, type AgentProviders, type Source } from './agent-vendors.ts';
import type { LlmProvider, SttProvider, TtsProvider } from './contract.ts';
import { createLocalAgent } from './local/agent.ts';
import { createLocalStt } from './local/stt.ts';
import type { LocalTts } from './local/tts.ts';
import { presetAt } from './openai/chat-vendors.ts';
import { createOpenAiLlm } from './openai/llm.ts';
import { allPrompts } from './prompts.ts';
import { createSimLlm } from './sim/llm.ts';
import type { SimScript } from './sim/script.ts';
import { createSimStt } from './sim/stt.ts';
import { createSimTts } from './sim/tts.ts';
import type { VendorTools } from './vendor.ts';

/** What runs in this process: one of each is enough. */
export type InProcess = {
  readonly stt: Readonly<Record<string, SttProvider>>;
  readonly llm: Readonly<Record<string, LlmProvider>>;
  readonly tts: Readonly<Record<string, TtsProvider>>;
};

export function inProcess(
  { clock }: Pick<VendorTools, 'clock'>,
  script: SimScript,
  localTts: TtsProvider,
): InProcess {
  return {
    stt: { local: createLocalStt(), sim: createSimStt({ script, clock }) },
    llm: { local: createLocalAgent(), sim: createSimLlm({ script, clock }) },
    tts: { local: localTts, sim: createSimTts({ script, clock }) },
  };
}

/** The local voice in place of another: without an engine it says its own prompts, and nothing instead of other words. */
export function standInVoice(local: LocalTts): TtsProvider {
  if (local.hasVoice) return local;
  const known = new Set(allPrompts().map(({ text }) => text));
  return {
    vendor: local.vendor,
    async *speak(request, signal) {
      if (known.has(request.text.trim())) yield* local.speak(request, signal);
    },
  };
}

/** `installation`: of the environment, for agents without an account. Errors: E_CONFIG. */
export function openAiFor(
  { log, clock }: Pick<VendorTools, 'log' | 'clock'>,
  installation: LlmSettings | null,
  agent: AgentProviders,
  source: Source,
): LlmProvider {
  const { account, setting } = source;
  const settings = settingsFor(source, agent);
  const { options } = settings;
  const found =
    account === null ? installation : llmSettingsOf({ credentials: account.credentials, options });
  if (found === null) {
    throw new AppError(
      'E_CONFIG',
      `${setting} is openai, which needs CALLYARD_LLM_BASE_URL and CALLYARD_LLM_MODEL`,
    );
  }
  const { model: ownModel = null, temperature = null, maxTokens = null } = agent.llm ?? {};
  if (!/^https?:$/.test(URL.parse(found.baseUrl)?.protocol ?? '')) {
    const what =
      account === null
        ? `CALLYARD_LLM_BASE_URL is not an http address: ${found.baseUrl}`
        : `base_url of ${setting} is not an http address`;
    throw new AppError('E_CONFIG', what);
  }
  const fallbackModel = source.options['model'];
  const named = typeof fallbackModel === 'string' ? fallbackModel : found.model;
  const model = (source.isFirstChoice ? ownModel : null) ?? named;
  if (model === '') {
    const what =
      account === null
        ? `CALLYARD_LLM_MODEL is not set, and ${setting} is openai`
        : `${setting} has no model in its options, and the agent names none`;
    throw new AppError('E_CONFIG', what);
  }
  const { baseUrl, apiKey } = found;
  const preset = presetAt(settings, baseUrl, model);
  return createOpenAiLlm({
    ...{ log, clock, setting, baseUrl, apiKey, model, preset, temperature, maxTokens },
  });
}
