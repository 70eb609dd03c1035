/** The environment's trunk, and where packets to a trunk go and leave from. */
import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { isIP, isIPv6 } from 'node:net';
import type { CodecName } from '#lib/audio-codec.ts';
import { withDeadline } from '#lib/deadline.ts';
import { AppError, messageOf } from '#lib/errors.ts';
import { hostPartOf, isHost } from '#lib/host-name.ts';
import type { SrtpMode } from '#lib/srtp-params.ts';
import type { Trunk } from '#lib/trunk.ts';
import { parseUri } from './party.ts';

export type TrunkSettings = {
  /** CALLYARD_TRUNK: `sip:host:port;transport=udp`. */
  readonly uri: string;
  readonly user: string | null;
  readonly password: string | null;
  /** SIP_LOCAL_HOST and SIP_DISPLAY_NAME. */
  readonly localHost: string | null;
  readonly displayName: string | null;
  /** CALLYARD_CODECS and CALLYARD_SRTP; absent: G.711, `off`. */
  readonly codecs?: readonly CodecName[];
  readonly srtp?: SrtpMode;
};

const RESOLVE_TIMEOUT_MS = 5000;
const DEFAULT_PORT = 5060;

/** The environment trunk. Errors: E_CONFIG with a line that says what to write; never names the password. */
export function parseTrunk(settings: TrunkSettings): Trunk {
  const text = settings.uri.trim();
  const parts = parseUri(/^(sips?|tel):/i.test(text) ? text : `sip:${text}`);
  if (parts === null || parts.scheme === 'tel' || text.includes('/'))
    throw badTrunk(text, 'must look like sip:host:port');
  if (parts.scheme === 'sips') throw badTrunk(text, 'sips: is not supported yet; use sip:');
  if (!isHost(parts.host)) throw badTrunk(text, 'has no host');
  if (parts.port !== null && (parts.port < 1 || parts.port > 65_535)) {
    throw badTrunk(text, 'has a port outside 1-65535');
  }
  const transport = (parts.params.get('transport') ?? 'udp').toLowerCase();
  if (transport !== 'udp' && transport !== 'tcp') {
    throw badTrunk(text, `has transport ${transport}; udp and tcp are supported`);
  }
  const username = emptyToNull(settings.user) ?? emptyToNull(parts.user);
  return {
    id: null,
    name: 'environment',
    host: parts.host,
    port: parts.port ?? DEFAULT_PORT,
    transport,
    username,
    password: emptyToNull(settings.password),
    realm: null,
    domain: null,
    outboundProxy: null,
    fromNumber: null,
    displayName: emptyToNull(settings.displayName),
    localHost: emptyToNull(settings.localHost),
    codecs: settings.codecs ?? ['PCMA', 'PCMU'],
    srtp: settings.srtp ?? 'off',
  };
}

/** Host names and proxy of a trunk without the space around them. Errors: E_CONFIG naming the field that is no host. */
export function checkedTrunk(trunk: Trunk): Trunk {
  const host = trunk.host.trim();
  const domain = emptyToNull(trunk.domain)?.trim() ?? null;
  const outboundProxy = emptyToNull(trunk.outboundProxy)?.trim() ?? null;
  const bad = (field: string): AppError =>
    new AppError('E_CONFIG', `trunk "${trunk.name}": ${field} is not a host name or address`);
  if (!isHost(host)) throw bad('host');
  // Some registrars want their port in the domain.
  if (domain !== null && !isHost(hostPartOf(domain))) throw bad('domain');
  if (outboundProxy !== null) {
    const uri = routeUriOf(outboundProxy);
    const parsed = parseUri(uri);
    if (parsed === null || !isHost(parsed.host) || /[\s<>"]/.test(uri)) throw bad('outbound proxy');
  }
  return { ...trunk, host, domain, outboundProxy };
}

function emptyToNull(text: string | null): string | null {
  return text === null || text.trim() === '' ? null : text;
}

function badTrunk(text: string, what: string): AppError {
  // A password written into the URI must not reach a log.
  const shown = text.replace(/^([a-z]+:)?[^@]*@/i, '$1…@');
  return new AppError('E_CONFIG', `CALLYARD_TRUNK "${shown}" ${what}`);
}

/** Host and port that requests to this trunk are sent to first. */
export function nextHopOf(trunk: Trunk): { readonly host: string; readonly port: number } {
  const proxy = trunk.outboundProxy === null ? null : parseUri(routeUriOf(trunk.outboundProxy));
  if (proxy !== null && proxy.host !== '') {
    return { host: proxy.host, port: proxy.port ?? DEFAULT_PORT };
  }
  return { host: trunk.host.trim(), port: trunk.port };
}

/** Host of an outbound proxy as people write it; null when there is none in it. */
export function proxyHostOf(proxy: string): string | null {
  return emptyToNull(parseUri(routeUriOf(proxy))?.host ?? null);
}

/** An outbound proxy as people write it (`proxy.example`, `192.0.2.1:5070`, `sip:…`) as a SIP URI. */
export function routeUriOf(proxy: string): string {
  const text = proxy.trim().replace(/^<(.*)>$/, '$1');
  return /^sips?:/i.test(text) ? text : `sip:${text}`;
}

/** A host for use in a URI: IPv6 goes into brackets. */
export function uriHost(host: string): string {
  return isIPv6(host) ? `[${host}]` : host;
}

/** Numeric addresses of a host name, for the access list. An unknown name is an empty list. */
export async function addressesOf(host: string): Promise<string[]> {
  if (isIP(host) !== 0) return [host];
  try {
    const found = await withDeadline(lookup(host, { all: true }), RESOLVE_TIMEOUT_MS, 'DNS');
    return found.map((one) => one.address);
  } catch {
    return []; // the name may resolve later; the caller asks again
  }
}

/**
 * The local address that packets to this trunk leave from, found by connecting a UDP socket (nothing is sent).
 * Errors: E_SIP_REJECTED when the trunk's name does not resolve or there is no route to it.
 */
export async function localAddressTowards(trunk: Trunk): Promise<string> {
  if (trunk.localHost !== null) return trunk.localHost;
  const { host, port } = nextHopOf(trunk);
  try {
    const target = await withDeadline(lookup(host), RESOLVE_TIMEOUT_MS, `DNS lookup of ${host}`);
    return await probe(target.address, port);
  } catch (error) {
    throw new AppError('E_SIP_REJECTED', `no way to trunk host ${host}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

function probe(address: string, port: number): Promise<string> {
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  socket.once('error', (error) => {
    socket.close();
    reject(error);
  });
  socket.connect(port, address, () => {
    const local = socket.address().address;
    socket.close();
    resolve(local);
  });
  return promise;
}
