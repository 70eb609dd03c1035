/**
 * Addresses of a host that a customer has named. A dead name server must not hold up the threads that files are written
 * with: names are asked for over the network directly, or by at most two of those threads, one for each host.
 */
import { lookup, type LookupAddress } from 'node:dns';
import { Resolver } from 'node:dns/promises';
import { systemCodeOf } from './errors.ts';

/** Errors: the system's, with `code` ENOTFOUND, ETIMEOUT… */
export type ResolveHost = (host: string, signal: AbortSignal) => Promise<readonly LookupAddress[]>;

const QUERY = { timeout: 2_000, tries: 3 };
const MAX_LOOKUPS = 2;

/** What the name servers say; the hosts file and search domains of this machine are left out. */
export const resolveByDns: ResolveHost = async (host, signal) => {
  const resolver = new Resolver(QUERY);
  const onAbort = (): void => resolver.cancel();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    const [v4, v6] = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)]);
    const found = [
      ...(v4.status === 'fulfilled' ? v4.value.map((address) => ({ address, family: 4 })) : []),
      ...(v6.status === 'fulfilled' ? v6.value.map((address) => ({ address, family: 6 })) : []),
    ];
    // One family may have nothing; a server that failed for one has nothing to say of the other's safety.
    if (found.length === 0 && v4.status === 'rejected') throw asError(v4.reason);
    return found;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
};

let running = 0;
const waiting: (() => void)[] = [];
type Asked = { readonly found: Promise<LookupAddress[]>; readonly signals: AbortSignal[] };
/** Lookups that are not over, by host. */
const asked = new Map<string, Asked>();

/** As this machine resolves names, with its hosts file: for installations that reach private networks. */
export const resolveBySystem: ResolveHost = (host, signal) => {
  // A name whose server is dead takes one thread, however many ask for it.
  const known = asked.get(host);
  if (known !== undefined) {
    known.signals.push(signal);
    return known.found;
  }
  const signals = [signal];
  const found = inTurn(host, signals).finally(() => asked.delete(host));
  asked.set(host, { found, signals });
  return found;
};

async function inTurn(host: string, signals: readonly AbortSignal[]): Promise<LookupAddress[]> {
  // One that waited takes over the place of the one that wakes it.
  if (running >= MAX_LOOKUPS) await new Promise<void>((resolve) => waiting.push(resolve));
  else running++;
  try {
    return signals.every(({ aborted }) => aborted) ? [] : await lookUp(host);
  } finally {
    const next = waiting.shift();
    if (next === undefined) running--;
    else next();
  }
}

function lookUp(host: string): Promise<LookupAddress[]> {
  const { promise, resolve, reject } = Promise.withResolvers<LookupAddress[]>();
  lookup(host, { all: true }, (error, found) => {
    if (error === null) resolve(found);
    else reject(error);
  });
  return promise;
}

function asError(reason: unknown): Error {
  if (reason instanceof Error) return reason;
  return Object.assign(new Error('no address'), { code: systemCodeOf(reason) ?? 'ENOTFOUND' });
}
