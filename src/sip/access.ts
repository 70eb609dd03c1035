/** Who may call (contract, "Who may call"): a pure decision over addresses. */
import { BlockList, isIP, isIPv6 } from 'node:net';
import { AppError } from '#lib/errors.ts';

export type AccessRules = {
  /** CALLYARD_SIP_ALLOW: addresses and CIDR blocks, separated by commas or blanks. */
  readonly allow: string;
  /** Addresses of this machine. */
  readonly ownAddresses: readonly string[];
  /** Numeric addresses of the trunks' hosts; names are resolved by whoever builds the rules. */
  readonly trunkAddresses: readonly string[];
  /** Whether any trunk is configured, even one whose host does not resolve now. */
  readonly hasTrunk: boolean;
};

/** RFC 1918, RFC 4193 and link-local. */
const PRIVATE_BLOCKS = '10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 169.254.0.0/16 fc00::/7 fe80::/10';
const LOOPBACK_BLOCKS = '127.0.0.0/8 ::1';

/** A test for source addresses. Errors: E_CONFIG when an entry of `allow` is no address or block. */
export function createAccess(rules: AccessRules): (address: string) => boolean {
  const blocks = [LOOPBACK_BLOCKS, rules.hasTrunk ? '' : PRIVATE_BLOCKS, rules.allow].join(' ');
  return matcherOf(blocks, [...rules.ownAddresses, ...rules.trunkAddresses]);
}

/** A test for these blocks and addresses and nothing else. Errors: E_CONFIG for a block that cannot be read. */
export function matcherOf(
  blocks: string,
  addresses: readonly string[],
): (address: string) => boolean {
  const list = new BlockList();
  for (const address of addresses) addAddress(list, address);
  addBlocks(list, blocks);
  return (address) => {
    const plain = plainAddress(address);
    return isIP(plain) !== 0 && list.check(plain, familyOf(plain));
  };
}

function addBlocks(list: BlockList, text: string): void {
  for (const entry of text.split(/[\s,]+/).filter((part) => part !== '')) {
    const [address = '', prefix, ...rest] = entry.split('/');
    if (isIP(address) === 0 || rest.length > 0) throw badEntry(entry);
    if (prefix === undefined) {
      list.addAddress(address, familyOf(address));
      continue;
    }
    const maxBits = isIPv6(address) ? 128 : 32;
    if (!/^\d{1,3}$/.test(prefix) || Number(prefix) > maxBits) throw badEntry(entry);
    list.addSubnet(address, Number(prefix), familyOf(address));
  }
}

function addAddress(list: BlockList, address: string): void {
  const plain = plainAddress(address);
  if (isIP(plain) !== 0) list.addAddress(plain, familyOf(plain));
}

function badEntry(entry: string): AppError {
  return new AppError(
    'E_CONFIG',
    `CALLYARD_SIP_ALLOW: "${entry}" is neither an address nor a block such as 198.51.100.0/24`,
  );
}

/** Without brackets, zone and the IPv4-mapped prefix that dual-stack sockets show. */
function plainAddress(address: string): string {
  const bare = address.replaceAll(/^\[|\]$/g, '').split('%', 1)[0] ?? '';
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(bare)?.[1] ?? bare;
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIPv6(address) ? 'ipv6' : 'ipv4';
}
