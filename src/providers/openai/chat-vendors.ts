/** Language models of every vendor that speaks the OpenAI chat protocol, and of any local server by its address. */
import { AppError } from '#lib/errors.ts';
import type { LlmProvider } from '../contract.ts';
import {
  choiceOption,
  credential,
  textOption,
  urlOption,
  type VendorModule,
  type VendorSettings,
  type VendorTools,
} from '../vendor.ts';
import { createOpenAiLlm } from './llm.ts';
import { CHAT_VENDORS, presetFor, presetOf, type ChatVendorName, type Preset } from './presets.ts';

/** A client for the language models of `name`; `options.base_url` leads elsewhere (a proxy, another region). */
export function chatModelOf(name: ChatVendorName) {
  return (settings: VendorSettings, tools: VendorTools): LlmProvider => {
    const vendor = CHAT_VENDORS[name];
    const baseUrl = urlOption(settings, 'base_url', vendor.baseUrl, ['https', 'http']);
    const model = settings.model ?? textOption(settings, 'model', vendor.model);
    if (model === '') {
      const what = `${settings.setting} has no model in its options, and the agent names none`;
      throw new AppError('E_CONFIG', what);
    }
    return createOpenAiLlm({
      ...{ log: tools.log, clock: tools.clock, vendor: name, baseUrl, model },
      // Only a server of one's own goes without a key.
      apiKey: isLocal(baseUrl)
        ? (settings.credentials['api_key'] ?? '')
        : credential(settings, 'api_key'),
      setting: settings.setting,
      preset: name === 'openai' ? presetAt(settings, baseUrl, model) : presetOf(name, model),
      temperature: settings.temperature,
      maxTokens: settings.maxTokens,
    });
  };
}

/** Those whose language models are all that they have here. */
export const CHAT_ONLY: readonly VendorModule[] = (
  ['qwen', 'deepseek', 'kimi', 'glm', 'spark', 'ernie', 'doubao'] as const
).map((vendor) => ({ vendor, llm: chatModelOf(vendor) }));

/** Behind a proxy the address does not tell whose rules hold: `options.preset` does. Errors: E_CONFIG. */
export function presetAt(settings: VendorSettings, baseUrl: string, model: string): Preset {
  const names = Object.keys(CHAT_VENDORS) as ChatVendorName[];
  const named = choiceOption(settings, 'preset', ['', ...names]);
  return named === '' ? presetFor(baseUrl, model) : presetOf(named, model);
}

function isLocal(baseUrl: string): boolean {
  return URL.parse(baseUrl)?.protocol === 'http:';
}
