/**
 * Every setting in one schema: type, default, unit, environment name and meaning. Environment beats settings file beats
 * default; an unknown `CALLYARD_*` name refuses to start, because a typing error must not silently change a telephone.
 */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { Type, type Static, type TProperties, type TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { AppError, messageOf, systemCodeOf } from '#lib/errors.ts';

type Meta = {
  readonly env: string;
  readonly doc: string;
  readonly aliases?: readonly string[];
  readonly secret?: boolean;
};

const text = (meta: Meta, fallback?: string) =>
  Type.String({ ...meta, ...(fallback === undefined ? {} : { default: fallback }) });
const optional = (meta: Meta) =>
  Type.Union([Type.String({ minLength: 1 }), Type.Null()], { ...meta, default: null });
const port = (meta: Meta, fallback: number) =>
  Type.Integer({ ...meta, minimum: 0, maximum: 65_535, default: fallback });
const whole = (meta: Meta, fallback: number, minimum: number, maximum: number) =>
  Type.Integer({ ...meta, minimum, maximum, default: fallback });

const SETTINGS = {
  httpHost: text({ env: 'CALLYARD_HTTP_HOST', doc: 'address of HTTP and WebSocket' }, '127.0.0.1'),
  httpPort: port({ env: 'CALLYARD_HTTP_PORT', doc: 'port of HTTP and WebSocket' }, 8080),
  sipHost: text(
    {
      env: 'CALLYARD_SIP_HOST',
      doc: 'SIP listen address; 0.0.0.0 is one socket per local address',
    },
    '0.0.0.0',
  ),
  sipPort: port({ env: 'CALLYARD_SIP_PORT', doc: 'SIP port, UDP and TCP' }, 5060),
  publicAddress: optional({
    env: 'CALLYARD_PUBLIC_ADDRESS',
    doc: 'address shown in Contact and SDP to networks that are not local',
  }),
  localNets: optional({
    env: 'CALLYARD_LOCAL_NETS',
    doc: 'networks (CIDR list) that see the local address instead',
  }),
  rtpHost: optional({
    env: 'CALLYARD_RTP_HOST',
    doc: 'address media binds; default: the one the INVITE arrived on',
  }),
  rtpPorts: Type.String({
    env: 'CALLYARD_RTP_PORTS',
    doc: 'port range of media',
    default: '20000-29999',
    pattern: '^\\d{1,5}-\\d{1,5}$',
  }),
  recording: Type.Union([Type.Boolean(), Type.Null()], {
    env: 'CALLYARD_RECORDING',
    doc: 'record calls unless the agent says otherwise; default: on while no trunk is set',
    default: null,
  }),
  drainS: whole(
    { env: 'CALLYARD_DRAIN_S', doc: 'seconds live calls may finish in after SIGTERM' },
    30,
    0,
    86_400,
  ),
  maxCalls: whole({ env: 'CALLYARD_MAX_CALLS', doc: 'live calls of this node' }, 1000, 1, 100_000),
  llmBaseUrl: optional({
    env: 'CALLYARD_LLM_BASE_URL',
    doc: 'base URL of an OpenAI-compatible model',
  }),
  llmApiKey: optional({ env: 'CALLYARD_LLM_API_KEY', doc: 'its key', secret: true }),
  llmModel: optional({ env: 'CALLYARD_LLM_MODEL', doc: 'its model name' }),
  sttVendor: optional({
    env: 'CALLYARD_STT_VENDOR',
    doc: 'default speech-to-text vendor',
    aliases: ['STT_PROVIDER'],
  }),
  llmVendor: optional({
    env: 'CALLYARD_LLM_VENDOR',
    doc: 'default language-model vendor',
    aliases: ['LLM_PROVIDER'],
  }),
  ttsVendor: optional({
    env: 'CALLYARD_TTS_VENDOR',
    doc: 'default text-to-speech vendor',
    aliases: ['TTS_PROVIDER'],
  }),
  simScript: optional({
    env: 'CALLYARD_SIM_SCRIPT',
    doc: 'JSON file of the scripted `sim` vendor (tests)',
  }),
  timezone: optional({
    env: 'CALLYARD_TIMEZONE',
    doc: 'time zone of a new account; default: the system’s',
  }),
  countryCode: optional({
    env: 'CALLYARD_COUNTRY_CODE',
    doc: 'country code of a new account, e.g. 86',
  }),
  currency: text({ env: 'CALLYARD_CURRENCY', doc: 'currency of a new account' }, 'CNY'),
  language: text({ env: 'CALLYARD_LANGUAGE', doc: 'language of a new account' }, 'zh-CN'),
  dataDir: text(
    { env: 'CALLYARD_DATA_DIR', doc: 'journal, recordings, embedded database, generated keys' },
    './data',
  ),
  databaseUrl: optional({
    env: 'DATABASE_URL',
    doc: 'PostgreSQL; unset: the embedded one',
    secret: true,
  }),
  sipEngine: text(
    { env: 'CALLYARD_SIP_ENGINE', doc: '`embedded` or drachtio://secret@host:port', secret: true },
    'embedded',
  ),
  trunk: optional({
    env: 'CALLYARD_TRUNK',
    doc: 'default outbound trunk, sip:host:port;transport=udp',
  }),
  trunkUser: optional({ env: 'CALLYARD_TRUNK_USER', doc: 'its user name' }),
  trunkPassword: optional({ env: 'CALLYARD_TRUNK_PASSWORD', doc: 'its password', secret: true }),
  sipLocalHost: optional({ env: 'SIP_LOCAL_HOST', doc: 'local address of the environment trunk' }),
  sipDisplayName: optional({
    env: 'SIP_DISPLAY_NAME',
    doc: 'display name of the environment trunk',
  }),
  sipAllow: text(
    { env: 'CALLYARD_SIP_ALLOW', doc: 'sources whose calls are taken as well (CIDR list)' },
    '',
  ),
  adminKey: optional({
    env: 'CALLYARD_ADMIN_KEY',
    doc: 'first API key, cy_ + 8 + _ + 43 characters',
    secret: true,
  }),
  adminEmail: text({ env: 'CALLYARD_ADMIN_EMAIL', doc: 'first account' }, 'admin@localhost'),
  masterKey: optional({
    env: 'CALLYARD_MASTER_KEY',
    doc: '32 bytes base64 or file:PATH; wraps secrets',
    secret: true,
  }),
  logLevel: Type.Union(
    ['trace', 'debug', 'info', 'warn', 'error', 'silent'].map((level) => Type.Literal(level)),
    {
      env: 'CALLYARD_LOG_LEVEL',
      doc: 'trace, debug, info, warn, error or silent',
      default: 'info',
    },
  ),
} satisfies TProperties;

const SCHEMA = Type.Object(SETTINGS, { additionalProperties: false });

type Raw = Static<typeof SCHEMA>;

export type Config = Readonly<Omit<Raw, 'rtpPorts' | 'logLevel'>> & {
  readonly rtpPorts: { readonly first: number; readonly last: number };
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';
};

/** Read before the schema. */
const ALSO_KNOWN = ['CALLYARD_CONFIG'];
/** Settings of the design whose feature this version does not have: accepted with a warning, never silently. */
const WITHOUT_EFFECT = [
  'NATS_URL',
  'SIP_LOCAL_PORT',
  'CALLYARD_ADMIN_PASSWORD',
  'CALLYARD_JWT_SECRET',
  'CALLYARD_JWT_JWKS_URL',
];
const DEFAULT_FILE = 'config/callyard.json';

/** Errors: E_CONFIG with one line that names the setting and what is wrong; never its value if it is a secret. */
export function loadConfig(env: Readonly<Record<string, string | undefined>>): Config {
  refuseUnknown(env);
  const values: Record<string, unknown> = { ...readSettingsFile(env['CALLYARD_CONFIG']) };
  for (const [key, schema] of Object.entries(SETTINGS)) {
    const meta = metaOf(schema);
    const name = [meta.env, ...(meta.aliases ?? [])].find((each) => (env[each] ?? '') !== '');
    if (name !== undefined) values[key] = parse(schema, env[name] as string);
  }
  const complete = Value.Default(SCHEMA, values);
  for (const fault of Value.Errors(SCHEMA, complete)) {
    throw new AppError('E_CONFIG', describeFault(fault.instancePath, fault.message, complete));
  }
  const raw = complete as Raw;
  const rtpPorts = parseRange(raw.rtpPorts);
  checkAddresses(raw);
  return Object.freeze({ ...raw, rtpPorts, logLevel: raw.logLevel as Config['logLevel'] });
}

/** Settings that are given and do nothing yet. */
export function idleSettings(env: Readonly<Record<string, string | undefined>>): string[] {
  return WITHOUT_EFFECT.filter((name) => (env[name] ?? '') !== '');
}

/** One line per setting for `callyard --help` and the documentation. */
export function describeSettings(): string[] {
  return Object.values(SETTINGS).map((schema) => {
    const meta = metaOf(schema);
    const standard: unknown = 'default' in schema ? schema.default : null;
    const fallback =
      typeof standard === 'number' || (typeof standard === 'string' && standard !== '')
        ? ` [${standard}]`
        : '';
    return `${meta.env.padEnd(26)} ${meta.doc}${fallback}`;
  });
}

function refuseUnknown(env: Readonly<Record<string, string | undefined>>): void {
  const known = new Set([
    ...Object.values(SETTINGS).map((schema) => metaOf(schema).env),
    ...ALSO_KNOWN,
    ...WITHOUT_EFFECT,
  ]);
  for (const name of Object.keys(env)) {
    if (!name.startsWith('CALLYARD_') || known.has(name)) continue;
    const [near] = [...known]
      .map((each) => ({ each, steps: distance(each, name) }))
      .filter(({ steps }) => steps <= 3)
      .sort((a, b) => a.steps - b.steps);
    const hint =
      near === undefined ? 'run `npm start -- --help` for the list' : `did you mean ${near.each}?`;
    throw new AppError('E_CONFIG', `unknown setting ${name}; ${hint}`);
  }
}

function readSettingsFile(path: string | undefined): Record<string, unknown> {
  const file = path ?? DEFAULT_FILE;
  let content: string;
  try {
    content = readFileSync(file, 'utf8');
  } catch (error) {
    if (path === undefined && systemCodeOf(error) === 'ENOENT') return {};
    throw new AppError('E_CONFIG', `settings file ${file} cannot be read: ${messageOf(error)}`, {
      cause: error,
    });
  }
  try {
    const parsed: unknown = JSON.parse(content);
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed))
      return { ...parsed };
  } catch (error) {
    throw new AppError('E_CONFIG', `settings file ${file} is no JSON: ${messageOf(error)}`, {
      cause: error,
    });
  }
  throw new AppError('E_CONFIG', `settings file ${file} must hold one JSON object`);
}

function metaOf(schema: TSchema): Meta {
  return schema as unknown as Meta;
}

/** Environment values are text: numbers and booleans are read here, once. */
function parse(schema: TSchema, value: string): unknown {
  const kind = schema as {
    readonly type?: string;
    readonly anyOf?: readonly { readonly type?: string }[];
  };
  if (kind.type === 'integer') return /^-?\d+$/.test(value.trim()) ? Number(value) : value;
  if (kind.anyOf?.some((each) => each.type === 'boolean')) {
    if (/^(true|1|on|yes)$/i.test(value)) return true;
    if (/^(false|0|off|no)$/i.test(value)) return false;
  }
  return value;
}

function describeFault(path: string, message: string, values: unknown): string {
  const key = path.replace(/^\//, '').split('/')[0] ?? '';
  const schema = (SETTINGS as Record<string, TSchema>)[key];
  if (schema === undefined) return `settings file: unknown setting ${key || message}`;
  const meta = metaOf(schema);
  const value = (values as Record<string, unknown>)[key];
  return `${meta.env}${meta.secret === true ? '' : ` = ${JSON.stringify(value)}`}: ${message} (${meta.doc})`;
}

function parseRange(range: string): { first: number; last: number } {
  const [first = 0, last = 0] = range.split('-').map(Number);
  if (first >= 1024 && last <= 65_535 && last - first >= 1) return { first, last };
  throw new AppError(
    'E_CONFIG',
    `CALLYARD_RTP_PORTS = "${range}": needs two ports from 1024 to 65535, the lower one first`,
  );
}

function checkAddresses(raw: Raw): void {
  for (const [env, value] of [
    ['CALLYARD_SIP_HOST', raw.sipHost],
    ['CALLYARD_PUBLIC_ADDRESS', raw.publicAddress],
    ['CALLYARD_RTP_HOST', raw.rtpHost],
  ] as const) {
    if (value !== null && isIP(value) === 0) {
      throw new AppError('E_CONFIG', `${env} = "${value}" must be a numeric IP address`);
    }
  }
}

/** Edit distance, for "did you mean". */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
