/** The shape of an agent (contract 2.3), as a body and as an answer. */
import { Type, type Static, type TProperties } from 'typebox';
import { BUILTIN_TOOLS, VOICEMAIL_ACTIONS } from '#lib/agent-config.ts';
import { EXAMPLE_ID, IdSchema, nullable, TimeSchema } from './schemas.ts';

const closed = { additionalProperties: false } as const;

/** May be left out, or null, which is the same: so that what was read can be written back. */
const optional = <T extends Parameters<typeof nullable>[0]>(schema: T) =>
  Type.Optional(nullable(schema));
const strict = <T extends TProperties>(fields: T, more: object = {}) =>
  Type.Object(fields, { ...closed, ...more });
const text = (maxLength: number, description?: string) =>
  Type.String({ maxLength, ...(description === undefined ? {} : { description }) });
const integer = (minimum: number, maximum: number, standard: number, what?: string) =>
  Type.Integer({
    ...{ minimum, maximum },
    description: what === undefined ? `Default ${standard}` : `${what}. Default ${standard}`,
  });
const dial = (description: string) =>
  Type.Number({ minimum: 0, maximum: 1, description: `${description}. Default 0.5` });
const freeForm = (description: string) =>
  Type.Unsafe<Record<string, unknown>>({ type: 'object', description });

const vendorFields = {
  vendor: Type.String({ minLength: 1, maxLength: 64, pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*$' }),
  config_id: optional(Type.String({ ...IdSchema, description: 'An account at the vendor' })),
  options: optional(freeForm('As the vendor has them; at most 16 KiB')),
};
const withFallback = {
  ...vendorFields,
  fallback: optional(
    Type.Array(strict(vendorFields), {
      maxItems: 3,
      description: 'Vendors to try next, in this order',
    }),
  ),
};

const Turn = strict({
  endpoint_min_ms: optional(integer(0, 10_000, 200, 'The least silence, ms, that ends a turn')),
  endpoint_max_ms: optional(integer(0, 60_000, 3_000, 'The most, whatever was said')),
  barge_in: optional(Type.Boolean({ description: 'Default true' })),
  barge_in_confirm_ms: optional(integer(0, 10_000, 500)),
  false_barge_in_ms: optional(integer(0, 60_000, 2_000)),
  responsiveness: optional(dial('0: waits long for more words; 1: answers as soon as it may')),
  interruption_sensitivity: optional(dial('0: only plain words interrupt; 1: any speech does')),
});

const Silence = strict({
  prompt_after_s: optional(integer(1, 3_600, 12)),
  prompts: optional(integer(0, 100, 2)),
  prompt_text: optional(text(500)),
  hangup_after_s: optional(integer(1, 14_400, 30)),
});

const FunctionSchema = strict({
  name: Type.String({ pattern: '^[A-Za-z0-9_-]{1,64}$' }),
  description: text(4_000),
  parameters: freeForm('JSON Schema of the arguments; at most 16 KiB'),
  url: optional(text(2_048, 'Called with the arguments; without it the client answers')),
  timeout_ms: optional(integer(100, 60_000, 5_000)),
});

const Tools = strict({
  builtins: optional(
    Type.Array(Type.Enum([...BUILTIN_TOOLS]), {
      maxItems: BUILTIN_TOOLS.length,
      uniqueItems: true,
      description: 'Built-in tools that the model may use; default none',
    }),
  ),
  mcp_servers: optional(
    Type.Array(
      strict({
        name: Type.String({ pattern: '^[A-Za-z0-9_-]{1,24}$' }),
        url: text(2_048, 'Streamable HTTP; under the same rules as a function’s address'),
      }),
      { maxItems: 4, description: 'Servers of tools (Model Context Protocol)' },
    ),
  ),
});

const Filler = strict({
  after_ms: optional(integer(500, 60_000, 2_000)),
  long_after_ms: optional(integer(500, 60_000, 10_000)),
  text: optional(text(200)),
  long_text: optional(text(200)),
});

const Voicemail = strict({
  action: optional(
    Type.Enum([...VOICEMAIL_ACTIONS], {
      description: 'What is done when a machine answers a call with `amd`; default hang_up',
    }),
  ),
  message: optional(text(500, 'Said after the beep by `message`')),
});

/** As `src/media/mix/sound-shelf.ts` reads them. */
const SOUND = '(file:[A-Za-z0-9][A-Za-z0-9._-]{0,127}|https?://\\S+)';

const Sounds = strict({
  voice_gain_db: optional(
    Type.Number({ minimum: -20, maximum: 20, description: 'Of the voice, dB. Default 0' }),
  ),
  background_gain_db: optional(
    Type.Number({ minimum: -30, maximum: 20, description: 'Of the background, dB. Default 0' }),
  ),
  duck_db: optional(
    Type.Number({
      ...{ minimum: 0, maximum: 40 },
      description: 'The background is so much quieter while the agent speaks. Default 9',
    }),
  ),
  duck_for_caller: optional(Type.Boolean({ description: 'Also while the caller does' })),
  hold_music: optional(
    Type.String({
      ...{ maxLength: 2_048, pattern: `^${SOUND}$` },
      description: 'WAV or MP3: a URL, or file:name of the server; default: the built-in tune',
    }),
  ),
  typing: optional(Type.Boolean({ description: 'Typing is heard while a tool is at work' })),
  notice_beep: optional(Type.Boolean({ description: 'A beep before the notice of recording' })),
});

const configFields = {
  description: optional(text(1_000)),
  system_prompt: text(20_000),
  greeting: optional(text(500)),
  language: optional(text(64, 'BCP 47; default: the account’s')),
  mode: optional(Type.Enum(['cascade', 'realtime'])),
  stt: optional(strict(withFallback)),
  llm: optional(
    strict({
      ...withFallback,
      model: optional(text(255)),
      temperature: optional(Type.Number({ minimum: 0, maximum: 2 })),
      max_tokens: optional(Type.Integer({ minimum: 1, maximum: 100_000 })),
    }),
  ),
  tts: optional(
    strict({
      ...withFallback,
      voice: optional(text(255)),
      speed: optional(Type.Number({ minimum: 0.5, maximum: 2 })),
      volume: optional(Type.Number({ minimum: 0, maximum: 2 })),
    }),
  ),
  realtime: optional(strict({ ...withFallback, voice: optional(text(255)) })),
  turn: optional(Turn),
  silence: optional(Silence),
  max_duration_s: optional(integer(10, 14_400, 3_600)),
  max_history: optional(integer(0, 10_000, 40)),
  functions: optional(Type.Array(FunctionSchema, { maxItems: 64 })),
  tools: optional(Tools),
  filler: optional(Filler),
  fallback_phrase: optional(text(200, 'Said instead of a reply that moderation withheld')),
  memory_calls: optional(
    Type.Integer({
      ...{ minimum: 0, maximum: 20 },
      description: 'So many of a caller’s latest calls are told to the model; default 0: none',
    }),
  ),
  voicemail: optional(Voicemail),
  variables: optional(
    Type.Unsafe<Record<string, string>>({
      type: 'object',
      additionalProperties: { type: 'string' },
      description: 'Words for {{name}} in prompt and greeting; at most 16 KiB',
    }),
  ),
  background: optional(
    Type.String({
      ...{ maxLength: 255, pattern: `^(office|cafe|white|${SOUND})$` },
      description:
        'Sound behind the voice: built in, file:name of the server, or a URL; null: none',
    }),
  ),
  sounds: optional(Sounds),
  recording: optional(Type.Boolean({ description: 'Default: the account’s' })),
  auto_summary: optional(Type.Boolean({ description: 'Default true' })),
  metadata: optional(
    freeForm('At most 16 KiB. `mask_at_rest: true` masks what is said before it is stored'),
  ),
};

const Name = Type.String({ minLength: 1, maxLength: 255 });

const agentExample = {
  name: 'Front desk',
  system_prompt: 'You answer for a small hotel. Be brief and kind.',
  greeting: 'Good day, how can I help?',
  language: 'en',
  llm: { vendor: 'openai', model: 'gpt-4o-mini', temperature: 0.3 },
} as const;

export const AgentBody = strict({ name: Name, ...configFields }, { examples: [agentExample] });
export type AgentBody = Static<typeof AgentBody>;

export const AgentPatch = strict(
  { ...configFields, name: Type.Optional(Name), system_prompt: Type.Optional(text(20_000)) },
  { examples: [{ greeting: 'Good evening.' }] },
);
export type AgentPatch = Static<typeof AgentPatch>;

/** Of every object of the shape: its optional fields, which an answer shows as null when absent. */
export const OPTIONAL_FIELDS = {
  agent: Object.keys(configFields).filter((name) => name !== 'system_prompt'),
  vendor: Object.keys(vendorFields).filter((name) => name !== 'vendor'),
  turn: [
    'endpoint_min_ms',
    'endpoint_max_ms',
    'barge_in',
    'barge_in_confirm_ms',
    'false_barge_in_ms',
    'responsiveness',
    'interruption_sensitivity',
  ],
  tools: ['builtins', 'mcp_servers'],
  filler: ['after_ms', 'long_after_ms', 'text', 'long_text'],
  voicemail: ['action', 'message'],
  sounds: [
    ...['voice_gain_db', 'background_gain_db', 'duck_db', 'duck_for_caller'],
    ...['hold_music', 'typing', 'notice_beep'],
  ],
  silence: ['prompt_after_s', 'prompts', 'prompt_text', 'hangup_after_s'],
  function: ['url', 'timeout_ms'],
  stt: ['fallback'],
  llm: ['fallback', 'model', 'temperature', 'max_tokens'],
  tts: ['fallback', 'voice', 'speed', 'volume'],
  realtime: ['fallback', 'voice'],
} as const;

export const AgentSchema = Type.Object(
  {
    id: IdSchema,
    name: Type.String(),
    ...configFields,
    created_at: TimeSchema,
    updated_at: TimeSchema,
  },
  {
    $id: 'Agent',
    description: 'Absent optional values are null; what they then mean is named as the default',
    examples: [
      {
        id: EXAMPLE_ID,
        ...agentExample,
        created_at: '2026-01-01T00:00:00.000Z',
        updated_at: '2026-01-01T00:00:00.000Z',
      },
    ],
  },
);
