/** Every refusal the HTTP facade can give (contract 1.5): codes, their HTTP status, and texts in both languages. */
import { AppError, systemCodeOf } from '#lib/errors.ts';
import type { RefusalCode } from '#sessions/call-service-types.ts';
import type { Language } from './language.ts';

type ProblemEntry = { readonly status: number; readonly en: string; readonly zh: string };

/** Codes are for programs and never change; texts are for people and may. */
export const PROBLEMS = {
  VALIDATION_FAILED: { status: 400, en: 'The request is not valid', zh: '请求参数无效' },
  INVALID_JSON: {
    status: 400,
    en: 'The body must be one JSON object, at most 32 levels deep, without duplicate keys',
    zh: '请求体必须是一个 JSON 对象，嵌套不超过 32 层，且不得有重复的键',
  },
  UNAUTHENTICATED: { status: 401, en: 'A valid token is required', zh: '需要有效的访问令牌' },
  TOKEN_EXPIRED: { status: 401, en: 'The token has expired', zh: '访问令牌已过期' },
  KEY_REVOKED: { status: 401, en: 'The API key has been revoked', zh: 'API 密钥已被吊销' },
  FORBIDDEN: { status: 403, en: 'Your role does not allow this', zh: '当前角色无权执行此操作' },
  ACCOUNT_FORBIDDEN: {
    status: 403,
    en: 'You may not act on this account',
    zh: '无权操作该账户',
  },
  IP_NOT_ALLOWED: {
    status: 403,
    en: 'The API key may not be used from this address',
    zh: '该 API 密钥不允许从此地址使用',
  },
  NOT_FOUND: { status: 404, en: 'There is no such object', zh: '对象不存在' },
  ROUTE_NOT_FOUND: { status: 404, en: 'There is no such path', zh: '路径不存在' },
  NO_RECORDING: { status: 404, en: 'This call has no recording', zh: '该通话没有录音' },
  METHOD_NOT_ALLOWED: {
    status: 405,
    en: 'This path does not take this method',
    zh: '该路径不支持此方法',
  },
  REQUEST_TIMEOUT: {
    status: 408,
    en: 'The request was not complete in time',
    zh: '请求未在限定时间内完成',
  },
  CONFLICT: { status: 409, en: 'This value is taken', zh: '该值已被占用' },
  IN_USE: { status: 409, en: 'The object is still in use', zh: '对象仍在使用中' },
  RECORD_READ_ONLY: {
    status: 409,
    en: 'Records of calls that the server carried take no change of this field',
    zh: '由服务器产生的通话记录不允许修改该字段',
  },
  INVALID_STATE: {
    status: 409,
    en: 'This is not possible in the present state',
    zh: '当前状态下无法执行此操作',
  },
  CALL_LIVE: {
    status: 409,
    en: 'The call is still going on; try again after its end',
    zh: '通话仍在进行，请在结束后重试',
  },
  IDEMPOTENCY_IN_PROGRESS: {
    status: 409,
    en: 'The first request with this Idempotency-Key is still running',
    zh: '使用该 Idempotency-Key 的首个请求仍在处理',
  },
  RECORDING_EXPIRED: {
    status: 410,
    en: 'The recording was removed by retention',
    zh: '录音已按保留策略删除',
  },
  PAYLOAD_TOO_LARGE: { status: 413, en: 'The request is too large', zh: '请求过大' },
  UNSUPPORTED_MEDIA_TYPE: {
    status: 415,
    en: 'The body must be application/json',
    zh: '请求体必须为 application/json',
  },
  RANGE_NOT_SATISFIABLE: {
    status: 416,
    en: 'The range lies outside the recording',
    zh: '请求的范围超出录音长度',
  },
  REFERENCE_NOT_FOUND: {
    status: 422,
    en: 'An id in the request does not exist',
    zh: '请求中引用的对象不存在',
  },
  IDEMPOTENCY_MISMATCH: {
    status: 422,
    en: 'This Idempotency-Key was used with another request',
    zh: '该 Idempotency-Key 已用于另一个请求',
  },
  NO_ROUTE: { status: 422, en: 'No trunk can take this call', zh: '没有可用的中继' },
  NUMBER_NOT_ALLOWED: {
    status: 422,
    en: 'This number may not be called',
    zh: '不允许呼叫该号码',
  },
  CONSENT_MISSING: {
    status: 422,
    en: 'This person does not want to be called',
    zh: '该号码未授权呼叫或已要求勿扰',
  },
  NO_MESSAGES: {
    status: 422,
    en: 'Nothing was said in this call',
    zh: '该通话没有任何对话内容',
  },
  CARRIER_UNSUPPORTED: {
    status: 422,
    en: 'There is no adapter for this carrier',
    zh: '不支持该运营商',
  },
  PROVIDER_NOT_CONFIGURED: {
    status: 422,
    en: 'No account at this vendor is set up',
    zh: '尚未配置该供应商',
  },
  UPGRADE_REQUIRED: {
    status: 426,
    en: 'This path is a WebSocket',
    zh: '该路径需要使用 WebSocket',
  },
  RATE_LIMITED: { status: 429, en: 'Too many requests', zh: '请求过于频繁' },
  CONCURRENCY_LIMIT: {
    status: 429,
    en: 'The limit of simultaneous calls is reached',
    zh: '已达到并发通话上限',
  },
  INTERNAL: { status: 500, en: 'Something went wrong on our side', zh: '服务器内部错误' },
  UNAVAILABLE: {
    status: 503,
    en: 'A part of the service is away; try again soon',
    zh: '服务暂时不可用，请稍后重试',
  },
  OVERLOADED: { status: 503, en: 'The server is at its limit', zh: '服务器负载已满' },
  DRAINING: { status: 503, en: 'The server is shutting down', zh: '服务器正在停止' },
  PROVIDER_REJECTED: {
    status: 502,
    en: 'The vendor refused the request',
    zh: '供应商拒绝了请求',
  },
  PROVIDER_TIMEOUT: {
    status: 504,
    en: 'The vendor did not answer in time',
    zh: '供应商未在限定时间内响应',
  },
  NODE_TIMEOUT: {
    status: 504,
    en: 'The node that owns the call did not answer',
    zh: '通话所在节点未响应',
  },
} as const satisfies Record<string, ProblemEntry>;

export type ProblemCode = keyof typeof PROBLEMS;

/** One fault of `details`: where (JSON pointer, or `?name` for a query parameter) and which rule it breaks. */
export type FieldFault = {
  readonly path: string;
  readonly rule: string;
  readonly params?: Readonly<Record<string, unknown>>;
};

/** Longest list of faults in one answer. */
export const MAX_FAULTS = 20;

/** A refusal on its way to the client. It carries no text: the language is known where it is written. */
export class Problem extends AppError {
  readonly problem: ProblemCode;
  readonly faults: readonly FieldFault[];
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    problem: ProblemCode,
    options: {
      faults?: readonly FieldFault[];
      headers?: Readonly<Record<string, string>>;
      cause?: unknown;
    } = {},
  ) {
    super('E_REQUEST', PROBLEMS[problem].en, { cause: options.cause });
    this.problem = problem;
    this.faults = (options.faults ?? []).slice(0, MAX_FAULTS);
    this.headers = { ...defaultHeaders(problem), ...options.headers };
  }

  get status(): number {
    return PROBLEMS[this.problem].status;
  }
}

/** A VALIDATION_FAILED with one fault. */
export function invalid(
  path: string,
  rule: string,
  params?: Readonly<Record<string, unknown>>,
): Problem {
  return new Problem('VALIDATION_FAILED', {
    faults: [{ path, rule, ...(params === undefined ? {} : { params }) }],
  });
}

/** The answer to a call that the call service refused to place. */
export function problemOfRefusal(code: RefusalCode, retryAfterS: number | null): Problem {
  return new Problem(code, {
    ...(retryAfterS === null ? {} : { headers: { 'retry-after': String(retryAfterS) } }),
    ...(code === 'REFERENCE_NOT_FOUND' ? { faults: [{ path: '/agent_id', rule: 'exists' }] } : {}),
  });
}

/** Any thrown value as a Problem. What is not known is INTERNAL, with the value as cause for the log alone. */
export function toProblem(thrown: unknown): Problem {
  if (thrown instanceof Problem) return thrown;
  const code = thrown instanceof AppError ? thrown.code : systemCodeOf(thrown);
  const problem = CODE_OF.get(code ?? '') ?? fallbackOf(thrown);
  // What the framework refuses by itself is no field's fault, but the envelope promises a list.
  const faults = problem === 'VALIDATION_FAILED' ? [{ path: '', rule: 'http' }] : [];
  return new Problem(problem, { faults, cause: thrown });
}

/** Fastify marks what the client did wrong with a 4xx `statusCode`. */
function fallbackOf(thrown: unknown): ProblemCode {
  if (!(thrown instanceof Error) || !('statusCode' in thrown)) return 'INTERNAL';
  const status = Number(thrown.statusCode);
  return status >= 400 && status < 500 ? 'VALIDATION_FAILED' : 'INTERNAL';
}

/** The body of a failure (contract 1.5). */
export function failureOf(problem: Problem, language: Language): object {
  const message = PROBLEMS[problem.problem][language];
  const details = problem.faults.map((fault) => ({
    path: fault.path,
    rule: fault.rule,
    message: ruleText(fault, language),
  }));
  return {
    success: false,
    error: { code: problem.problem, message, ...(details.length === 0 ? {} : { details }) },
    message,
  };
}

/** Errors of Fastify, of Node and of our own folders that have an answer better than INTERNAL. */
const CODE_OF: ReadonlyMap<string, ProblemCode> = new Map<string, ProblemCode>([
  ['FST_ERR_CTP_BODY_TOO_LARGE', 'PAYLOAD_TOO_LARGE'],
  ['FST_ERR_CTP_INVALID_MEDIA_TYPE', 'UNSUPPORTED_MEDIA_TYPE'],
  ['FST_ERR_CTP_INVALID_CONTENT_LENGTH', 'VALIDATION_FAILED'],
  ['FST_ERR_BAD_URL', 'VALIDATION_FAILED'],
  ['FST_ERR_MAX_PARAM_LENGTH', 'PAYLOAD_TOO_LARGE'],
  ['E_CONFLICT', 'CONFLICT'],
  ['E_REFERENCE', 'REFERENCE_NOT_FOUND'],
  ['E_DATABASE', 'UNAVAILABLE'],
  ['E_DATABASE_UNREACHABLE', 'UNAVAILABLE'],
  ['E_TIMEOUT', 'UNAVAILABLE'],
  ['E_QUEUE_FULL', 'OVERLOADED'],
]);

function defaultHeaders(problem: ProblemCode): Record<string, string> {
  const { status } = PROBLEMS[problem];
  if (status === 401) return { 'www-authenticate': 'Bearer' };
  if (status === 503) return { 'retry-after': problem === 'DRAINING' ? '30' : '2' };
  const isSoon = status === 429 || problem === 'IDEMPOTENCY_IN_PROGRESS';
  return isSoon ? { 'retry-after': '1' } : {};
}

type RuleText = (params: Readonly<Record<string, unknown>>) => Readonly<Record<Language, string>>;

const RULE_TEXTS: Readonly<Record<string, RuleText>> = {
  required: () => ({ en: 'is required', zh: '为必填项' }),
  unknown: () => ({ en: 'is not a known name', zh: '为未知字段' }),
  type: (p) => ({ en: `must be ${String(p['type'])}`, zh: `类型必须为 ${String(p['type'])}` }),
  enum: (p) => ({
    en: `must be one of ${listOf(p['allowedValues'])}`,
    zh: `必须为以下之一：${listOf(p['allowedValues'])}`,
  }),
  minimum: (p) => ({
    en: `must be at least ${String(p['limit'])}`,
    zh: `不得小于 ${String(p['limit'])}`,
  }),
  maximum: (p) => ({
    en: `must be at most ${String(p['limit'])}`,
    zh: `不得大于 ${String(p['limit'])}`,
  }),
  minLength: (p) => ({
    en: `must have at least ${String(p['limit'])} characters`,
    zh: `至少 ${String(p['limit'])} 个字符`,
  }),
  maxLength: (p) => ({
    en: `must have at most ${String(p['limit'])} characters`,
    zh: `最多 ${String(p['limit'])} 个字符`,
  }),
  uuid: () => ({ en: 'must be a UUID', zh: '必须为 UUID' }),
  phone: () => ({ en: 'must be a telephone number', zh: '必须为电话号码' }),
  time: () => ({
    en: 'must be an ISO-8601 time with Z or an offset, or a day YYYY-MM-DD',
    zh: '必须为带 Z 或时区偏移的 ISO-8601 时间，或 YYYY-MM-DD 日期',
  }),
  order: () => ({ en: 'must not lie before the start', zh: '不得早于起始时间' }),
  span: (p) => ({
    en: `needs a range of at most ${String(p['limit'])} days`,
    zh: `需要不超过 ${String(p['limit'])} 天的时间范围`,
  }),
  exclusive: (p) => ({
    en: `cannot be combined with ${String(p['other'])}`,
    zh: `不能与 ${String(p['other'])} 同时使用`,
  }),
  cursor: () => ({ en: 'is not a cursor of this list', zh: '不是有效的游标' }),
  exists: () => ({ en: 'does not exist', zh: '不存在' }),
  text: () => ({
    en: 'must not contain U+0000 or unpaired surrogates',
    zh: '不得包含 U+0000 或不成对的代理项',
  }),
  name: () => ({ en: 'is not a usable name', zh: '不是可用的名称' }),
  size: (p) => ({
    en: `must not exceed ${String(p['limit'])} bytes as JSON`,
    zh: `以 JSON 表示时不得超过 ${String(p['limit'])} 字节`,
  }),
  unsupported: () => ({ en: 'is not supported yet', zh: '暂不支持' }),
  visible: (p) => ({
    en: `must be 1 to ${String(p['limit'])} visible ASCII characters`,
    zh: `必须为 1 至 ${String(p['limit'])} 个可见 ASCII 字符`,
  }),
  http: () => ({ en: 'is not proper HTTP', zh: '不符合 HTTP 规范' }),
};

export function ruleText(fault: FieldFault, language: Language): string {
  const text = RULE_TEXTS[fault.rule]?.(fault.params ?? {});
  return text?.[language] ?? (language === 'zh' ? '格式不正确' : 'has the wrong form');
}

function listOf(values: unknown): string {
  return Array.isArray(values) ? values.map(String).join(', ') : String(values);
}
