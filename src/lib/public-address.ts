/**
 * Which addresses the server may call on behalf of an account: public ones, and the private networks that the operator
 * has named. Without this a webhook could read what only this machine can reach (server-side request forgery).
 */
import { BlockList, isIP, isIPv4 } from 'node:net';

/** IANA IPv4 special-purpose registry, multicast and the reserved class E: nothing of it is a public server. */
const NOT_PUBLIC_V4 = [
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16'],
  ...['172.16.0.0/12', '192.0.0.0/24', '192.0.2.0/24', '192.88.99.0/24', '192.168.0.0/16'],
  ...['198.18.0.0/15', '198.51.100.0/24', '203.0.113.0/24', '224.0.0.0/4', '240.0.0.0/4'],
];

/** Global unicast; of it the IETF's own block (Teredo, benchmarks, ORCHID), documentation and 6to4 are not public. */
const GLOBAL_V6 = ['2000::/3'];
const NOT_PUBLIC_V6 = ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20'];

const notPublicV4 = networkList(NOT_PUBLIC_V4);
const globalV6 = networkList(GLOBAL_V6);
const notPublicV6 = networkList(NOT_PUBLIC_V6);

/** Networks in CIDR notation as one list; an entry that is none allows nothing. */
export function networkList(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [base = '', length = ''] = network.split('/', 2);
    const family = isIP(base);
    const bits = /^\d{1,3}$/.test(length) ? Number(length) : family === 6 ? 128 : 32;
    if (family === 0 || bits > (family === 6 ? 128 : 32)) continue;
    list.addSubnet(base, bits, family === 6 ? 'ipv6' : 'ipv4');
  }
  return list;
}

/** True for an address of the public internet, also when it is wrapped as IPv4-mapped or by NAT64. */
export function isPublicAddress(address: string): boolean {
  const plain = innerAddress(address);
  if (plain === null) return false;
  if (isIPv4(plain)) return !notPublicV4.check(plain, 'ipv4');
  return globalV6.check(plain, 'ipv6') && !notPublicV6.check(plain, 'ipv6');
}

/** True when `address` lies in one of the networks that the operator has named. */
export function isNamedAddress(address: string, named: BlockList): boolean {
  const plain = innerAddress(address);
  return plain !== null && named.check(plain, isIPv4(plain) ? 'ipv4' : 'ipv6');
}

/**
 * The address that a connection really reaches: of an IPv4-mapped one (RFC 4291 2.5.5.2) and one made by NAT64 (RFC 6052
 * 2.1) the IPv4 address in its last 32 bits. Null for what is no address; a zone index is dropped.
 */
function innerAddress(address: string): string | null {
  const [plain = ''] = address.split('%', 1);
  const family = isIP(plain);
  if (family === 0) return null;
  if (family === 4) return plain;
  const groups = ipv6Groups(plain);
  const prefix = groups.slice(0, 6).join(':');
  if (prefix !== '0:0:0:0:0:ffff' && prefix !== '64:ff9b:0:0:0:0') return groups.join(':');
  const [high = 0, low = 0] = groups.slice(6).map((group) => Number.parseInt(group, 16));
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}

/** The eight groups of an IPv6 address, in the normal form that URLs give them. */
function ipv6Groups(address: string): string[] {
  const text = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [start = [], end = []] = text
    .split('::', 2)
    .map((part) => part.split(':').filter((group) => group !== ''));
  const zeros = Array.from({ length: 8 - start.length - end.length }, () => '0');
  return [...start, ...zeros, ...end];
}
