/** Who may call this node, kept up to date with the trunks. */
import type { Clock, TimerHandle } from '#lib/clock.ts';
import { toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import { createAccess } from '#sip/access.ts';
import { addressesOf } from '#sip/trunk.ts';
import type { Trunk } from '#sip/types.ts';
import { ownAddresses } from './addresses.ts';

const REFRESH_MS = 10_000;

export type AccessOptions = {
  /** CALLYARD_SIP_ALLOW. */
  readonly allow: string;
  readonly environmentTrunk: Trunk | null;
  /** Active trunk rows of all accounts. */
  trunkSources(): Promise<readonly { readonly host: string; readonly cidrs: readonly string[] }[]>;
  readonly clock: Clock;
  readonly log: Log;
};

export class AccessList {
  readonly #options: AccessOptions;
  #check: (address: string) => boolean;
  #isTrunk: (address: string) => boolean = () => false;
  #timer: TimerHandle | undefined;
  #isClosed = false;
  #hasTrunkRows = false;
  /** Last known addresses by host; bounded by the number of trunks ever seen. */
  readonly #addresses = new Map<string, readonly string[]>();

  /** Errors: E_CONFIG for an entry of CALLYARD_SIP_ALLOW that cannot be read. */
  constructor(options: AccessOptions) {
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

  /** True once any trunk is set up, by row or by environment. */
  get hasTrunk(): boolean {
    return this.#hasTrunkRows || this.#options.environmentTrunk !== null;
  }

  /** Reads the trunks now and from then on; with the database away the last known list stands. */
  async refresh(): Promise<void> {
    const { allow, environmentTrunk, clock, log } = this.#options;
    try {
      const rows = await this.#options.trunkSources();
      const hosts = [
        ...rows.map((row) => row.host),
        ...(environmentTrunk === null ? [] : [environmentTrunk.host]),
      ];
      const found = await Promise.all(hosts.map((host) => this.#resolve(host)));
      const cidrs = rows.flatMap((row) => row.cidrs.filter((cidr) => this.#isReadable(cidr)));
      const trunkAddresses = found.flat();
      this.#hasTrunkRows = rows.length > 0;
      this.#check = createAccess({
        allow: [allow, ...cidrs].join(' '),
        ownAddresses: ownAddresses(),
        trunkAddresses,
        hasTrunk: hosts.length > 0,
      });
      const hasTrunk = hosts.length > 0;
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
