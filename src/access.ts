/** Who may call this node, kept up to date with the trunks. */
import { isIP } from 'node:net';
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type { Trunk } from '#lib/trunk.ts';
import { createAccess, matcherOf } from '#sip/access.ts';
import { addressesOf, proxyHostOf } from '#sip/trunk.ts';
import { ownAddresses } from './addresses.ts';

const REFRESH_MS = 10_000;

/** A trunk as the list needs it; `at` gives it back whole. */
export type Source = {
  readonly host: string;
  /** As it was written, when the row has one. */
  readonly outboundProxy?: string | null;
  readonly cidrs: readonly string[];
};

type Known<S> = { readonly source: S; readonly includes: (address: string) => boolean };

export type AccessOptions<S extends Source> = {
  /** CALLYARD_SIP_ALLOW. */
  readonly allow: string;
  readonly environmentTrunk: Trunk | null;
  /** Active trunk rows of all accounts, in priority order. */
  trunkSources(): Promise<readonly S[]>;
  readonly clock: Clock;
  readonly log: Log;
};

export class AccessList<S extends Source = Source> {
  readonly #options: AccessOptions<S>;
  #check: (address: string) => boolean;
  #isTrunk: (address: string) => boolean = () => false;
  #timer: TimerHandle | undefined;
  #isClosed = false;
  #known: readonly Known<S>[] = [];
  #reads = 0;
  /** The read that the present list is from. */
  #applied = 0;
  /** Last known addresses by host name, of the trunks there are. */
  readonly #addresses = new Map<string, readonly string[]>();

  /** Errors: E_CONFIG for an entry of CALLYARD_SIP_ALLOW that cannot be read. */
  constructor(options: AccessOptions<S>) {
    this.#options = options;
    this.#check = createAccess({
      allow: options.allow,
      ownAddresses: ownAddresses(),
      trunkAddresses: [],
      hasTrunk: options.environmentTrunk !== null,
    });
  }

  allows(address: string): boolean {
    return this.#check(address);
  }

  /** True for an address of a trunk: what it asserts about a caller (P-Asserted-Identity) is believed. */
  isTrunk(address: string): boolean {
    return this.#isTrunk(address);
  }

  /** The rows that calls from this address arrive on, in priority order. */
  at(address: string): readonly S[] {
    return this.#known.filter(({ includes }) => includes(address)).map(({ source }) => source);
  }

  /** True for this machine and for a trunk: what it says about the calling app is believed. */
  believes(address: string): boolean {
    return isLoopback(address) || this.#isTrunk(address);
  }

  /** True once any trunk is set up, by row or by environment. */
  get hasTrunk(): boolean {
    return this.#known.length > 0 || this.#options.environmentTrunk !== null;
  }

  /**
   * Reads the trunks now and from then on; with the database away the last known list stands. Rows count at once where
   * their addresses are known, and all of them when it resolves.
   */
  async refresh(): Promise<void> {
    const { environmentTrunk, clock, log } = this.#options;
    const read = ++this.#reads;
    try {
      const rows = await this.#options.trunkSources();
      // An older read that comes back later knows less.
      if (read > this.#applied) {
        this.#applied = read;
        this.#apply(rows);
        const hosts = rows.flatMap(hostsOf);
        if (environmentTrunk !== null) hosts.push(environmentTrunk.host);
        await this.#resolve(new Set(hosts));
        if (read === this.#applied) this.#apply(rows);
      }
    } catch (error) {
      log.warn('access.stale', { error: toAppError(error) });
    }
    if (this.#isClosed) return;
    clock.clearTimer(this.#timer);
    this.#timer = clock.setTimer(() => void this.refresh(), REFRESH_MS);
  }

  #apply(rows: readonly S[]): void {
    const { allow, environmentTrunk } = this.#options;
    const known = rows.map((row) => this.#locate(row));
    const environment = environmentTrunk === null ? [] : this.#addressesOf(environmentTrunk.host);
    const cidrs = known.flatMap((one) => one.cidrs);
    const trunkAddresses = [...known.flatMap((one) => one.addresses), ...environment];
    const hasTrunk = rows.length > 0 || environmentTrunk !== null;
    this.#known = known;
    this.#check = createAccess({
      allow: [allow, ...cidrs].join(' '),
      ownAddresses: ownAddresses(),
      trunkAddresses,
      hasTrunk,
    });
    const ofTrunks = createAccess({
      allow: cidrs.join(' '),
      ownAddresses: [],
      trunkAddresses,
      hasTrunk: true,
    });
    this.#isTrunk = (address) => hasTrunk && ofTrunks(address);
  }

  #locate(source: S) {
    const cidrs = source.cidrs.filter((cidr) => this.#isReadable(cidr));
    const addresses = hostsOf(source).flatMap((host) => this.#addressesOf(host));
    return { source, cidrs, addresses, includes: matcherOf(cidrs.join(' '), addresses) };
  }

  #addressesOf(host: string): readonly string[] {
    return isIP(host) === 0 ? (this.#addresses.get(host) ?? []) : [host];
  }

  /** The last answer stands while a name cannot be resolved: a DNS fault must not shut a carrier out. */
  async #resolve(hosts: ReadonlySet<string>): Promise<void> {
    for (const host of this.#addresses.keys()) if (!hosts.has(host)) this.#addresses.delete(host);
    const names = [...hosts].filter((host) => isIP(host) === 0);
    await Promise.all(
      names.map(async (host) => {
        const found = await addressesOf(host);
        if (found.length > 0) this.#addresses.set(host, found);
      }),
    );
  }

  /** One row that cannot be read must not keep all the others from taking effect. */
  #isReadable(cidr: string): boolean {
    try {
      createAccess({ allow: cidr, ownAddresses: [], trunkAddresses: [], hasTrunk: true });
      return true;
    } catch (error) {
      this.#options.log.warn('trunk.sourceUnreadable', { cidr, error: toAppError(error) });
      return false;
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#options.clock.clearTimer(this.#timer);
  }
}

/** A registrar's calls come from where REGISTER is sent to: the outbound proxy, if there is one. */
function hostsOf({ host, outboundProxy }: Source): string[] {
  const proxy = outboundProxy == null ? null : proxyHostOf(outboundProxy);
  return proxy === null ? [host.trim()] : [host.trim(), proxy];
}

const isLoopback = matcherOf('127.0.0.0/8 ::1', []);
