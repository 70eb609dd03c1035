/** The settings themselves: type, default, unit, environment name and meaning of each. config.ts reads them. */
import { availableParallelism } from 'node:os';
import { Type, type TProperties } from 'typebox';
import { SRTP_MODES } from '#lib/srtp-params.ts';

/** What a setting says of itself besides its type. */
export type Meta = {
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

export const SETTINGS = {
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
  mediaWorkers: whole(
    {
      env: 'CALLYARD_MEDIA_WORKERS',
      doc: 'threads that carry the audio of calls; default: one less than the machine has cores',
    },
    Math.max(1, availableParallelism() - 1),
    1,
    256,
  ),
  mediaRealtime: Type.Boolean({
    env: 'CALLYARD_MEDIA_REALTIME',
    doc: 'these threads go before all others of the machine, where the system lets them',
    default: true,
  }),
  vad: Type.Enum(['fvad', 'silero'], {
    env: 'CALLYARD_VAD',
    doc: 'who decides what speech is: `fvad` (WebRTC), or `silero` (needs the two settings below)',
    default: 'fvad',
  }),
  sileroModel: optional({
    env: 'CALLYARD_SILERO_MODEL',
    doc: 'path of the Silero VAD model, version 5 or 6 (.onnx)',
  }),
  onnxruntime: text(
    { env: 'CALLYARD_ONNXRUNTIME', doc: 'package name or folder of onnxruntime-node' },
    'onnxruntime-node',
  ),
  recording: Type.Union([Type.Boolean(), Type.Null()], {
    env: 'CALLYARD_RECORDING',
    doc: 'record calls unless the agent says otherwise; default: on while no trunk is set',
    default: null,
  }),
  holdMusic: Type.Union(
    [
      Type.String({ pattern: '^(?:file:[A-Za-z0-9][A-Za-z0-9._-]{0,127}|https?://\\S+)$' }),
      Type.Null(),
    ],
    {
      env: 'CALLYARD_HOLD_MUSIC',
      doc: 'what callers on hold hear unless the agent has its own: file:NAME (WAV or MP3 in the folder sounds of the data directory) or a URL; default: a built-in tune',
      default: null,
    },
  ),
  recordingFormat: Type.Enum(['wav', 'ogg'], {
    env: 'CALLYARD_RECORDING_FORMAT',
    doc: 'what new recordings are: wav (every sample, 115 MB an hour) or ogg (Opus, 13 MB an hour at most)',
    default: 'wav',
  }),
  recordingsUrl: optional({
    env: 'CALLYARD_RECORDINGS_URL',
    doc: 'where recordings are kept: file:FOLDER or s3://bucket/prefix?endpoint=…&region=…&path_style=true; default: the data directory',
  }),
  s3AccessKeyId: optional({
    env: 'CALLYARD_S3_ACCESS_KEY_ID',
    doc: 'key id of that store; default: where its client looks by itself',
  }),
  s3SecretAccessKey: optional({
    env: 'CALLYARD_S3_SECRET_ACCESS_KEY',
    doc: 'its secret',
    secret: true,
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
  codecs: text(
    {
      env: 'CALLYARD_CODECS',
      doc: 'codecs of the environment trunk and of calls that come from no trunk row, best first: PCMA, PCMU, G722, opus, L16',
    },
    'PCMA,PCMU,G722,opus',
  ),
  srtp: Type.Union(
    SRTP_MODES.map((mode) => Type.Literal(mode)),
    {
      env: 'CALLYARD_SRTP',
      doc: 'SRTP (SDES) of the same calls: off, preferred or required',
      default: 'off',
    },
  ),
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
  adminPassword: optional({
    env: 'CALLYARD_ADMIN_PASSWORD',
    doc: 'its password; unset: it cannot log in',
    secret: true,
  }),
  jwtSecret: optional({
    env: 'CALLYARD_JWT_SECRET',
    doc: 'signs and verifies HS256 tokens, 32 characters or more; default: generated',
    secret: true,
  }),
  jwtJwksUrl: optional({
    env: 'CALLYARD_JWT_JWKS_URL',
    doc: 'keys of an issuer of RS256 tokens; replaces the login with a password',
  }),
  jwtPublicKey: optional({
    env: 'CALLYARD_JWT_PUBLIC_KEY',
    doc: 'or its one key, PEM or file:PATH',
  }),
  jwtIssuer: optional({ env: 'CALLYARD_JWT_ISSUER', doc: '`iss` that tokens must carry' }),
  jwtAudience: optional({ env: 'CALLYARD_JWT_AUDIENCE', doc: '`aud` that tokens must carry' }),
  authProvision: Type.Boolean({
    env: 'CALLYARD_AUTH_PROVISION',
    doc: 'users of that issuer are added on first use (not on Supabase)',
    default: true,
  }),
  trustedProxies: text(
    {
      env: 'CALLYARD_TRUSTED_PROXIES',
      doc: 'proxies whose X-Forwarded-For is believed (CIDR list)',
    },
    '',
  ),
  corsOrigins: text(
    {
      env: 'CALLYARD_CORS_ORIGINS',
      doc: 'web origins whose pages may call the API, e.g. https://desk.example.net',
    },
    '',
  ),
  rateLimit: whole(
    { env: 'CALLYARD_RATE_LIMIT', doc: 'requests per second of one key or user' },
    50,
    1,
    1_000_000,
  ),
  rateBurst: whole(
    { env: 'CALLYARD_RATE_BURST', doc: 'requests it may send at once' },
    100,
    1,
    1_000_000,
  ),
  hasDocs: Type.Boolean({
    env: 'CALLYARD_DOCS',
    doc: 'whether /docs and /openapi.json are served',
    default: true,
  }),
  metricsAllow: text(
    {
      env: 'CALLYARD_METRICS_ALLOW',
      doc: 'networks that may read /metrics besides this machine (CIDR list)',
    },
    '',
  ),
  outboundAllow: text(
    {
      env: 'CALLYARD_OUTBOUND_ALLOW',
      doc: 'private networks that webhooks, tools and audio URLs may reach, also by plain http (CIDR list)',
    },
    '',
  ),
  masterKey: optional({
    env: 'CALLYARD_MASTER_KEY',
    doc: '32 bytes base64 or file:PATH; wraps secrets',
    secret: true,
  }),
  oldMasterKeys: optional({
    env: 'CALLYARD_MASTER_KEY_OLD',
    doc: 'former master keys, comma-separated: they open while values are rewrapped',
    secret: true,
  }),
  aliyunMetaUrl: optional({
    env: 'CALLYARD_ALIYUN_META_URL',
    doc: 'address of the Aliyun token service, for a proxy; default: Aliyun’s own',
  }),
  aliyunNlsUrl: optional({
    env: 'CALLYARD_ALIYUN_NLS_URL',
    doc: 'WebSocket address of the Aliyun speech gateway, for a proxy or a private network; default: that of the account’s region',
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
