/** Client addresses: normal form, allow lists in CIDR notation, and the key under which a client is counted. */
import { BlockList, isIP } from 'node:net';

/** The address without a zone, a port, brackets, or the IPv4-in-IPv6 prefix that a dual-stack socket reports. */
export function plainAddress(address: string): string {
  // Some proxies write `192.0.2.7:4711` and `[2001:db8::1]:4711` into X-Forwarded-For.
  const bare =
    /^\[([^\]]+)\](?::\d+)?$/.exec(address)?.[1] ??
    /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(address)?.[1] ??
    address;
  const [unzoned = ''] = bare.split('%', 1);
  return /^::ffff:\d+\.\d+\.\d+\.\d+$/i.test(unzoned) ? unzoned.slice(7) : unzoned;
}

/** Where a request comes from: null when the client has already gone, or a proxy has named no address. */
export function addressOf(request: { readonly ip: string | undefined }): string | null {
  const plain = plainAddress(request.ip ?? '');
  return isIP(plain) === 0 ? null : plain;
}

/** True when `address` lies in one of the networks. An entry that is no network allows nothing. */
export function isAllowed(address: string, networks: readonly string[]): boolean {
  const plain = plainAddress(address);
  const list = new BlockList();
  for (const network of networks) addNetwork(list, network);
  const family = isIP(plain);
  return family !== 0 && list.check(plain, family === 6 ? 'ipv6' : 'ipv4');
}

/** IPv4 counts by address, IPv6 by /64: one customer has at least that many addresses. */
export function countingKey(address: string | null): string {
  const plain = plainAddress(address ?? '');
  if (isIP(plain) !== 6) return plain;
  return `${groupsOf(plain).slice(0, 4).join(':')}::/64`;
}

/**
 * The network as `address/bits`, or null when the text is none. A bare address is a network of one. Bits behind the
 * prefix must be zero (as PostgreSQL's `cidr` wants them): `192.0.2.7/24` may mean the host or its network.
 */
export function cidrOf(text: string): string | null {
  const [, base = '', length] = /^([0-9a-fA-F:.]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const family = isIP(base);
  if (family === 0) return null;
  const size = family === 6 ? 128 : 32;
  const bits = length === undefined ? size : Number(length);
  if (bits > size) return null;
  const host = numberOf(base, family) & ((1n << BigInt(size - bits)) - 1n);
  return host === 0n ? `${base.toLowerCase()}/${bits}` : null;
}

function numberOf(address: string, family: number): bigint {
  if (family === 4) {
    return address.split('.').reduce((sum, part) => (sum << 8n) | BigInt(part), 0n);
  }
  return groupsOf(address).reduce((sum, group) => (sum << 16n) | BigInt(`0x${group}`), 0n);
}

/** The eight groups of an IPv6 address, a trailing IPv4 part as two of them. */
function groupsOf(address: string): string[] {
  const [, before = address, v4] = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(address) ?? [];
  const tailOf4 = v4 === undefined ? [] : hexPairsOf(v4);
  const [head = '', tail = ''] = before.split('::', 2);
  const groups = head.split(':').filter((group) => group !== '');
  const rest = [...tail.split(':').filter((group) => group !== ''), ...tailOf4];
  while (groups.length + rest.length < 8) groups.push('0');
  return [...groups, ...rest];
}

function hexPairsOf(v4: string): string[] {
  const [a = 0, b = 0, c = 0, d = 0] = v4.split('.').map(Number);
  return [(a * 256 + b).toString(16), (c * 256 + d).toString(16)];
}

function addNetwork(list: BlockList, network: string): void {
  const [base = '', length] = network.split('/', 2);
  const family = isIP(base);
  if (family === 0) return;
  const bits = length === undefined ? (family === 6 ? 128 : 32) : Number(length);
  if (!Number.isInteger(bits) || bits < 0 || bits > (family === 6 ? 128 : 32)) return;
  list.addSubnet(base, bits, family === 6 ? 'ipv6' : 'ipv4');
}
