/** Where OpenAI-compatible vendors differ: fields they want or refuse. For voice, thinking is always switched off. */

export type Preset = {
  readonly extraBody: Readonly<Record<string, unknown>>;
  readonly maxTokensField: 'max_tokens' | 'max_completion_tokens';
  readonly hasStreamOptions: boolean;
  readonly hasTemperature: boolean;
};

const PLAIN: Preset = {
  extraBody: {},
  maxTokensField: 'max_tokens',
  hasStreamOptions: true,
  hasTemperature: true,
};

const NO_THINKING = { thinking: { type: 'disabled' } } as const;

type Row = {
  readonly host: RegExp;
  readonly model?: RegExp;
  readonly preset: Partial<Preset>;
};

/** The first row whose host (and model) fit. */
const ROWS: readonly Row[] = [
  { host: /(^|\.)openai\.com$/, preset: { maxTokensField: 'max_completion_tokens' } },
  {
    host: /(^|\.)dashscope(-\w+)?\.aliyuncs\.com$/,
    preset: { extraBody: { enable_thinking: false } },
  },
  { host: /(^|\.)deepseek\.com$/, preset: { extraBody: NO_THINKING } },
  {
    host: /(^|\.)moonshot\.(cn|ai)$/,
    model: /^kimi-k2\.[56]/,
    preset: {
      extraBody: NO_THINKING,
      maxTokensField: 'max_completion_tokens',
      hasTemperature: false,
    },
  },
  {
    host: /(^|\.)moonshot\.(cn|ai)$/,
    model: /^kimi-/,
    preset: { maxTokensField: 'max_completion_tokens', hasTemperature: false },
  },
  { host: /(^|\.)bigmodel\.cn$/, preset: { extraBody: NO_THINKING, hasStreamOptions: false } },
  { host: /(^|\.)volces\.com$/, preset: { extraBody: NO_THINKING } },
];

/** What `model` at `baseUrl` needs; the plain protocol for anybody unknown. */
export function presetFor(baseUrl: string, model: string): Preset {
  const host = URL.parse(baseUrl)?.hostname ?? '';
  const row = ROWS.find((each) => each.host.test(host) && (each.model?.test(model) ?? true));
  return { ...PLAIN, ...row?.preset };
}
