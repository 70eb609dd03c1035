/**
 * Every setting in one schema: type, default, unit, environment name and meaning. Environment beats settings file beats
 * default; an unknown `CALLYARD_*` name refuses to start, because a typing error must not silently change a telephone.
 */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { Type, type Static, type TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { cidrOf } from '#api/addresses.ts';
import { CODEC_NAMES, parseCodecs, type CodecName } from '#lib/audio-codec.ts';
import { AppError, messageOf, systemCodeOf } from '#lib/errors.ts';
import { SETTINGS, type Meta } from './config-schema.ts';

const SCHEMA = Type.Object(SETTINGS, { additionalProperties: false });

type Raw = Static<typeof SCHEMA>;

type Parsed =
  | 'rtpPorts'
  | 'logLevel'
  | 'trustedProxies'
  | 'corsOrigins'
  | 'codecs'
  | 'metricsAllow'
  | 'outboundAllow';

export type Config = Readonly<Omit<Raw, Parsed>> & {
  readonly rtpPorts: { readonly first: number; readonly last: number };
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';
  /** Networks in CIDR notation. */
  readonly trustedProxies: readonly string[];
  /** Networks in CIDR notation. */
  readonly metricsAllow: readonly string[];
  /** Networks in CIDR notation. */
  readonly outboundAllow: readonly string[];
  /** Best first. */
  readonly codecs: readonly CodecName[];
  /** `https://host[:port]`, as browsers send them. */
  readonly corsOrigins: readonly string[];
};

/** Read before the schema. */
const ALSO_KNOWN = ['CALLYARD_CONFIG'];
/** Settings of the design whose feature this version does not have: accepted with a warning, never silently. */
const WITHOUT_EFFECT = ['NATS_URL', 'SIP_LOCAL_PORT'];
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
  checkAddresses(raw);
  checkTokens(raw);
  return Object.freeze({
    ...raw,
    rtpPorts: parseRange(raw.rtpPorts),
    logLevel: raw.logLevel as Config['logLevel'],
    trustedProxies: parseNetworks('CALLYARD_TRUSTED_PROXIES', raw.trustedProxies),
    metricsAllow: parseNetworks('CALLYARD_METRICS_ALLOW', raw.metricsAllow),
    outboundAllow: parseNetworks('CALLYARD_OUTBOUND_ALLOW', raw.outboundAllow),
    corsOrigins: parseOrigins(raw.corsOrigins),
    codecs: codecList(raw.codecs),
  });
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
  if (kind.type === 'boolean' || kind.anyOf?.some((each) => each.type === 'boolean')) {
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

/** RFC 7518 3.2: a key of at least the hash's size. */
const SECRET_MIN_BYTES = 32;

/** One way of verifying tokens, or it would not be clear whose word counts. */
function checkTokens(raw: Raw): void {
  const given = [
    ['CALLYARD_JWT_SECRET', raw.jwtSecret],
    ['CALLYARD_JWT_JWKS_URL', raw.jwtJwksUrl],
    ['CALLYARD_JWT_PUBLIC_KEY', raw.jwtPublicKey],
  ].flatMap(([env, value]) => (value === null ? [] : [env]));
  if (given.length > 1) {
    throw new AppError('E_CONFIG', `${given.join(' and ')} exclude each other; set one of them`);
  }
  if (raw.jwtSecret !== null && Buffer.byteLength(raw.jwtSecret) < SECRET_MIN_BYTES) {
    throw new AppError(
      'E_CONFIG',
      `CALLYARD_JWT_SECRET needs ${SECRET_MIN_BYTES} characters or more (openssl rand -base64 32)`,
    );
  }
  const { jwtJwksUrl } = raw;
  if (jwtJwksUrl !== null && !/^https?:$/.test(URL.parse(jwtJwksUrl)?.protocol ?? '')) {
    throw new AppError('E_CONFIG', `CALLYARD_JWT_JWKS_URL = "${jwtJwksUrl}" must be an https URL`);
  }
}

function listOf(value: string): string[] {
  return value.split(/[\s,]+/).filter((each) => each !== '');
}

function parseNetworks(env: string, value: string): string[] {
  return listOf(value).map((each) => {
    const network = cidrOf(each);
    if (network !== null) return network;
    throw new AppError(
      'E_CONFIG',
      `${env}: "${each}" is neither an address nor a network such as 192.0.2.0/24`,
    );
  });
}

function codecList(value: string): readonly CodecName[] {
  const { codecs, unknown } = parseCodecs(value);
  if (codecs.length > 0 && unknown.length === 0) return codecs;
  const fault = unknown.length === 0 ? 'names no codec' : `does not know "${unknown.join('", "')}"`;
  throw new AppError(
    'E_CONFIG',
    `CALLYARD_CODECS ${fault}; there are ${CODEC_NAMES.join(', ')} (G.729 and AMR: see docs/media.md)`,
  );
}

/** Never `*`: a page of anybody could then use what a browser holds. */
function parseOrigins(value: string): string[] {
  return listOf(value).map((each) => {
    const url = URL.parse(each);
    if (url !== null && /^https?:$/.test(url.protocol) && url.origin === each.toLowerCase()) {
      return url.origin;
    }
    throw new AppError(
      'E_CONFIG',
      `CALLYARD_CORS_ORIGINS: "${each}" is no origin such as https://desk.example.net`,
    );
  });
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
