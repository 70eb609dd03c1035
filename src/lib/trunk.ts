/** A SIP carrier or PBX: a `sip_configs` row or the environment's trunk. */
import type { CodecName } from './audio-codec.ts';
import type { Id } from './ids.ts';
import type { MediaSource } from './media-source.ts';
import type { SrtpMode } from './srtp-params.ts';

export type DtmfMode = 'rfc4733' | 'info' | 'inband';

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
  /** In the order they are offered. */
  readonly codecs: readonly CodecName[];
  /** `options.srtp`; absent: `off`. */
  readonly srtp?: SrtpMode;
  /** `options.rtcp_mux`: RTCP is offered on the port of RTP; absent: false. */
  readonly rtcpMux?: boolean;
  /** `options.media_source`; absent: `auto`. */
  readonly mediaSource?: MediaSource;
  /** How keys are pressed on its calls; absent: `rfc4733`. */
  readonly dtmfMode?: DtmfMode;
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
  /** As it was written; calls come from its host too. */
  readonly outboundProxy?: string | null;
  readonly cidrs: readonly string[];
  /** What its calls may speak, best first; absent or empty: as the node's settings say. */
  readonly codecs?: readonly CodecName[];
  /** Absent: `off`. */
  readonly srtp?: SrtpMode;
  readonly rtcpMux?: boolean;
  /** Absent: `auto`. */
  readonly mediaSource?: MediaSource;
};

/** Why a row cannot be used whatever the far end says. */
export type TrunkFlaw = 'tls_unsupported' | 'codecs_unsupported' | 'password_unreadable';

/** What goes wrong between us and a trunk, for programs: shown as `error` and `last_error`. */
export type TrunkFault =
  | TrunkFlaw
  | 'timeout'
  | 'dns'
  | 'unreachable'
  | 'auth_failed'
  | 'realm_mismatch'
  | 'password_missing'
  | 'refused'
  | 'redirected'
  | 'interval_refused'
  | 'host_invalid'
  | 'engine_down';

/** A row that is to be registered, or tried out. */
export type TrunkLine = {
  readonly accountId: Id;
  readonly trunkId: Id;
  readonly trunk: Trunk;
  readonly register: boolean;
  readonly intervalS: number;
  /** Port in Contact, when it is not the one that SIP listens on; null: that one. */
  readonly localPort: number | null;
};

/** A row as it was found: usable, or with the reason why not. */
export type FoundLine =
  | { readonly ok: true; readonly line: TrunkLine }
  | {
      readonly ok: false;
      readonly accountId: Id;
      readonly trunkId: Id;
      readonly flaw: TrunkFlaw;
    };

/** What is known of a trunk's registration. */
export type RegistrationState = {
  readonly registered: boolean;
  /** Unix time of the end of the binding; null while there is none. */
  readonly expiresAtMs: number | null;
  /** A `TrunkFault`, for a refusal with its SIP status in brackets. */
  readonly error: string | null;
};

/** How a trial of a trunk came out. */
export type TrunkTest = {
  readonly ok: boolean;
  readonly sipStatus: number | null;
  /** Until the first answer of the far end; null when there was none. */
  readonly roundTripMs: number | null;
  readonly error: TrunkFault | null;
};

/** The environment's trunk as any account may use it: nothing restricts it but the account's own limits. */
export function unrestricted(trunk: Trunk): AccountTrunk {
  const none = { maxCalls: null, maxCps: null, allowPrefixes: [], denyPrefixes: [] };
  return { ...trunk, ...none, allowUri: false };
}
