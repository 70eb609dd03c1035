/** What the fields of a trunk must hold beyond their schema, and what carriers' presets and defaults fill in. */
import type { Static } from 'typebox';
import { isHost, isHostWithPort, isProxyAddress } from '#lib/host-name.ts';
import { normalizePhone } from '#lib/phone.ts';
import type { TrunkFields } from '#store/trunk-admin.ts';
import { cidrOf } from './addresses.ts';
import { Problem, type FieldFault } from './problem.ts';
import type { TrunkBody, TrunkPatch } from './trunk-schemas.ts';

type Preset = Pick<TrunkFields, 'codecs' | 'dtmfMode'>;

const GENERIC: Preset = { codecs: ['PCMA', 'PCMU'], dtmfMode: 'rfc4733' };
/** Carriers in mainland China run on A-law; their gateways hand digits on as RFC 4733 events. */
const CHINA: Preset = { codecs: ['PCMA'], dtmfMode: 'rfc4733' };

const PRESETS: ReadonlyMap<string, Preset> = new Map([
  ['aliyun', CHINA],
  ['tencent', CHINA],
  ['ronglian', CHINA],
  ['generic', GENERIC],
]);

/** Wider networks would make the calls of half the world those of one account. */
const MIN_BITS = { v4: 8, v6: 16 } as const;

const DEFAULTS = {
  ...{ isActive: true, priority: 100, carrier: 'generic', port: 5060, transport: 'udp' },
  ...{ username: null, realm: null, domain: null, outboundProxy: null, register: false },
  ...{ registerIntervalS: 3600, localHost: null, localPort: null, displayName: null },
  ...{ fromNumber: null, maxCalls: 100, maxCps: 10, sourceIps: [], allowPrefixes: [] },
  ...{ denyPrefixes: [], options: {}, password: undefined },
} as const satisfies Partial<TrunkFields>;

/** With the default of every field that is left out, the password apart. Errors: VALIDATION_FAILED. */
export function wholeTrunk(body: Static<typeof TrunkBody>): TrunkFields {
  const { name, host } = body;
  const given = changesOf(body);
  const fields = { ...DEFAULTS, ...GENERIC, name, host, ...given };
  if (fields.register && fields.username === null) throw needsUsername();
  return fields;
}

export function needsUsername(): Problem {
  const fault = { path: '/username', rule: 'required' };
  return new Problem('VALIDATION_FAILED', { faults: [fault] });
}

/** The fields that are given, and what a carrier that is named fills in. Errors: VALIDATION_FAILED. */
export function changesOf(body: Static<typeof TrunkPatch>): Partial<TrunkFields> {
  const faults: FieldFault[] = [...hostFaults(body), ...networkFaults(body.source_ips ?? [])];
  const fromNumber = numberOf(body.from_number, faults);
  if (faults.length > 0) throw new Problem('VALIDATION_FAILED', { faults });
  const preset = body.carrier === undefined ? {} : (PRESETS.get(body.carrier) ?? {});
  const { name, priority, carrier, host, port, transport, username, password, realm } = body;
  const given = {
    ...{ name, priority, carrier, host, port, transport, username, password, realm },
    ...{ domain: body.domain, register: body.register, codecs: body.codecs },
    ...{ isActive: body.is_active, outboundProxy: body.outbound_proxy },
    ...{ registerIntervalS: body.register_interval_s, localHost: body.local_host },
    ...{ localPort: body.local_port, displayName: body.display_name, fromNumber },
    ...{ dtmfMode: body.dtmf_mode, maxCalls: body.max_calls, maxCps: body.max_cps },
    ...{ sourceIps: body.source_ips?.map((each) => cidrOf(each) ?? each) },
    ...{ allowPrefixes: body.allow_prefixes, denyPrefixes: body.deny_prefixes },
    ...{ options: body.options },
  };
  return { ...preset, ...present(given) };
}

type Present<T> = { -readonly [K in keyof T]?: Exclude<T[K], undefined> };

function present<T extends object>(fields: T): Present<T> {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as Present<T>;
}

function hostFaults(body: Static<typeof TrunkPatch>): FieldFault[] {
  const { host, local_host: localHost, domain, outbound_proxy: proxy } = body;
  const checks: [
    path: string,
    value: string | null | undefined,
    isGood: (text: string) => boolean,
    rule: string,
  ][] = [
    ['/host', host, isHost, 'host'],
    ['/local_host', localHost, isHost, 'host'],
    ['/domain', domain, isHostWithPort, 'host'],
    ['/outbound_proxy', proxy, isProxyAddress, 'proxy'],
  ];
  return checks
    .filter(([, value, isGood]) => value !== undefined && value !== null && !isGood(value))
    .map(([path, , , rule]) => ({ path, rule }));
}

function networkFaults(networks: readonly string[]): FieldFault[] {
  return networks.flatMap((text, index) => {
    const path = `/source_ips/${index}`;
    const network = cidrOf(text);
    if (network === null) return [{ path, rule: 'cidr' }];
    const limit = network.includes(':') ? MIN_BITS.v6 : MIN_BITS.v4;
    const bits = Number(network.split('/')[1]);
    return bits < limit ? [{ path, rule: 'wide', params: { limit } }] : [];
  });
}

function numberOf(
  text: string | null | undefined,
  faults: FieldFault[],
): string | null | undefined {
  if (text === undefined || text === null) return text;
  const number = normalizePhone(text);
  if (number === null) faults.push({ path: '/from_number', rule: 'phone' });
  return number;
}
