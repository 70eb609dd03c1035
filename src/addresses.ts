/** The machine's own addresses, and which of them a peer is shown. */
import { BlockList, isIP, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { AppError } from '#lib/errors.ts';

/** Every address of this machine, loopback included. */
export function ownAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((list) =>
    (list ?? []).map(({ address }) => address),
  );
}

/** The address to print for people: the configured one, else the first that is not loopback, else loopback. */
export function addressToDial(publicAddress: string | null, listening: readonly string[]): string {
  const heard = listening.map((each) => each.replace(/^\w+\//, '').replace(/:\d+$/, ''));
  return (
    publicAddress ??
    heard.find((address) => !address.startsWith('127.') && address !== '[::1]') ??
    heard[0] ??
    '127.0.0.1'
  );
}

/**
 * Which address goes into SDP: the public one, except towards loopback, this machine itself and `localNets`.
 * Errors: E_CONFIG when `localNets` holds something that is no address or block.
 */
export function addressView(
  publicAddress: string | null,
  localNets: string | null,
): (localAddress: string, peerAddress: string) => string {
  const local = new BlockList();
  local.addSubnet('127.0.0.0', 8);
  local.addAddress('::1', 'ipv6');
  for (const address of ownAddresses())
    if (isIP(address) !== 0) local.addAddress(address, familyOf(address));
  for (const entry of (localNets ?? '').split(/[\s,]+/).filter((each) => each !== ''))
    addNet(local, entry);
  return (localAddress, peerAddress) => {
    if (publicAddress === null) return localAddress;
    const isNear = isIP(peerAddress) !== 0 && local.check(peerAddress, familyOf(peerAddress));
    return isNear ? localAddress : publicAddress;
  };
}

function addNet(list: BlockList, entry: string): void {
  const [address = '', bits] = entry.split('/');
  const max = isIPv6(address) ? 128 : 32;
  if (isIP(address) === 0 || (bits !== undefined && !(/^\d+$/.test(bits) && Number(bits) <= max))) {
    throw new AppError(
      'E_CONFIG',
      `CALLYARD_LOCAL_NETS: "${entry}" is neither an address nor a block such as 192.0.2.0/24`,
    );
  }
  if (bits === undefined) list.addAddress(address, familyOf(address));
  else list.addSubnet(address, Number(bits), familyOf(address));
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIPv6(address) ? 'ipv6' : 'ipv4';
}
