/**
 * Where vendors that speak the OpenAI chat protocol differ: addresses, models, fields they want or refuse (providers.md 9).
 * For voice, thinking is switched off wherever it can be: else the first word comes seconds late.
 */

export type Preset = {
  readonly extraBody: Readonly<Record<string, unknown>>;
  /** Only along with tools. */
  readonly extraWithTools: Readonly<Record<string, unknown>>;
  readonly maxTokensField: 'max_tokens' | 'max_completion_tokens';
  readonly hasStreamOptions: boolean;
  readonly hasTemperature: boolean;
  readonly hasTools: boolean;
  /** The model thinks whatever it is told, and wants its thoughts back along with its calls of tools. */
  readonly replaysReasoning: boolean;
};

export type ChatVendor = {
  readonly baseUrl: string;
  /** Empty: there is none to suggest. */
  readonly model: string;
  /** Other hosts of the same vendor, by their end. */
  readonly host: RegExp;
  readonly preset: Partial<Preset>;
  /** Models that differ from the rest; the first that fits. */
  readonly models?: readonly { readonly model: RegExp; readonly preset: Partial<Preset> }[];
};

const PLAIN: Preset = {
  extraBody: {},
  extraWithTools: {},
  maxTokensField: 'max_tokens',
  hasStreamOptions: true,
  hasTemperature: true,
  hasTools: true,
  replaysReasoning: false,
};

const NO_THINKING = { thinking: { type: 'disabled' } } as const;
const KIMI = { maxTokensField: 'max_completion_tokens', hasTemperature: false } as const;

/** By the name that agents and accounts use. Model ids move monthly: they are settings, these only what one starts with. */
export const CHAT_VENDORS = {
  openai: {
    baseUrl: 'https://api.openai.com/v1',
    model: '',
    host: /(^|\.)openai\.com$/,
    preset: { maxTokensField: 'max_completion_tokens' },
  },
  qwen: {
    baseUrl: 'https://dashscope.aliyuncs.com/compatible-mode/v1',
    model: 'qwen-plus',
    host: /(^|\.)dashscope(-\w+)?\.aliyuncs\.com$|\.maas\.aliyuncs\.com$/,
    preset: { extraBody: { enable_thinking: false } },
  },
  deepseek: {
    baseUrl: 'https://api.deepseek.com/v1',
    model: 'deepseek-v4-flash',
    host: /(^|\.)deepseek\.com$/,
    preset: { extraBody: NO_THINKING },
  },
  kimi: {
    baseUrl: 'https://api.moonshot.cn/v1',
    model: 'kimi-k2.6',
    host: /(^|\.)moonshot\.(cn|ai)$/,
    preset: {},
    models: [
      { model: /^kimi-k2\.[56]/, preset: { ...KIMI, extraBody: NO_THINKING } },
      {
        model: /^kimi-k3/,
        preset: { ...KIMI, extraBody: { reasoning_effort: 'low' }, replaysReasoning: true },
      },
      { model: /^kimi-/, preset: { ...KIMI, replaysReasoning: true } },
    ],
  },
  glm: {
    baseUrl: 'https://open.bigmodel.cn/api/paas/v4',
    model: 'glm-4.7-flash',
    host: /(^|\.)bigmodel\.cn$/,
    preset: {
      extraBody: NO_THINKING,
      extraWithTools: { tool_stream: true },
      hasStreamOptions: false,
    },
  },
  spark: {
    baseUrl: 'https://spark-api-open.xf-yun.com/v1',
    model: '4.0Ultra',
    host: /(^|\.)spark-api-open\.xf-yun\.com$/,
    preset: { hasStreamOptions: false, hasTools: false },
    models: [{ model: /^(4\.0Ultra|generalv3\.5)$/, preset: { hasTools: true } }],
  },
  ernie: {
    baseUrl: 'https://qianfan.baidubce.com/v2',
    model: 'ernie-4.5-turbo-128k',
    host: /(^|\.)qianfan\.baidubce\.com$/,
    preset: {},
  },
  doubao: {
    baseUrl: 'https://ark.cn-beijing.volces.com/api/v3',
    model: 'doubao-seed-1-8-251228',
    host: /(^|\.)volces\.com$/,
    preset: { extraBody: NO_THINKING },
  },
  minimax: {
    baseUrl: 'https://api.minimaxi.com/v1',
    model: 'MiniMax-M2',
    host: /(^|\.)minimaxi?\.(com|io)$/,
    preset: {},
  },
} as const satisfies Readonly<Record<string, ChatVendor>>;

export type ChatVendorName = keyof typeof CHAT_VENDORS;

/** What `model` of this vendor needs. */
export function presetOf(name: ChatVendorName, model: string): Preset {
  const vendor: ChatVendor = CHAT_VENDORS[name];
  const own = vendor.models?.find((each) => each.model.test(model))?.preset;
  return { ...PLAIN, ...vendor.preset, ...own };
}

/** What `model` at `baseUrl` needs, by the host; the plain protocol for anybody unknown. */
export function presetFor(baseUrl: string, model: string): Preset {
  const host = URL.parse(baseUrl)?.hostname ?? '';
  const names = Object.keys(CHAT_VENDORS) as ChatVendorName[];
  const known = names.find((name) => CHAT_VENDORS[name].host.test(host));
  return known === undefined ? PLAIN : presetOf(known, model);
}
