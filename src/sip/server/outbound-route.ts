/** From a URI to the addresses its requests go to (RFC 3263, without NAPTR). */
import { lookup, resolveSrv } from 'node:dns/promises';
import type { SrvRecord } from 'node:dns';
import { isIP } from 'node:net';
import { withDeadline } from '#lib/deadline.ts';
import { AppError, systemCodeOf } from '#lib/errors.ts';
import { parseUri } from './uri.ts';
import type { Protocol, Target } from './types.ts';

const DNS_DEADLINE_MS = 5000;
const DEFAULT_PORT = 5060;
const MAX_TARGETS = 6;

export type Route = {
  /** In the order they are to be tried; at least one. */
  readonly targets: readonly Target[];
  /** The URI names its transport: a long request stays on it (RFC 3261 18.1.1 does not override it). */
  readonly isExplicit: boolean;
};

export type NameService = {
  /** Numeric addresses of a host. */
  addresses(host: string): Promise<readonly string[]>;
  /** SRV records; empty when there are none. */
  services(name: string): Promise<readonly SrvRecord[]>;
};

/**
 * Where requests to `uri` (or to `host[:port]` without a scheme) go. `usual` is the transport of a URI that names none.
 * Errors: E_SIP_ENGINE when the URI cannot be read, asks for TLS, or its host does not resolve.
 */
export async function resolveRoute(
  uri: string,
  names: NameService = systemNames,
  usual: Protocol = 'udp',
): Promise<Route> {
  const parsed = parseUri(uri.includes(':') && /^[a-z]+:/i.test(uri) ? uri : `sip:${uri}`);
  if (parsed === undefined) throw unreachable(uri, 'is not a SIP URI');
  const asked = parsed.params.get('transport')?.toLowerCase() ?? null;
  if (parsed.scheme === 'sips' || asked === 'tls' || asked === 'ws' || asked === 'wss') {
    throw unreachable(uri, 'needs a transport that is not supported (only UDP and TCP are)');
  }
  const isExplicit = asked === 'udp' || asked === 'tcp';
  const protocol: Protocol = asked === 'udp' || asked === 'tcp' ? asked : usual;
  const host = parsed.params.get('maddr') ?? parsed.host;
  const { port } = parsed;
  if (isIP(host) !== 0) {
    return { targets: [{ protocol, address: host, port: port ?? DEFAULT_PORT }], isExplicit };
  }
  const targets =
    port === undefined && host.includes('.')
      ? await bySrv(host, protocol, names)
      : await byName(host, port ?? DEFAULT_PORT, protocol, names);
  if (targets.length === 0) throw unreachable(uri, 'has no address');
  return { targets: targets.slice(0, MAX_TARGETS), isExplicit };
}

async function bySrv(host: string, protocol: Protocol, names: NameService): Promise<Target[]> {
  const records = await names.services(`_sip._${protocol}.${host}`);
  if (records.length === 0) return byName(host, DEFAULT_PORT, protocol, names);
  const targets: Target[] = [];
  for (const { name, port } of inOrder(records)) {
    if (targets.length >= MAX_TARGETS) break;
    targets.push(...(await byName(name, port, protocol, names)));
  }
  return targets;
}

async function byName(
  host: string,
  port: number,
  protocol: Protocol,
  names: NameService,
): Promise<Target[]> {
  const addresses = await names.addresses(host);
  return addresses.map((address) => ({ protocol, address, port }));
}

/** RFC 2782: by priority; within one, at random but weighted. */
export function inOrder(
  records: readonly SrvRecord[],
  random: () => number = Math.random,
): SrvRecord[] {
  // A weighted order without replacement: keys u^(1/w), largest first.
  const keyed = records.map((record) => ({
    record,
    key: random() ** (1 / Math.max(record.weight, 0.01)),
  }));
  keyed.sort((a, b) => a.record.priority - b.record.priority || b.key - a.key);
  return keyed.map(({ record }) => record);
}

function unreachable(uri: string, why: string): AppError {
  // The user part may be somebody's number.
  return new AppError('E_SIP_ENGINE', `${uri.replace(/[^:@]*@/, '')} ${why}`);
}

/** The system's resolver; each question has 5 s. */
export const systemNames: NameService = {
  addresses: async (host) => {
    try {
      const found = await withDeadline(
        lookup(host, { all: true }),
        DNS_DEADLINE_MS,
        'a DNS lookup',
      );
      return found.map(({ address }) => address);
    } catch (error) {
      throw new AppError('E_SIP_ENGINE', `${host} does not resolve`, { cause: error });
    }
  },
  services: async (name) => {
    try {
      return await withDeadline(resolveSrv(name), DNS_DEADLINE_MS, 'an SRV query');
    } catch (error) {
      // No SRV record, or no name server at all: the host's own address is tried (RFC 3263 4.2).
      if (systemCodeOf(error) !== undefined) return [];
      throw error;
    }
  },
};
