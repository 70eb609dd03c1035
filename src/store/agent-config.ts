/** An agent row as a call uses it: `config` jsonb (contract 2.3) with every default filled in. */
import {
  BUILTIN_TOOLS,
  VOICEMAIL_ACTIONS,
  type AgentConfig,
  type AgentFunction,
  type AgentSounds,
  type VendorWishes,
} from '#lib/agent-config.ts';
import type { Id } from '#lib/ids.ts';

export type AgentRow = {
  readonly id: Id;
  readonly user_id: Id;
  readonly name: string;
  readonly config: unknown;
  /** The account's language, for an agent that names none. */
  readonly account_language: string | null;
};

export const DEFAULT_AGENT_NAME = 'Default agent';

/** Contract 2.3: polite and brief, no absolute promises, ends kindly when refused, speaks the caller's language. */
export const DEFAULT_AGENT_CONFIG = {
  system_prompt: [
    'You are a friendly assistant on the telephone. Speak the language the caller speaks.',
    'Answer politely and briefly: at most 50 characters for each reply, plain spoken words, no lists.',
    'Never make absolute promises. If you do not know something, say so.',
    'If the caller does not want to talk, thank them and end the call kindly.',
  ].join('\n'),
} as const;

export function agentOf(row: AgentRow): AgentConfig {
  const config = objectOf(row.config);
  const llm = objectOf(config['llm']);
  const turn = objectOf(config['turn']);
  const silence = objectOf(config['silence']);
  const tts = objectOf(config['tts']);
  const filler = objectOf(config['filler']);
  const voicemail = objectOf(config['voicemail']);
  return {
    id: row.id,
    accountId: row.user_id,
    name: row.name,
    systemPrompt: textOf(config['system_prompt']) ?? DEFAULT_AGENT_CONFIG.system_prompt,
    greeting: textOf(config['greeting']),
    language: languageOf(textOf(config['language']) ?? row.account_language),
    mode: config['mode'] === 'realtime' ? 'realtime' : 'cascade',
    vendors: byKind((kind) => textOf(objectOf(config[kind])['vendor'])),
    vendorConfigs: byKind((kind) => textOf(objectOf(config[kind])['config_id'])),
    vendorOptions: byKind((kind) => objectOf(objectOf(config[kind])['options'])),
    fallbacks: byKind((kind) => wishesOf(objectOf(config[kind])['fallback'])),
    llm: {
      model: textOf(llm['model']),
      temperature: numberOf(llm['temperature'], 0, 2),
      maxTokens: numberOf(llm['max_tokens'], 1, 100_000),
    },
    voice: textOf(tts['voice']),
    speech: {
      speed: numberOf(tts['speed'], 0.5, 2),
      volume: numberOf(tts['volume'], 0, 2),
      realtimeVoice: textOf(objectOf(config['realtime'])['voice']),
    },
    turn: {
      endpointMinMs: numberOf(turn['endpoint_min_ms'], 0, 10_000) ?? 200,
      endpointMaxMs: numberOf(turn['endpoint_max_ms'], 0, 60_000) ?? 3_000,
      responsiveness: numberOf(turn['responsiveness'], 0, 1) ?? 0.5,
      interruptionSensitivity: numberOf(turn['interruption_sensitivity'], 0, 1) ?? 0.5,
      bargeIn: booleanOf(turn['barge_in']) ?? true,
      bargeInConfirmMs: numberOf(turn['barge_in_confirm_ms'], 0, 10_000) ?? 500,
      falseBargeInMs: numberOf(turn['false_barge_in_ms'], 0, 60_000) ?? 2_000,
    },
    silence: {
      promptAfterS: numberOf(silence['prompt_after_s'], 1, 3_600) ?? 12,
      prompts: numberOf(silence['prompts'], 0, 100) ?? 2,
      promptText: textOf(silence['prompt_text']),
      hangupAfterS: numberOf(silence['hangup_after_s'], 1, 14_400) ?? 30,
    },
    functions: functionsOf(config['functions']),
    tools: toolsOf(objectOf(config['tools'])),
    filler: {
      afterMs: numberOf(filler['after_ms'], 500, 60_000) ?? 2_000,
      longAfterMs: numberOf(filler['long_after_ms'], 500, 60_000) ?? 10_000,
      text: textOf(filler['text']),
      longText: textOf(filler['long_text']),
    },
    fallbackPhrase: textOf(config['fallback_phrase']),
    memoryCalls: numberOf(config['memory_calls'], 0, 20) ?? 0,
    voicemail: {
      action: VOICEMAIL_ACTIONS.find((each) => each === voicemail['action']) ?? 'hang_up',
      message: textOf(voicemail['message']),
    },
    background: textOf(config['background']),
    sounds: soundsOf(objectOf(config['sounds'])),
    maxDurationS: numberOf(config['max_duration_s'], 10, 14_400) ?? 3_600,
    maxHistory: numberOf(config['max_history'], 0, 10_000) ?? 40,
    recording: booleanOf(config['recording']),
    variables: stringsOf(config['variables']),
    autoSummary: booleanOf(config['auto_summary']) ?? true,
    maskAtRest: booleanOf(objectOf(config['metadata'])['mask_at_rest']) ?? false,
  };
}

function byKind<T>(read: (kind: 'stt' | 'llm' | 'tts' | 'realtime') => T) {
  return { stt: read('stt'), llm: read('llm'), tts: read('tts'), realtime: read('realtime') };
}

function wishesOf(value: unknown): VendorWishes {
  return (Array.isArray(value) ? value : []).map(objectOf).map((each) => ({
    vendor: textOf(each['vendor']),
    configId: textOf(each['config_id']),
    options: objectOf(each['options']),
  }));
}

function toolsOf(tools: Record<string, unknown>): NonNullable<AgentConfig['tools']> {
  const { builtins, mcp_servers: servers } = tools;
  return {
    builtins: BUILTIN_TOOLS.filter((name) => Array.isArray(builtins) && builtins.includes(name)),
    mcpServers: (Array.isArray(servers) ? servers : []).map(objectOf).flatMap((each) => {
      const [name, url] = [textOf(each['name']), textOf(each['url'])];
      return name === null || url === null ? [] : [{ name, url }];
    }),
  };
}

function soundsOf(sounds: Record<string, unknown>): AgentSounds {
  return {
    voiceGainDb: numberOf(sounds['voice_gain_db'], -20, 20) ?? 0,
    backgroundGainDb: numberOf(sounds['background_gain_db'], -30, 20) ?? 0,
    duckDb: numberOf(sounds['duck_db'], 0, 40) ?? 9,
    ducksForCaller: booleanOf(sounds['duck_for_caller']) ?? false,
    holdMusic: textOf(sounds['hold_music']),
    typing: booleanOf(sounds['typing']) ?? false,
    noticeBeep: booleanOf(sounds['notice_beep']) ?? false,
  };
}

/** BCP 47 to the two languages that built-in prompts exist in. */
function languageOf(tag: string | null): 'zh' | 'en' {
  return tag === null || /^(?:zh|cmn|yue)\b/i.test(tag) ? 'zh' : 'en';
}

function objectOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

/** Null for anything but a number in the range: a row written by hand must not stop a call. */
function numberOf(value: unknown, min: number, max: number): number | null {
  return typeof value === 'number' && value >= min && value <= max ? value : null;
}

function booleanOf(value: unknown): boolean | null {
  return typeof value === 'boolean' ? value : null;
}

function functionsOf(value: unknown): AgentFunction[] {
  return (Array.isArray(value) ? value : []).map(objectOf).flatMap((each) => {
    const name = textOf(each['name']);
    if (name === null) return [];
    return {
      name,
      description: textOf(each['description']) ?? '',
      parameters: objectOf(each['parameters']),
      timeoutMs: numberOf(each['timeout_ms'], 100, 60_000) ?? 5_000,
      url: textOf(each['url']),
    };
  });
}

function stringsOf(value: unknown): Record<string, string> {
  const entries = Object.entries(objectOf(value)).filter(([, text]) => typeof text === 'string');
  return Object.fromEntries(entries) as Record<string, string>;
}
