/** What of an audio line is used: codec, events, comfort noise, keys; and, when nothing is, why. */
import { isIPv6 } from 'node:net';
import type { SrtpMode, SrtpSuite } from '#lib/srtp-params.ts';
import type { CryptoLine } from './sdp-crypto.ts';
import type { PacketWishes, ReadMedia, ReadSdp, SdpCodec } from './sdp-read.ts';

export type PickLocal = {
  readonly address: string;
  readonly codecs: readonly SdpCodec[];
  readonly srtp?: SrtpMode;
};

export type Picked = {
  readonly media: ReadMedia;
  readonly codec: SdpCodec;
  /** Theirs: what we send with. */
  readonly payloadType: number;
  /** Null: they list no telephone-event that goes with the codec. */
  readonly eventsClockHz: number | null;
  readonly comfortNoise: number | null;
  /** Their key; null: plain RTP. */
  readonly crypto: CryptoLine | null;
};

/** What is in use already and stays, if they still offer it. */
export type InUse = {
  readonly codec: SdpCodec | null;
  readonly suite: SrtpSuite | null;
  readonly index: number | null;
};

/** Of an offer's usable lines the one in use, else one with SRTP, else the first; of its codecs the one we like best. */
export function pickOffer(sdp: ReadSdp, local: PickLocal, inUse: InUse): Picked | null {
  const order = [...local.codecs].sort(
    (a, b) => Number(b === inUse.codec) - Number(a === inUse.codec),
  );
  const usable = sdp.media.flatMap((media) => {
    const crypto = media.cryptos.find(({ key }) => key.suite === inUse.suite) ?? media.cryptos[0];
    const picked = pickFrom(media, { ...local, codecs: order }, crypto ?? null);
    return picked === null ? [] : [picked];
  });
  return (
    usable.find(({ media }) => media.index === inUse.index) ??
    usable.find(({ crypto }) => crypto !== null) ??
    usable[0] ??
    null
  );
}

/** What of an offer of ours its answer is held against. */
export type OfferedKeys = { readonly protocol: string; readonly keys: readonly CryptoLine[] };

/**
 * The answer to an offer of ours: the codec they put first is the one they send. An answer to RTP/SAVP without one of our
 * keys, or with more than one line, is none (RFC 4568 5.1.3), whichever profile it names.
 */
export function pickAnswer(
  media: ReadMedia,
  local: PickLocal,
  { protocol, keys: offered }: OfferedKeys,
): Picked | null {
  const [crypto = null] = media.cryptos;
  const isOurs = offered.some(
    ({ tag, key }) => tag === crypto?.tag && key.suite === crypto.key.suite,
  );
  if (offered.length > 0 && media.hasCrypto && (media.cryptos.length !== 1 || !isOurs)) return null;
  if (isSecure(protocol) && crypto === null) return null;
  const codecs = [...media.payloadTypes.keys()].filter((codec) => local.codecs.includes(codec));
  return pickFrom(media, { ...local, codecs }, offered.length > 0 ? crypto : null);
}

function pickFrom(media: ReadMedia, local: PickLocal, crypto: CryptoLine | null): Picked | null {
  if (media.port === 0 || faultOf(media, local) !== null) return null;
  const isOff = (local.srtp ?? 'off') === 'off';
  if (isSecure(media.protocol) && crypto === null) return null;
  for (const codec of local.codecs) {
    const payloadType = media.payloadTypes.get(codec);
    if (payloadType === undefined) continue;
    return {
      ...{ media, codec, payloadType },
      eventsClockHz: eventsClock(media, codec),
      comfortNoise: codec === 'opus' ? null : media.comfortNoise,
      crypto: isOff ? null : crypto,
    };
  }
  return null;
}

/** Why a line cannot be used whatever its codecs are; null when it can. */
export function faultOf(media: ReadMedia, { address, srtp = 'off' }: PickLocal): string | null {
  if (/^UDP\/TLS\//i.test(media.protocol)) return 'DTLS-SRTP is offered, and only SDES is spoken';
  if (!/^RTP\/S?AVPF?$/i.test(media.protocol)) return 'the transport is none of RTP';
  // A socket of one family cannot send to the other; 0.0.0.0 means nowhere in both.
  const nowhere = media.address === '0.0.0.0' || address === '0.0.0.0';
  if (!nowhere && isIPv6(media.address) !== isIPv6(address)) {
    return 'the address is of the other IP version';
  }
  if (isSecure(media.protocol)) {
    if (srtp === 'off') return 'SRTP is offered, and srtp is off';
    return media.cryptos.length === 0 ? 'SRTP is offered without a key that can be used' : null;
  }
  const isMissing = srtp === 'required' && media.cryptos.length === 0;
  return isMissing ? 'SRTP is required, and plain RTP is offered' : null;
}

function isSecure(protocol: string): boolean {
  return /^RTP\/SAVPF?$/i.test(protocol);
}

/** The clock of the codec (RFC 4733 2.1). With Opus many phones list events at 8000 alone, and mean it. */
function eventsClock(media: ReadMedia, codec: SdpCodec): number | null {
  const clocks = codec === 'opus' ? [48_000, 8000] : [8000];
  return clocks.find((clockHz) => media.events.has(clockHz)) ?? null;
}

const PACKET_MS = [10, 20, 30, 40, 50, 60] as const;
/** One frame of Opus to a packet (RFC 6716 2.1.4). */
const OPUS_PACKET_MS = [10, 20, 40, 60] as const;
const DEFAULT_PACKET_MS = 20;

/** How long our packets are: what they ask, as near as we come from below; `maxptime` wins over the rest. */
export function packetMs(codec: SdpCodec, { ptime, maxptime, minptime }: PacketWishes): number {
  const wanted = Math.max(ptime ?? DEFAULT_PACKET_MS, minptime ?? 0);
  const limit = Math.min(wanted, maxptime ?? Number.POSITIVE_INFINITY);
  const lengths: readonly number[] = codec === 'opus' ? OPUS_PACKET_MS : PACKET_MS;
  return lengths.findLast((length) => length <= limit) ?? PACKET_MS[0];
}

/** One line for people and logs: why nothing of this offer could be used. Names no address and no key. */
export function whyRefused(sdp: ReadSdp, local: PickLocal): string {
  const open = sdp.media.filter(({ port }) => port > 0);
  if (open.length === 0) return 'no audio is offered';
  const faults = open.map((media) => faultOf(media, local));
  const usable = open.filter((_media, index) => faults[index] === null);
  if (usable.length === 0) return faults[0] ?? '';
  const names = [...new Set(usable.flatMap((media) => media.names))].join(', ');
  return `${names || 'no codec'} offered; ${local.codecs.join(', ')} spoken`;
}
