/** Local addresses: which to listen on, and which one leads to a target. */
import { createSocket } from 'node:dgram';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { AppError, messageOf, systemCodeOf } from '#lib/errors.ts';
import type { Clock } from '#lib/clock.ts';
import { MAX_ROUTES, ROUTE_LIFETIME_MS, ROUTE_PROBE_TIMEOUT_MS } from './limits.ts';
import type { Protocol } from './types.ts';

/**
 * Numeric addresses for the configured hosts. `0.0.0.0` and `::` become every address of their family, since a
 * wildcard socket neither knows which address a packet came to nor answers from it. Link-local ones are left out.
 * Errors: E_CONFIG for a name, or when nothing remains.
 */
export function expandHosts(hosts: readonly string[], interfaces = networkInterfaces()): string[] {
  const own = Object.values(interfaces).flatMap((list) => list ?? []);
  const addresses = new Set<string>();
  for (const host of hosts) {
    if (isIP(host) === 0) {
      throw new AppError('E_CONFIG', `SIP listen address ${host} is not a numeric IP address`);
    }
    if (host !== '0.0.0.0' && host !== '::') addresses.add(host);
    else {
      const family = host === '::' ? 'IPv6' : 'IPv4';
      for (const { address, family: its } of own) {
        if (its === family && !/^(?:fe[89ab]|169\.254\.)/i.test(address)) addresses.add(address);
      }
    }
  }
  if (addresses.size === 0) {
    throw new AppError('E_CONFIG', `no local address to listen on for ${hosts.join(', ')}`);
  }
  return [...addresses];
}

export function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1';
}

/** `192.0.2.7:5060`, `[2001:db8::7]:5060`. */
export function hostPort(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** What to tell the operator when a socket cannot be opened. */
export function listenError(
  error: unknown,
  protocol: Protocol,
  address: string,
  port: number,
): AppError {
  const where = `${protocol}/${hostPort(address, port)}`;
  const code = systemCodeOf(error);
  if (code === 'EADDRINUSE') {
    const message = `SIP port ${where} is in use by another program; stop it or set CALLYARD_SIP_PORT`;
    return new AppError('E_PORT_IN_USE', message, { cause: error });
  }
  if (code === 'EADDRNOTAVAIL' || code === 'EACCES' || code === 'EINVAL') {
    return new AppError('E_CONFIG', `cannot listen on ${where}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  return new AppError('E_SIP_ENGINE', `cannot listen on ${where}: ${messageOf(error)}`, {
    cause: error,
  });
}

/** Finds the listening address that packets to a target leave from; remembers answers for a minute. */
export class RouteFinder {
  readonly #listening: readonly string[];
  readonly #clock: Clock;
  readonly #probe: (address: string, clock: Clock) => Promise<string | undefined>;
  readonly #known = new Map<
    string,
    { readonly found: Promise<string>; readonly untilMs: number }
  >();

  constructor(listening: readonly string[], clock: Clock, probe = probeRoute) {
    this.#listening = listening;
    this.#clock = clock;
    this.#probe = probe;
  }

  /** Errors: E_SIP_ENGINE when `address` is not numeric or nothing listens in its family. */
  async localFor(address: string): Promise<string> {
    const family = isIP(address);
    const candidates = this.#listening.filter((own) => isIP(own) === family);
    const fallback = candidates.find((own) => !isLoopback(own)) ?? candidates[0];
    if (family === 0 || fallback === undefined) {
      throw new AppError('E_SIP_ENGINE', `no listening address leads to ${address}`);
    }
    if (candidates.includes(address)) return address;
    if (isLoopback(address)) return candidates.find((own) => isLoopback(own)) ?? fallback;
    const known = this.#known.get(address);
    if (known !== undefined && known.untilMs > this.#clock.now()) return known.found;
    const found = this.#probe(address, this.#clock).then((own) =>
      own !== undefined && candidates.includes(own) ? own : fallback,
    );
    this.#known.delete(address);
    const oldest = this.#known.keys().next();
    if (this.#known.size >= MAX_ROUTES && oldest.done !== true) this.#known.delete(oldest.value);
    this.#known.set(address, { found, untilMs: this.#clock.now() + ROUTE_LIFETIME_MS });
    return found;
  }
}

/** The kernel's choice of source address, by connecting a UDP socket (which sends nothing); undefined when no route. */
function probeRoute(address: string, clock: Clock): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const socket = createSocket(isIP(address) === 6 ? 'udp6' : 'udp4');
  const finish = (found: string | undefined): void => {
    clock.clearTimer(timer);
    socket.removeAllListeners();
    socket.close();
    resolve(found);
  };
  const timer = clock.setTimer(() => finish(undefined), ROUTE_PROBE_TIMEOUT_MS);
  socket.once('error', () => finish(undefined));
  socket.once('connect', () => finish(socket.address().address));
  socket.connect(9, address);
  return promise;
}
