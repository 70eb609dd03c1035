/** A SIP carrier or PBX: a `sip_configs` row or the environment's trunk. */
import type { Id } from './ids.ts';

/** Where outbound calls go, as signalling needs it. */
export type Trunk = {
  /** Null: the environment's trunk. */
  readonly id: Id | null;
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly transport: 'udp' | 'tcp';
  readonly username: string | null;
  /** Plain text in memory only; never logged. */
  readonly password: string | null;
  readonly realm: string | null;
  /** Host part of From and Request-URI; null = `host`. */
  readonly domain: string | null;
  readonly outboundProxy: string | null;
  readonly fromNumber: string | null;
  readonly displayName: string | null;
  readonly localHost: string | null;
  readonly codecs: readonly ('PCMA' | 'PCMU')[];
};

/** How much a trunk may carry; null: no limit but the account's and the node's. */
export type TrunkLimits = {
  readonly maxCalls: number | null;
  /** New calls within one second. */
  readonly maxCps: number | null;
};

/** What an account may do with a trunk. */
export type TrunkPolicy = TrunkLimits & {
  /** Beginnings of numbers that may be dialled; empty: all. */
  readonly allowPrefixes: readonly string[];
  /** Beginnings that may not; they win over `allowPrefixes`. */
  readonly denyPrefixes: readonly string[];
  /** `options.allow_uri`: `to` may be a SIP URI. */
  readonly allowUri: boolean;
};

export type AccountTrunk = Trunk & TrunkPolicy;

export type AccountTrunks = {
  /** Active and of a kind that this version can speak, in priority order. */
  readonly usable: readonly AccountTrunk[];
  /** Every row of the account, also those that cannot be used now. */
  readonly ids: readonly Id[];
  /** Then the environment's trunk is out of the question (contract 4.6). */
  readonly hasActive: boolean;
};

/** Where calls of a trunk come from; a row of `sip_configs`. */
export type TrunkSource = TrunkLimits & {
  readonly accountId: Id;
  readonly trunkId: Id;
  readonly transport: 'udp' | 'tcp' | 'tls';
  readonly host: string;
  readonly cidrs: readonly string[];
};

/** The environment's trunk as any account may use it: nothing restricts it but the account's own limits. */
export function unrestricted(trunk: Trunk): AccountTrunk {
  const none = { maxCalls: null, maxCps: null, allowPrefixes: [], denyPrefixes: [] };
  return { ...trunk, ...none, allowUri: false };
}
