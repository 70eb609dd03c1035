/** Who may call this node, kept up to date with the trunks. */
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import type { Trunk } from '#lib/trunk.ts';
import { createAccess, matcherOf } from '#sip/access.ts';
import { addressesOf } from '#sip/trunk.ts';
import { ownAddresses } from './addresses.ts';

const REFRESH_MS = 10_000;

/** A trunk as the list needs it; `at` gives it back whole. */
export type Source = { readonly host: string; readonly cidrs: readonly string[] };

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
  /** Last known addresses by host; bounded by the number of trunks ever seen. */
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

  /** Reads the trunks now and from then on; with the database away the last known list stands. */
  async refresh(): Promise<void> {
    const { allow, environmentTrunk, clock, log } = this.#options;
    try {
      const rows = await this.#options.trunkSources();
      const known = await Promise.all(rows.map((row) => this.#locate(row)));
      const environment =
        environmentTrunk === null ? [] : await this.#resolve(environmentTrunk.host);
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
    } catch (error) {
      log.warn('access.stale', { error: toAppError(error) });
    }
    if (this.#isClosed) return;
    clock.clearTimer(this.#timer);
    this.#timer = clock.setTimer(() => void this.refresh(), REFRESH_MS);
  }

  async #locate(source: S) {
    const cidrs = source.cidrs.filter((cidr) => this.#isReadable(cidr));
    const addresses = await this.#resolve(source.host);
    return { source, cidrs, addresses, includes: matcherOf(cidrs.join(' '), addresses) };
  }

  /** The last answer stands while a name cannot be resolved: a DNS fault must not shut a carrier out. */
  async #resolve(host: string): Promise<readonly string[]> {
    const found = await addressesOf(host);
    if (found.length > 0) this.#addresses.set(host, found);
    return this.#addresses.get(host) ?? [];
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

const isLoopback = matcherOf('127.0.0.0/8 ::1', []);
