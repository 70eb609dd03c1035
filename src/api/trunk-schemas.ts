/** SIP trunks as requests and answers have them (contract 2.8): the columns of `sip_configs` without ids. */
import { Type } from 'typebox';
import { CODEC_NAMES } from '#lib/audio-codec.ts';
import { MEDIA_SOURCES } from '#lib/media-source.ts';
import { SRTP_MODES } from '#lib/srtp-params.ts';
import { EXAMPLE_ID, IdSchema, nullable, PaginationSchema, ref, TimeSchema } from './schemas.ts';

const MAX_LIST = 200;
/** What may stand in a SIP header as it is: no control characters, quotes, angle brackets or backslashes. */
const HEADER_TEXT = '^[^\\x00-\\x1f\\x7f"<>\\\\]+$';
const ONE_LINE = '^(?=.*\\S)[^\\x00-\\x1f\\x7f]+$';

const text = (pattern: string, description: string) =>
  Type.String({ minLength: 1, maxLength: 255, pattern, description });
const hostText = (description: string) =>
  Type.String({ minLength: 1, maxLength: 255, description });
const prefixes = (description: string) =>
  Type.Array(Type.String({ pattern: '^\\+?[0-9*#]{1,31}$' }), { maxItems: MAX_LIST, description });

const TransportSchema = Type.Enum(['udp', 'tcp', 'tls']);
const DtmfSchema = Type.Enum(['rfc4733', 'info', 'inband']);

const name = text(ONE_LINE, 'Unique in the account');
const host = hostText('Name or address of the carrier or PBX; its calls are taken too');

const OptionsBody = Type.Object(
  {
    allow_uri: Type.Optional(Type.Boolean({ description: '`to` of a call may be a SIP URI' })),
    srtp: Type.Optional(
      Type.Enum([...SRTP_MODES], {
        description:
          'Encrypted audio by keys in the SDP (SDES); default `off`. `preferred` offers it beside plain RTP, `required` takes nothing else',
      }),
    ),
    rtcp_mux: Type.Optional(
      Type.Boolean({ description: 'RTCP is offered on the port of RTP; default false' }),
    ),
    media_source: Type.Optional(
      Type.Enum([...MEDIA_SOURCES], {
        description:
          'Where audio may come from; default `auto`: the signalled address or near it. `strict`: the signalled address and port alone, `any`: also a steady stream from another network',
      }),
    ),
  },
  { additionalProperties: false },
);

const furtherFields = {
  is_active: Type.Optional(Type.Boolean({ description: 'Default true' })),
  priority: Type.Optional(
    Type.Integer({ minimum: 0, maximum: 10_000, description: 'The lowest first; default 100' }),
  ),
  carrier: Type.Optional(
    Type.String({
      pattern: '^[a-z0-9][a-z0-9_-]{0,63}$',
      description:
        '`aliyun`, `tencent`, `ronglian` and `generic` (the default) fill `codecs` and `dtmf_mode` when these are left out',
    }),
  ),
  port: Type.Optional(Type.Integer({ minimum: 1, maximum: 65_535, description: 'Default 5060' })),
  transport: Type.Optional(TransportSchema),
  username: Type.Optional(
    nullable(text('^[^\\s\\x00-\\x1f\\x7f"<>\\\\]+$', 'Login, and name in REGISTER')),
  ),
  password: Type.Optional(
    nullable(text('^[^\\x00-\\x1f\\x7f]+$', 'Kept sealed, never returned; null removes it')),
  ),
  realm: Type.Optional(
    nullable(text(HEADER_TEXT, 'When set, challenges of other realms get no answer')),
  ),
  domain: Type.Optional(nullable(hostText('Host part of From and Request-URI; default: `host`'))),
  outbound_proxy: Type.Optional(
    nullable(hostText('Next hop, such as `proxy.example.net:5070;transport=tcp`')),
  ),
  register: Type.Optional(Type.Boolean({ description: 'Keep it registered; needs `username`' })),
  register_interval_s: Type.Optional(
    Type.Integer({ minimum: 60, maximum: 86_400, description: 'Default 3600' }),
  ),
  local_host: Type.Optional(
    nullable(hostText('Address of this machine that media use; default: the one towards `host`')),
  ),
  local_port: Type.Optional(
    nullable(
      Type.Integer({
        ...{ minimum: 1, maximum: 65_535 },
        description: 'Port in Contact when a NAT shows another one than SIP listens on',
      }),
    ),
  ),
  display_name: Type.Optional(nullable(text(HEADER_TEXT, 'In From'))),
  from_number: Type.Optional(
    nullable(
      Type.String({ minLength: 1, maxLength: 64, description: 'Shown when a call names none' }),
    ),
  ),
  codecs: Type.Optional(
    Type.Array(Type.Enum([...CODEC_NAMES]), {
      ...{ minItems: 1, maxItems: CODEC_NAMES.length, uniqueItems: true },
      description:
        'Best first: offered in this order, and the first one that a caller offers is taken',
    }),
  ),
  dtmf_mode: Type.Optional(DtmfSchema),
  max_calls: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 100_000, description: 'At once; default 100' }),
  ),
  max_cps: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 10_000, description: 'New calls per second; default 10' }),
  ),
  source_ips: Type.Optional(
    Type.Array(Type.String({ minLength: 2, maxLength: 64 }), {
      maxItems: MAX_LIST,
      description:
        'Further addresses and networks that its calls come from, such as `192.0.2.0/24`',
    }),
  ),
  allow_prefixes: Type.Optional(prefixes('Numbers that may be dialled; empty: all')),
  deny_prefixes: Type.Optional(prefixes('Numbers that may not; they win')),
  options: Type.Optional(OptionsBody),
};

const bodyExample = {
  name: 'Main carrier',
  carrier: 'generic',
  host: 'sip.example.net',
  username: 'my-account',
  password: 'my_password',
  register: true,
  from_number: '+15550100',
  max_calls: 30,
};

/** For POST and PUT. */
export const TrunkBody = Type.Object(
  { name, host, ...furtherFields },
  { additionalProperties: false, examples: [bodyExample] },
);

export const TrunkPatch = Type.Object(
  { name: Type.Optional(name), host: Type.Optional(host), ...furtherFields },
  { additionalProperties: false, minProperties: 1, examples: [{ is_active: false }] },
);

const StateSchema = Type.Object({
  registered: nullable(Type.Boolean({ description: 'Null: inactive, or not to be registered' })),
  expires_at: nullable(Type.Integer({ description: 'End of the registration, unix seconds' })),
  last_error: nullable(
    Type.String({
      description:
        'Of the registration, such as `timeout`, `dns`, `auth_failed` or `refused (403)`; `tls_unsupported`: this version cannot use the trunk',
    }),
  ),
  calls: Type.Integer({ description: 'Going on over this trunk, on this node' }),
});

export const SipTrunkSchema = Type.Object(
  {
    id: IdSchema,
    name: Type.String(),
    is_active: Type.Boolean(),
    priority: Type.Integer(),
    carrier: Type.String(),
    host: Type.String(),
    port: Type.Integer(),
    transport: TransportSchema,
    username: nullable(Type.String()),
    has_password: Type.Boolean(),
    realm: nullable(Type.String()),
    domain: nullable(Type.String()),
    outbound_proxy: nullable(Type.String()),
    register: Type.Boolean(),
    register_interval_s: Type.Integer(),
    local_host: nullable(Type.String()),
    local_port: nullable(Type.Integer()),
    display_name: nullable(Type.String()),
    from_number: nullable(Type.String()),
    codecs: Type.Array(Type.String()),
    dtmf_mode: DtmfSchema,
    max_calls: Type.Integer(),
    max_cps: Type.Integer(),
    source_ips: Type.Array(Type.String()),
    allow_prefixes: Type.Array(Type.String()),
    deny_prefixes: Type.Array(Type.String()),
    options: Type.Unsafe<Readonly<Record<string, unknown>>>({ type: 'object' }),
    state: StateSchema,
    created_at: TimeSchema,
    updated_at: TimeSchema,
  },
  {
    $id: 'SipTrunk',
    examples: [
      {
        ...{ id: EXAMPLE_ID, name: 'Main carrier', is_active: true, priority: 100 },
        ...{ carrier: 'generic', host: 'sip.example.net', port: 5060, transport: 'udp' },
        ...{ username: 'my-account', has_password: true, realm: null, domain: null },
        ...{ outbound_proxy: null, register: true, register_interval_s: 3600, local_host: null },
        ...{ local_port: null, display_name: null, from_number: '+15550100' },
        ...{ codecs: ['PCMA', 'PCMU'], dtmf_mode: 'rfc4733', max_calls: 30, max_cps: 10 },
        ...{ source_ips: [], allow_prefixes: [], deny_prefixes: [], options: {} },
        state: { registered: true, expires_at: 1767229200, last_error: null, calls: 2 },
        ...{ created_at: '2026-01-01T00:00:00.000Z', updated_at: '2026-01-01T00:00:00.000Z' },
      },
    ],
  },
);

export const TrunkListSchema = Type.Object({
  sip_trunks: Type.Array(ref(SipTrunkSchema)),
  pagination: ref(PaginationSchema),
});

export const TrunkTestSchema = Type.Object(
  {
    ok: Type.Boolean(),
    sip_status: nullable(Type.Integer({ description: 'Of the answer that decided' })),
    round_trip_ms: nullable(Type.Integer({ description: 'Until the first answer' })),
    error: nullable(
      Type.String({ description: 'For programs: `timeout`, `dns`, `auth_failed`, `refused` …' }),
    ),
  },
  { examples: [{ ok: true, sip_status: 200, round_trip_ms: 21, error: null }] },
);
