/** The name this server goes by in Via and Contact, which depends on who reads it. */
import { BlockList, isIP, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { AppError } from '#lib/errors.ts';

export type LocalNamesOptions = {
  /** Address that peers outside see, such as the outer side of a NAT; null = the local one. */
  readonly publicAddress: string | null;
  /** `192.0.2.0/24` or single addresses: peers that see the local address. */
  readonly localNets: readonly string[];
  /** This machine's own addresses; read from the interfaces unless given. */
  readonly ownAddresses?: readonly string[];
};

export class LocalNames {
  readonly #publicAddress: string | null;
  readonly #inside = new BlockList();

  /** Errors: E_CONFIG for an address or a net that cannot be read. */
  constructor(options: LocalNamesOptions) {
    this.#publicAddress = options.publicAddress;
    this.#inside.addSubnet('127.0.0.0', 8, 'ipv4');
    this.#inside.addAddress('::1', 'ipv6');
    for (const net of options.localNets) addNet(this.#inside, net);
    for (const address of options.ownAddresses ?? interfaceAddresses()) {
      addNet(this.#inside, address);
    }
  }

  /** The host that `peerAddress` is to see for our local address; IPv6 without brackets. */
  hostFor(localAddress: string, peerAddress: string): string {
    if (this.#publicAddress === null) return localAddress;
    const isInside = this.#inside.check(peerAddress, isIPv6(peerAddress) ? 'ipv6' : 'ipv4');
    return isInside ? localAddress : this.#publicAddress;
  }
}

function addNet(list: BlockList, net: string): void {
  const [address = '', prefix] = net.split('/');
  const family = isIP(address);
  const bits = prefix === undefined ? (family === 6 ? 128 : 32) : Number(prefix);
  if (family === 0 || !Number.isInteger(bits) || bits < 0 || bits > (family === 6 ? 128 : 32)) {
    throw new AppError(
      'E_CONFIG',
      `'${net}' is neither an IP address nor a network like 192.0.2.0/24`,
    );
  }
  list.addSubnet(address, bits, family === 6 ? 'ipv6' : 'ipv4');
}

function interfaceAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((list) =>
    (list ?? []).map(({ address }) => address.split('%', 1)[0] ?? address),
  );
}
