/** Client addresses: normal form, allow lists in CIDR notation, and the key under which a client is counted. */
import { BlockList, isIP } from 'node:net';

/** The address without the IPv4-in-IPv6 prefix that a dual-stack socket reports. */
export function plainAddress(address: string): string {
  return /^::ffff:\d+\.\d+\.\d+\.\d+$/i.test(address) ? address.slice(7) : address;
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
export function countingKey(address: string): string {
  const plain = plainAddress(address);
  if (isIP(plain) !== 6) return plain;
  const [head = '', tail = ''] = plain.split('::', 2);
  const groups = head.split(':').filter((group) => group !== '');
  const rest = tail.split(':').filter((group) => group !== '');
  while (groups.length + rest.length < 8) groups.push('0');
  return `${[...groups, ...rest].slice(0, 4).join(':')}::/64`;
}

function addNetwork(list: BlockList, network: string): void {
  const [base = '', length] = network.split('/', 2);
  const family = isIP(base);
  if (family === 0) return;
  const bits = length === undefined ? (family === 6 ? 128 : 32) : Number(length);
  if (!Number.isInteger(bits) || bits < 0 || bits > (family === 6 ? 128 : 32)) return;
  list.addSubnet(base, bits, family === 6 ? 'ipv6' : 'ipv4');
}
