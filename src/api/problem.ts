/** Every refusal the HTTP facade can give (contract 1.5): codes, their HTTP status, and texts in both languages. */
import { AppError, systemCodeOf } from '#lib/errors.ts';
import type { CallRefusal } from '#sessions/call-service-types.ts';
import { CONTROL_RULES } from './control-rules.ts';
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
  CALL_NOT_ACTIVE: { status: 409, en: 'The call is over', zh: '通话已结束' },
  CALL_NOT_ANSWERED: {
    status: 409,
    en: 'The call has not been answered yet',
    zh: '通话尚未接通',
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
    en: 'This path does not take a body of this media type',
    zh: '该路径不接受此媒体类型的请求体',
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
    en: 'This person has not agreed to it, or does not want to be called',
    zh: '该号码未授权，或已要求勿扰',
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
  /** A vendor's own code for its refusal. */
  readonly vendorCode: string | null;

  constructor(
    problem: ProblemCode,
    options: {
      faults?: readonly FieldFault[];
      headers?: Readonly<Record<string, string>>;
      vendorCode?: string;
      cause?: unknown;
    } = {},
  ) {
    super('E_REQUEST', PROBLEMS[problem].en, { cause: options.cause });
    this.problem = problem;
    this.vendorCode = options.vendorCode ?? null;
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

/** How a family names what a refusal is about, as JSON pointers. */
export type RefusalFields = Readonly<Record<NonNullable<CallRefusal['field']>, string>>;

/** The answer to a call that the call service refused to place, in the family's own spelling. */
export function problemOfRefusal(refusal: CallRefusal, fields: RefusalFields): Problem {
  const { code, retryAfterS, field } = refusal;
  const faults: FieldFault[] = [];
  if (code === 'REFERENCE_NOT_FOUND')
    faults.push({ path: fields[field ?? 'agent'], rule: 'exists' });
  if (code === 'NUMBER_NOT_ALLOWED') faults.push({ path: fields[field ?? 'to'], rule: 'allowed' });
  return new Problem(code, {
    faults,
    ...(retryAfterS === null ? {} : { headers: { 'retry-after': String(retryAfterS) } }),
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
  const code = problem.problem;
  if (problem.vendorCode !== null) {
    const told = { vendor_code: problem.vendorCode };
    return { success: false, error: { code, message, details: told }, message };
  }
  return {
    success: false,
    error: { code, message, ...(details.length === 0 ? {} : { details }) },
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
  ['E_SIP_ENGINE', 'UNAVAILABLE'],
  ['E_STORAGE', 'UNAVAILABLE'],
  ['E_QUEUE_FULL', 'OVERLOADED'],
]);

function defaultHeaders(problem: ProblemCode): Record<string, string> {
  const { status } = PROBLEMS[problem];
  if (status === 401) return { 'www-authenticate': 'Bearer' };
  if (status === 503) return { 'retry-after': problem === 'DRAINING' ? '30' : '2' };
  const isSoon = status === 429 || problem === 'IDEMPOTENCY_IN_PROGRESS';
  return isSoon ? { 'retry-after': '1' } : {};
}

export type RuleText = (
  params: Readonly<Record<string, unknown>>,
) => Readonly<Record<Language, string>>;

const RULE_TEXTS: Readonly<Record<string, RuleText>> = {
  ...CONTROL_RULES,
  required: () => ({ en: 'is required', zh: '为必填项' }),
  csv: () => ({
    en: 'must be a table with a header line, each column once, and the required ones among them',
    zh: '必须为带表头的表格，列名不得重复，且须包含必需的列',
  }),
  utf8: () => ({ en: 'must be text in UTF-8', zh: '必须为 UTF-8 编码的文本' }),
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
  minItems: (p) => ({
    en: `must have at least ${String(p['limit'])} items`,
    zh: `至少 ${String(p['limit'])} 项`,
  }),
  maxItems: (p) => ({
    en: `must have at most ${String(p['limit'])} items`,
    zh: `最多 ${String(p['limit'])} 项`,
  }),
  minProperties: () => ({ en: 'needs at least one field', zh: '至少需要一个字段' }),
  uuid: () => ({ en: 'must be a UUID', zh: '必须为 UUID' }),
  phone: () => ({ en: 'must be a telephone number', zh: '必须为电话号码' }),
  time: () => ({
    en: 'must be an ISO-8601 time with Z or an offset, or a day YYYY-MM-DD',
    zh: '必须为带 Z 或时区偏移的 ISO-8601 时间，或 YYYY-MM-DD 日期',
  }),
  days: () => ({
    en: 'must be two days, YYYY-MM-DD,YYYY-MM-DD, of which either may be empty',
    zh: '必须为两个日期，格式为 YYYY-MM-DD,YYYY-MM-DD，其中任意一个可为空',
  }),
  instant: () => ({
    en: 'must be an ISO-8601 time with Z or an offset',
    zh: '必须为带 Z 或时区偏移的 ISO-8601 时间',
  }),
  decimals: () => ({ en: 'must have at most 3 decimals', zh: '最多 3 位小数' }),
  longest: (p) => ({
    en: `lies more than ${String(p['limit'])} s after the start; send duration_seconds too`,
    zh: `晚于起始时间超过 ${String(p['limit'])} 秒；请同时提供 duration_seconds`,
  }),
  duration: () => ({
    en: 'must not exceed the time from start to end by more than 1',
    zh: '不得超过起止时间之差 1 秒以上',
  }),
  masked: (p) => ({
    en: `would reveal what is hidden from a viewer; at most ${String(p['limit'])}`,
    zh: `将泄露对查看者隐藏的内容；最多 ${String(p['limit'])}`,
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
  event: () => ({
    en: 'must name events: a type, its dash name, `call.*` or `*`',
    zh: '必须为事件名称：类型、其连字符别名、`call.*` 或 `*`',
  }),
  timezone: () => ({
    en: 'must be the IANA name of a time zone, such as Asia/Shanghai',
    zh: '必须为 IANA 时区名称，例如 Asia/Shanghai',
  }),
  date: () => ({
    en: 'must be a day YYYY-MM-DD that exists',
    zh: '必须为真实存在的日期 YYYY-MM-DD',
  }),
  language: () => ({
    en: 'must be a language tag such as zh-CN',
    zh: '必须为语言标签，例如 zh-CN',
  }),
  in_use: (p) => ({
    en: `${String(p['count'])} of these still name it`,
    zh: `仍有 ${String(p['count'])} 处引用`,
  }),
  full: (p) => ({
    en: `has reached its limit of ${String(p['limit'])}`,
    zh: `已达到上限 ${String(p['limit'])}`,
  }),
  primary: () => ({
    en: 'must have exactly one primary member',
    zh: '必须恰好有一个 primary 成员',
  }),
  member: () => ({ en: 'must be a member of the squad', zh: '必须为该小组的成员' }),
  distinct: () => ({ en: 'is there already', zh: '重复' }),
  url: () => ({
    en: 'must be an http or https URL without a user name in it',
    zh: '必须为不含用户名的 http 或 https 地址',
  }),
  https: () => ({ en: 'must begin with https://', zh: '必须以 https:// 开头' }),
  public_host: () => ({
    en: 'leads to a private network, which this installation does not allow',
    zh: '指向内网地址，本系统不允许',
  }),
  replaceable: () => ({ en: 'can only be replaced', zh: '只能替换，不能删除' }),
  complete: () => ({
    en: 'must be exactly the ids of all of them, each once',
    zh: '必须恰好包含全部 id，且不得重复',
  }),
  cursor: () => ({ en: 'is not a cursor of this list', zh: '不是有效的游标' }),
  exists: () => ({ en: 'does not exist', zh: '不存在' }),
  text: () => ({
    en: 'must not contain U+0000 or unpaired surrogates',
    zh: '不得包含 U+0000 或不成对的代理项',
  }),
  finite: () => ({ en: 'is too large a number', zh: '数值过大' }),
  name: () => ({ en: 'is not a usable name', zh: '不是可用的名称' }),
  size: (p) => ({
    en: `must not exceed ${String(p['limit'])} bytes as JSON`,
    zh: `以 JSON 表示时不得超过 ${String(p['limit'])} 字节`,
  }),
  unsupported: (p) => {
    const { value, instead } = p;
    if (typeof value !== 'string' || typeof instead !== 'string') {
      return { en: 'is not supported yet', zh: '暂不支持' };
    }
    return {
      en: `"${value}" is not supported yet; send "${instead}"`,
      zh: `暂不支持 "${value}"；请使用 "${instead}"`,
    };
  },
  allowed: () => ({ en: 'may not be used for this call', zh: '不允许用于此通话' }),
  secret: () => ({
    en: 'is a secret; put it into credentials',
    zh: '属于机密，请放入 credentials',
  }),
  inUse: () => ({ en: 'names it', zh: '正在引用它' }),
  address: () => ({ en: 'must be an http or https address', zh: '必须为 http 或 https 地址' }),
  audio: () => ({ en: 'must be 16-bit PCM, mono', zh: '必须为 16 位单声道 PCM' }),
  base64: () => ({ en: 'must be Base64', zh: '必须为 Base64' }),
  wav: () => ({ en: 'is not a WAV file', zh: '不是有效的 WAV 文件' }),
  codec: (p) => ({
    en: `must be 16-bit PCM; this is ${String(p['found'])}`,
    zh: `必须为 16 位 PCM；当前为 ${String(p['found'])}`,
  }),
  channels: (p) => ({
    en: `must have one or two channels; this has ${String(p['found'])}`,
    zh: `必须为单声道或双声道；当前为 ${String(p['found'])} 声道`,
  }),
  sample_rate: (p) => ({
    en: `cannot be read at ${String(p['found'])} samples per second`,
    zh: `不支持 ${String(p['found'])} Hz 的采样率`,
  }),
  empty: () => ({ en: 'has no sound in it', zh: '不包含音频数据' }),
  seconds: (p) => ({
    en: `must not be longer than ${String(p['limit'])} seconds`,
    zh: `不得超过 ${String(p['limit'])} 秒`,
  }),
  visible: (p) => ({
    en: `must be 1 to ${String(p['limit'])} visible ASCII characters`,
    zh: `必须为 1 至 ${String(p['limit'])} 个可见 ASCII 字符`,
  }),
  http: () => ({ en: 'is not proper HTTP', zh: '不符合 HTTP 规范' }),
  credentials: () => ({
    en: 'one of header, subprotocol and ticket is enough',
    zh: '请求头、子协议和票据只能使用其中一种',
  }),
  login: () => ({ en: 'user name or password is wrong', zh: '用户名或密码错误' }),
  host: () => ({ en: 'must be a host name or address', zh: '必须为主机名或 IP 地址' }),
  proxy: () => ({
    en: 'must look like proxy.example.net:5060;transport=udp',
    zh: '格式必须类似 proxy.example.net:5060;transport=udp',
  }),
  wide: (p) => ({
    en: `is too wide a network: the prefix must have at least ${String(p['limit'])} bits`,
    zh: `网段过大：前缀至少 ${String(p['limit'])} 位`,
  }),
  carried: () => ({ en: 'goes over it', zh: '正在使用该中继' }),
  cidr: () => ({
    en: 'must be an address, or a network such as 192.0.2.0/24 without host bits',
    zh: '必须为 IP 地址，或不含主机位的网段，例如 192.0.2.0/24',
  }),
  future: () => ({ en: 'must lie in the future', zh: '必须为将来的时间' }),
  currency: () => ({ en: 'is not an ISO 4217 currency', zh: '不是有效的 ISO 4217 货币代码' }),
};

export function ruleText(fault: FieldFault, language: Language): string {
  const text = RULE_TEXTS[fault.rule]?.(fault.params ?? {});
  return text?.[language] ?? (language === 'zh' ? '格式不正确' : 'has the wrong form');
}

function listOf(values: unknown): string {
  return Array.isArray(values) ? values.map(String).join(', ') : String(values);
}
