/** What each vendor of the OpenAI chat protocol wants and refuses (providers.md 9), as its simulator holds a client to it. */

export type ChatSimVendor =
  | 'openai'
  | 'qwen'
  | 'deepseek'
  | 'kimi'
  | 'glm'
  | 'spark'
  | 'ernie'
  | 'doubao'
  | 'minimax'
  | 'local';

type Body = Readonly<Record<string, unknown>>;

export type ChatRules = {
  /** What is wrong with a request; null: nothing. */
  check(body: Body): string | null;
  /** It thinks aloud in front of its words. */
  readonly thinks: boolean;
  /** A call of a tool comes in one chunk. */
  readonly wholeCalls: boolean;
  /** Usage stands in the last chunk with a choice, not in one of its own. */
  readonly usageOnLast: boolean;
  readonly refusesWith200: boolean;
  readonly moderation: 'refuse' | 'finish';
  readonly moderationCode: string;
  readonly failure: { readonly code: string; readonly message: string };
};

const PLAIN: ChatRules = {
  check: common,
  thinks: false,
  wholeCalls: false,
  usageOnLast: false,
  refusesWith200: false,
  moderation: 'finish',
  moderationCode: 'content_filter',
  failure: { code: 'internal_error', message: 'something broke' },
};

export const CHAT_RULES: Readonly<Record<ChatSimVendor, ChatRules>> = {
  openai: { ...PLAIN, check: all(common, refuses('max_tokens', 'enable_thinking', 'thinking')) },
  qwen: {
    ...PLAIN,
    check: all(common, wants('enable_thinking', false), refuses('thinking')),
    moderation: 'refuse',
    moderationCode: 'data_inspection_failed',
  },
  deepseek: {
    ...PLAIN,
    thinks: true,
    check: all(common, thinkingOff, refuses('max_completion_tokens')),
  },
  kimi: {
    ...PLAIN,
    thinks: true,
    check: all(
      common,
      (body) => (/^kimi-k2\.[56]/.test(String(body['model'])) ? thinkingOff(body) : null),
      refuses('temperature', 'top_p', 'n', 'presence_penalty', 'frequency_penalty', 'max_tokens'),
      replayed,
    ),
  },
  glm: {
    ...PLAIN,
    check: all(
      common,
      thinkingOff,
      refuses('stream_options', 'presence_penalty', 'frequency_penalty', 'max_completion_tokens'),
      (body) =>
        body['tools'] !== undefined && body['tool_stream'] !== true ? 'tool_stream' : null,
      (body) =>
        ['auto', undefined].includes(body['tool_choice'] as string) ? null : 'tool_choice',
    ),
    moderation: 'refuse',
    moderationCode: '1301',
    usageOnLast: true,
    failure: { code: '1305', message: 'too many requests' },
  },
  spark: {
    ...PLAIN,
    check: all(common, refuses('stream_options', 'max_completion_tokens'), (body) =>
      body['tools'] !== undefined && !/^(4\.0Ultra|generalv3\.5)$/.test(String(body['model']))
        ? 'tools'
        : null,
    ),
    wholeCalls: true,
    usageOnLast: true,
    refusesWith200: true,
    moderation: 'refuse',
    moderationCode: '10013',
    failure: { code: '11202', message: 'too many at once' },
  },
  ernie: { ...PLAIN, check: all(common, refuses('thinking')) },
  doubao: { ...PLAIN, check: all(common, thinkingOff) },
  minimax: { ...PLAIN, usageOnLast: true },
  local: { ...PLAIN, wholeCalls: true },
};

function all(...checks: readonly ((body: Body) => string | null)[]): (body: Body) => string | null {
  return (body) => {
    for (const check of checks) {
      const wrong = check(body);
      if (wrong !== null) return wrong;
    }
    return null;
  };
}

function common(body: Body): string | null {
  const { model, messages, stream, tools } = body;
  if (typeof model !== 'string' || model === '') return 'model';
  if (!Array.isArray(messages) || messages.length === 0) return 'messages';
  if (stream !== true) return 'stream';
  if (Array.isArray(tools)) {
    const hasStrict = tools.some(
      (tool: { function?: { strict?: unknown } }) => tool.function?.strict !== undefined,
    );
    if (tools.length === 0 || hasStrict) return 'tools';
  }
  return unanswered(messages as Body[]);
}

/** Every call of a tool has its result right behind it. */
function unanswered(messages: readonly Body[]): string | null {
  let open = new Set<unknown>();
  for (const { role, tool_calls: calls, tool_call_id: id } of messages) {
    if (role === 'tool') {
      if (!open.delete(id)) return 'a tool message without a call';
      continue;
    }
    if (open.size > 0) return 'a call without a tool message';
    if (Array.isArray(calls)) open = new Set(calls.map((call: { id?: unknown }) => call.id));
  }
  return open.size > 0 ? 'a call without a tool message' : null;
}

function refuses(...fields: readonly string[]): (body: Body) => string | null {
  return (body) => fields.find((field) => body[field] !== undefined) ?? null;
}

function wants(field: string, value: unknown): (body: Body) => string | null {
  return (body) => (body[field] === value ? null : field);
}

function thinkingOff(body: Body): string | null {
  const thinking = body['thinking'] as { readonly type?: unknown } | undefined;
  return thinking?.type === 'disabled' ? null : 'thinking';
}

/** Models that always think want their thoughts back with the calls that came of them. */
function replayed(body: Body): string | null {
  if (!/^kimi-k3/.test(String(body['model']))) return null;
  const messages = body['messages'] as readonly Body[];
  const lacks = messages.some(
    (message) =>
      message['tool_calls'] !== undefined && typeof message['reasoning_content'] !== 'string',
  );
  return lacks ? 'reasoning_content' : null;
}
